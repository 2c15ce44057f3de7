"""What can be pretrained on tokens: one class per kind, a model and how it reads. Importable without torch."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import OptimizerConfig, ScheduleConfig, StrictModel, TrainConfig
from lm.masking_config import MaskingConfig, SegmentsConfig
from lm.models.bert_config import BertConfig
from lm.models.elmo_config import ELMoConfig
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import MODERN_OPTIMIZER, MODERN_SCHEDULE, ModernConfig
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn_config import RNNConfig, StreamConfig
from lm.models.transformer_xl_config import TransformerXLConfig, TransformerXLStream
from lm.models.xlnet_config import PermutationConfig, XLNetConfig


class Pretrainable(StrictModel, ABC):
    """What all have in common; `model` is the configuration of a kind that has a `vocab` and a `width`."""

    model: Any

    @property
    @abstractmethod
    def tokens_per_example(self) -> int:
        """Tokens that one training example scores."""

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


class PackedDecoder(Pretrainable):
    """A decoder on sequences as long as its context, documents packed one behind the other."""

    document_mask: bool = Field(
        default=False,
        exclude_if=lambda on: not on,  # the keys of models without it stay what they were
        description="Documents packed into one sequence do not see one another, and each begins at position 0.",
    )

    @property
    def tokens_per_example(self) -> int:
        return int(self.model.context)


class GPTPretraining(PackedDecoder):
    """A GPT."""

    kind: Literal["gpt"] = "gpt"
    model: GPTConfig


class ModernPretraining(PackedDecoder):
    """The modern decoder, with its own optimiser and schedule if it has any."""

    kind: Literal["modern"] = "modern"
    model: ModernConfig
    optimizer: OptimizerConfig | None = MODERN_OPTIMIZER
    schedule: ScheduleConfig | None = MODERN_SCHEDULE

    def resolve(self, train: TrainConfig) -> TrainConfig:
        own = {"optimizer": self.optimizer, "schedule": self.schedule}
        return super().resolve(train.model_copy(update={name: value for name, value in own.items() if value}))


class RNNPretraining(Pretrainable):
    """A recurrent model on segments of a stream, its state carried from one to the next."""

    kind: Literal["rnn"] = "rnn"
    model: RNNConfig
    stream: StreamConfig = StreamConfig()

    @model_validator(mode="after")
    def _can_be_reset(self) -> Self:
        if self.stream.reset and self.model.path == "torch":
            raise ValueError(
                "path: torch cannot reset the state inside a sequence: choose auto, or stream.reset: false"
            )
        return self

    @property
    def tokens_per_example(self) -> int:
        return self.stream.bptt


class NNLMPretraining(Pretrainable):
    """Bengio's network on sequences that it slides its window over."""

    kind: Literal["nnlm"] = "nnlm"
    model: NNLMConfig
    sequence: int = Field(default=128, ge=1, description="Tokens of a training sequence; before it nothing is seen.")

    @property
    def tokens_per_example(self) -> int:
        return self.sequence


class ELMoPretraining(Pretrainable):
    """ELMo on sequences of words, each read from both ends."""

    kind: Literal["elmo"] = "elmo"
    model: ELMoConfig
    sequence: int = Field(default=64, ge=1, description="Words of a training sequence, read from a state of zeros.")

    @property
    def tokens_per_example(self) -> int:
        return self.sequence


class TransformerXLPretraining(Pretrainable):
    """A Transformer-XL on segments of a stream, its memory carried from one to the next."""

    kind: Literal["transformer_xl"] = "transformer_xl"
    model: TransformerXLConfig
    stream: TransformerXLStream = TransformerXLStream()

    @property
    def tokens_per_example(self) -> int:
        return self.stream.segment


class XLNetPretraining(Pretrainable):
    """An XLNet on sequences as long as its context, each in an order of its own."""

    kind: Literal["xlnet"] = "xlnet"
    model: XLNetConfig
    permutation: PermutationConfig = PermutationConfig()

    @property
    def tokens_per_example(self) -> int:
        return self.model.context


class BertPretraining(Pretrainable):
    """A masked language model on segments of documents."""

    kind: Literal["bert"] = "bert"
    model: BertConfig
    masking: MaskingConfig = MaskingConfig()
    segments: SegmentsConfig = SegmentsConfig()

    @model_validator(mode="after")
    def _heads_fit_what_is_asked(self) -> Self:
        if self.segments.length > self.model.context:
            raise ValueError(
                f"segments.length {self.segments.length} is more than the model's context of {self.model.context}"
            )
        for asked, head, what in (
            (self.segments.pairs != "none", self.model.pair_head, "segments.pairs and model.pair_head"),
            (self.masking.boundary, self.model.boundary_head, "masking.boundary and model.boundary_head"),
        ):
            if asked != head:
                raise ValueError(f"{what} go together: the one asks what the other answers")
        return self

    @property
    def tokens_per_example(self) -> int:
        return self.segments.length

    def resolve(self, train: TrainConfig) -> TrainConfig:
        """As always, with the memory of logits reckoned for the masked tokens, which alone have some."""
        masked = self.masking.predictions(self.segments.length)
        return train.resolve_for(self.model.width, self.model.vocab, masked)


Pretraining = Annotated[
    GPTPretraining
    | RNNPretraining
    | NNLMPretraining
    | ELMoPretraining
    | TransformerXLPretraining
    | XLNetPretraining
    | BertPretraining
    | ModernPretraining,
    Field(discriminator="kind"),
]
