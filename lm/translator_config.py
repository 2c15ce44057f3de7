"""Configuration of models that turn a text into another; importable without torch."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config import StrictModel, TrainConfig
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer_config import TransformerConfig
from lm.train.averaged_steps import averaged_steps

EncoderDecoderConfig = Annotated[Seq2SeqConfig | TransformerConfig, Field(discriminator="kind")]
"""A model of either kind, told apart by `kind`."""


class PairLimits(StrictModel):
    """Longer pairs are left out of training and of the loss on validation pairs, and counted."""

    source: int = Field(default=100, ge=2, description="Tokens of a source at most, its end included.")
    target: int = Field(default=100, ge=2, description="Tokens of a target at most, its end included.")


class SearchConfig(StrictModel):
    """How a target is found (Vaswani et al. 2017, section 6.1)."""

    beam: int = Field(default=4, ge=1, le=512, description="Hypotheses kept at each step; 1: greedy.")
    alpha: float = Field(
        default=0.6, ge=0.0, le=10.0, description="Strength of the length penalty ((5 + length) / 6)^alpha; 0: none."
    )
    extra: int = Field(default=50, ge=1, description="A target has so many tokens more than its source at most.")
    batch: int = Field(default=32, ge=1, description="Sources decoded together; changes no result but for rounding.")


class AverageConfig(StrictModel):
    """The average of the last checkpoints is what is handed back (Vaswani et al. 2017, section 6.1)."""

    checkpoints: int = Field(default=1, ge=1, le=100, description="How many; 1: the last weights as they are.")
    interval: int = Field(default=500, ge=1, description="Steps between them.")


class TranslatorConfig(StrictModel):
    """A model of pairs, what it learns from and how it answers."""

    model: EncoderDecoderConfig = Field(description="The model; its vocabularies are those of the tokenizers.")
    limits: PairLimits = Field(default=PairLimits(), description="What is too long.")
    label_smoothing: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="Probability spread over all tokens (Vaswani et al.: 0.1)."
    )
    average: AverageConfig = Field(default=AverageConfig(), description="Averaging of checkpoints.")
    search: SearchConfig = Field(default=SearchConfig(), description="How validation sources are answered at the end.")
    bleu_tokenizer: Literal["13a", "intl", "zh", "char", "none"] = Field(
        default="13a", description="How sacrebleu cuts words: `13a` for European languages, `zh` for Chinese."
    )
    bleu_pairs: int | None = Field(
        default=None, ge=1, description="Validation pairs whose sources are answered at the end, the first; null: all."
    )

    def train_config(self, train: TrainConfig) -> TrainConfig:
        """The trainer's configuration, with every `auto` that depends on machine and model replaced.

        Raises ValueError if both an average and the best weights are asked for, or an average of more checkpoints than
        the steps leave.
        """
        if self.average.checkpoints > 1:
            if train.select == "best":
                raise ValueError("average.checkpoints and select: best exclude each other: choose one")
            if train.steps is not None:
                averaged_steps(train.steps, self.average.checkpoints, self.average.interval)
            train = train.model_copy(update={"checkpoint_interval": self.average.interval})
        return train.resolve_for(self.model.width, self.model.target_vocab, self.limits.target)
