"""The configuration of a ladder: one corpus, one tokenizer, one budget, and the models to be compared."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flows.config import SMOKE_FILES, ModelSection, TokensConfig
from flows.curation import Section
from flows.loading import CONFIGS, load
from lm.config import GPTConfig, NgramConfig, TrainConfig
from lm.models.rnn_config import RNN_PRESETS, RNNConfig, StreamConfig, rnn_preset
from tasks.evaluate import EvaluateConfig


class NgramRung(NgramConfig):
    """A statistical n-gram model."""

    kind: Literal["ngram"] = Field(description="Which generation these settings are for.")

    def settings(self) -> NgramConfig:
        """Without the kind."""
        return NgramConfig.model_validate(self.model_dump(exclude={"kind"}))


class GPTRung(ModelSection):
    """A GPT."""

    kind: Literal["gpt"] = Field(description="Which generation these settings are for.")

    def resolved(self, vocab: int) -> GPTConfig:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        return ModelSection.model_validate(self.model_dump(exclude={"kind"})).resolved(vocab)


class RNNRung(Section):
    """A recurrent language model: a preset, and what differs from it."""

    kind: Literal["rnn"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="small-lstm", description=f"One of {', '.join(RNN_PRESETS)}.")
    cell: Literal["elman", "gru", "lstm"] | None = Field(default=None, description="Null: the preset's.")
    embedding: int | None = Field(default=None, ge=1, description="Width of a token's vector; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of each layer's state; null: the preset's.")
    layers: int | None = Field(default=None, ge=1, description="Recurrent layers; null: the preset's.")
    tied: bool | None = Field(default=None, description="Whether the head is the embedding; null: the preset's.")
    output_dropout: float | None = Field(default=None, ge=0, lt=1, description="Before the head; null: the preset's.")
    stream: StreamConfig = Field(default=StreamConfig(), description="How the text is read.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.resolved(vocab=257)
        return self

    def resolved(self, vocab: int) -> RNNConfig:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        given = self.model_dump(exclude={"kind", "preset", "stream"}, exclude_none=True)
        return rnn_preset(self.preset, vocab=vocab, **given)


UNSCORABLE = {
    "stupid_backoff": "gives scores that do not sum to one, so it has no bits per byte",
    "mle": "gives what it never saw no probability, so its bits per byte on other text are infinite",
}
Rung = Annotated[NgramRung | RNNRung | GPTRung, Field(discriminator="kind")]


class LadderConfig(TokensConfig):
    """From raw text to models of several generations on one table."""

    models: dict[str, Rung] = Field(min_length=1, description="What is trained, by the name it gets on the table.")
    train: TrainConfig = Field(description="Budget, batch, optimiser: the same for every model with gradients.")
    context: int = Field(default=128, ge=2, description="Tokens of the test sequences; no model sees more at once.")
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="How much of the test documents is scored.")
    prompt: str = Field(default="", description="What each model goes on from, for the sample beside its figures.")

    @model_validator(mode="after")
    def _every_model_can_be_scored(self) -> Self:
        for name, rung in self.models.items():
            if isinstance(rung, NgramRung) and rung.smoothing in UNSCORABLE:
                raise ValueError(f"models.{name}.smoothing: {rung.smoothing} {UNSCORABLE[rung.smoothing]}")
            if isinstance(rung, GPTRung) and (own := rung.resolved(vocab=257).context) < self.context:
                raise ValueError(
                    f"models.{name}: its context of {own} tokens is less than the {self.context} of the test sequences "
                    "(`context`)"
                )
        return self

    def smoke(self) -> "LadderConfig":
        """The same ladder with data and budget cut down so far that it ends in a minute; for tests."""
        raw = self.model_dump()
        raw["max_files"] = SMOKE_FILES
        raw["tokenizer"]["pin"] = None
        raw["tokenizer"]["train"]["vocab_size"] = min(512, self.tokenizer.train.vocab_size)
        raw["train"] |= {"steps": 6, "tokens": None, "epochs": None, "batch": 4, "eval_sequences": 4}
        raw["context"] = min(64, self.context)
        raw["evaluate"]["sequences"] = 4
        for rung in raw["models"].values():
            if rung["kind"] == "gpt":
                rung |= {"preset": "pico", "layers": None, "width": None, "heads": None, "context": None}
            if rung["kind"] == "rnn":
                rung |= {"embedding": 32, "width": 32, "layers": 1, "stream": {**rung["stream"], "bptt": 16}}
        return LadderConfig.model_validate(raw)


def load_ladder(path: Path, overrides: Mapping[str, str] | None = None) -> LadderConfig:
    """Read a ladder's YAML file and apply `--set` overrides.

    Raises:
        ConfigError: as `flows.loading.load` does.
    """
    return load(path, overrides, LadderConfig)


@cache
def shipped_ladder() -> LadderConfig:
    """What the deployment runs when nothing else is said."""
    return load_ladder(CONFIGS / "ladder.yaml")
