"""What can be pretrained on tokens: one class per kind, a model and how it reads. Importable without torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from lm.config import GPTConfig, OptimizerConfig, ScheduleConfig, StrictModel, TrainConfig
from lm.models.modern_config import MODERN_OPTIMIZER, MODERN_SCHEDULE, ModernConfig
from lm.models.rnn_config import RNNConfig, StreamConfig


class Pretrainable(StrictModel):
    """What all have in common; `model` is the configuration of a kind that has a `vocab` and a `width`."""

    model: Any

    @property
    def tokens_per_example(self) -> int:
        """Tokens that one training example scores."""
        raise NotImplementedError

    def with_vocab(self, vocab: int) -> Self:
        """The same for a tokenizer of so many tokens."""
        return self.model_copy(update={"model": self.model.model_copy(update={"vocab": vocab})})

    def with_model(self, described: dict[str, Any]) -> Self:
        """The same for the model that a folder's config.json describes.

        Raises ValueError if that is of another kind.
        """
        return self.model_validate({**self.model_dump(), "model": described})

    def resolve(self, train: TrainConfig) -> TrainConfig:
        """Replace every `auto` of a training that depends on the machine or the model's size."""
        return train.resolve_for(self.model.width, self.model.vocab, self.tokens_per_example)


class GPTPretraining(Pretrainable):
    """A GPT on sequences as long as its context."""

    kind: Literal["gpt"] = "gpt"
    model: GPTConfig

    @property
    def tokens_per_example(self) -> int:
        return self.model.context


class ModernPretraining(Pretrainable):
    """The modern decoder on sequences as long as its context, with its own optimiser and schedule if it has any."""

    kind: Literal["modern"] = "modern"
    model: ModernConfig
    optimizer: OptimizerConfig | None = MODERN_OPTIMIZER
    schedule: ScheduleConfig | None = MODERN_SCHEDULE

    def resolve(self, train: TrainConfig) -> TrainConfig:
        own = {"optimizer": self.optimizer, "schedule": self.schedule}
        return super().resolve(train.model_copy(update={name: value for name, value in own.items() if value}))

    @property
    def tokens_per_example(self) -> int:
        return self.model.context


class RNNPretraining(Pretrainable):
    """A recurrent model on segments of a stream, its state carried from one to the next."""

    kind: Literal["rnn"] = "rnn"
    model: RNNConfig
    stream: StreamConfig = StreamConfig()

    @property
    def tokens_per_example(self) -> int:
        return self.stream.bptt


Pretraining = Annotated[GPTPretraining | ModernPretraining | RNNPretraining, Field(discriminator="kind")]
