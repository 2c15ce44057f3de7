"""Configuration of instruction tuning; importable without torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel

SOURCE = "{source}"


class ChatConfig(StrictModel):
    """What a model learns of conversations, and how it is looked at."""

    system: str | None = Field(
        default=None, description="Said first in every conversation that has no system message of its own."
    )
    prompt: str = Field(
        default=SOURCE,
        description="A set of pairs (form `generation`): what the user says; `{source}` is the source, the target is"
        " the assistant's. For example `TL;DR {source}`.",
    )
    too_long: Literal["truncate", "refuse"] = Field(
        default="truncate",
        description="Conversations beyond the context. `truncate`: what follows the last answer that fits is left out,"
        " of a pair the end of its source; what still does not fit is left out, and all is counted. `refuse`: an error"
        " that names them.",
    )
    packing: bool = Field(
        default=True,
        description="Several conversations in a sequence, none of which sees another. false: each in one of its own;"
        " the losses are the same.",
    )
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Of the model while it learns, if it has any.")
    answers: int | None = Field(
        default=200,
        ge=0,
        description="Prompts of each held-out split that are answered at the end and compared with the true answers:"
        " the first; null: all of them.",
    )
    answer_tokens: int = Field(default=100, ge=1, description="Tokens of such an answer at most.")
    samples: int = Field(default=4, ge=0, description="Dev prompts answered during training, to be read.")
    bleu_tokenizer: Literal["13a", "intl", "zh", "char", "none"] = Field(
        default="13a", description="How sacrebleu cuts words: `13a` for European languages, `zh` for Chinese."
    )

    @model_validator(mode="after")
    def _prompt_has_the_source(self) -> Self:
        if SOURCE not in self.prompt:
            raise ValueError(f"prompt {self.prompt!r} has no {SOURCE}: the model would not see what it is asked about")
        return self
