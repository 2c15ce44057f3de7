"""The models that a configuration can ask for: one class per kind, a preset and what differs from it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flows.config import ModelSection
from flows.curation import Section
from lm.config import GPTConfig, NgramConfig, OptimizerConfig, ScheduleConfig
from lm.models.modern_config import (
    MODERN_OPTIMIZER,
    MODERN_PRESETS,
    MODERN_SCHEDULE,
    ModernConfig,
    modern_preset,
)
from lm.models.rnn_config import RNN_PRESETS, RNNConfig, StreamConfig, rnn_preset
from lm.pretraining import GPTPretraining, ModernPretraining, Pretraining, RNNPretraining


class NgramRung(NgramConfig):
    """A statistical n-gram model."""

    kind: Literal["ngram"] = Field(description="Which generation these settings are for.")

    def settings(self) -> NgramConfig:
        """Without the kind."""
        return NgramConfig.model_validate(self.model_dump(exclude={"kind"}))

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self


class GPTRung(ModelSection):
    """A GPT."""

    kind: Literal["gpt"] = Field(description="Which generation these settings are for.")

    def resolved(self, vocab: int) -> GPTConfig:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        return ModelSection.model_validate(self.model_dump(exclude={"kind"})).resolved(vocab)

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return GPTPretraining(model=self.resolved(vocab))

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"preset": "pico", "layers": None, "width": None, "heads": None, "context": None})


class ModernRung(Section):
    """The modern decoder: a preset, and what differs from it. It brings its own optimiser and schedule."""

    kind: Literal["modern"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="nano", description=f"One of {', '.join(MODERN_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Transformer blocks; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of the residual stream; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    context: int | None = Field(default=None, ge=1, description="Context in tokens; null: the preset's.")
    optimizer: OptimizerConfig | None = Field(
        default=MODERN_OPTIMIZER, description="In place of `train.optimizer`; null: that one."
    )
    schedule: ScheduleConfig | None = Field(
        default=MODERN_SCHEDULE, description="In place of `train.schedule`; null: that one."
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.resolved(vocab=257)
        return self

    def resolved(self, vocab: int) -> ModernConfig:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        given = self.model_dump(exclude={"kind", "preset", "optimizer", "schedule"}, exclude_none=True)
        return modern_preset(self.preset, vocab=vocab, **given)

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return ModernPretraining(model=self.resolved(vocab), optimizer=self.optimizer, schedule=self.schedule)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"preset": "pico", "layers": None, "width": None, "heads": None, "context": None})


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

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return RNNPretraining(model=self.resolved(vocab), stream=self.stream)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        small = {"embedding": 32, "width": 32, "layers": 1, "stream": self.stream.model_copy(update={"bptt": 16})}
        return self.model_copy(update=small)


TrainedRung = GPTRung | ModernRung | RNNRung
"""Those with gradients, which say what is pretrained (`pretraining`)."""
Rung = Annotated[NgramRung | TrainedRung, Field(discriminator="kind")]
