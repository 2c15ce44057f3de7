"""The models that a configuration can ask for: one class per kind, a preset and what differs from it."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from flows.config.curation import Section
from flows.config.pipeline import ModelSection
from lm.config import OptimizerConfig, ScheduleConfig, StrictModel, TrainConfig
from lm.masking_config import MASKING_PRESETS, SEGMENTS_PRESETS, MaskingConfig, SegmentsConfig
from lm.models.bert_config import BERT_PRESETS, BertConfig, bert_preset
from lm.models.elmo_config import ELMO_PRESETS, elmo_preset
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import MODERN_OPTIMIZER, MODERN_PRESETS, MODERN_SCHEDULE, modern_preset
from lm.models.nnlm_config import NNLM_PRESETS, nnlm_preset
from lm.models.rnn_config import RNN_PRESETS, StreamConfig, rnn_preset
from lm.models.transformer_xl_config import (
    TRANSFORMER_XL_PRESETS,
    TransformerXLStream,
    transformer_xl_preset,
)
from lm.models.xlnet_config import XLNET_PRESETS, PermutationConfig, xlnet_preset
from lm.ngram.config import NgramConfig
from lm.pretraining import (
    BertPretraining,
    ELMoPretraining,
    GPTPretraining,
    ModernPretraining,
    NNLMPretraining,
    Pretraining,
    RNNPretraining,
    TransformerXLPretraining,
    XLNetPretraining,
)
from lm.vectors.config import GloVeConfig, VectorsConfig, Word2VecConfig
from tasks.similar_words import SimilarWordsConfig


class NgramRung(NgramConfig):
    """A statistical n-gram model."""

    kind: Literal["ngram"] = Field(description="Which generation these settings are for.")

    def settings(self) -> NgramConfig:
        """Without the kind."""
        return NgramConfig.model_validate(self.model_dump(exclude={"kind"}))

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self


class OwnRate(StrictModel):
    """The one setting of a training that every generation wants to be its own."""

    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Peak learning rate, in place of `train.optimizer.learning_rate`; null: that one.",
    )

    def trained_with(self, train: TrainConfig) -> TrainConfig:
        """The training that all share, at this model's rate."""
        if self.learning_rate is None:
            return train
        optimizer = train.optimizer.model_copy(update={"learning_rate": self.learning_rate})
        return train.model_copy(update={"optimizer": optimizer})


class PackedRung(StrictModel):
    """How a decoder reads what is packed into one sequence."""

    document_mask: bool = Field(
        default=False,
        description="Documents packed into one sequence do not see one another, and each begins at position 0; false:"
        " as GPT-3 was trained.",
    )


class GPTRung(ModelSection, OwnRate, PackedRung):
    """A GPT."""

    kind: Literal["gpt"] = Field(description="Which generation these settings are for.")

    def resolved(self, vocab: int) -> GPTConfig:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        own = self.model_dump(exclude={"kind", "learning_rate", "document_mask"})
        return ModelSection.model_validate(own).resolved(vocab)

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return GPTPretraining(model=self.resolved(vocab), document_mask=self.document_mask)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"preset": "pico", "layers": None, "width": None, "heads": None, "context": None})


class PresetRung(Section, OwnRate):
    """A model by a preset, and what differs from it."""

    preset: str
    of_preset: ClassVar[Callable[..., Any]]
    reading: ClassVar[set[str]] = set()
    """The fields that are none of the model's: they say how it is trained."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.resolved(vocab=257)
        return self

    def resolved(self, vocab: int) -> Any:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        given = self.model_dump(exclude={"kind", "preset", "learning_rate", *self.reading}, exclude_none=True)
        return type(self).of_preset(self.preset, vocab=vocab, **given)


class RNNRung(PresetRung):
    """A recurrent language model: a preset, and what differs from it."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(rnn_preset)
    reading: ClassVar[set[str]] = {"stream"}

    kind: Literal["rnn"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="small-lstm", description=f"One of {', '.join(RNN_PRESETS)}.")
    cell: Literal["elman", "gru", "lstm"] | None = Field(default=None, description="Null: the preset's.")
    embedding: int | None = Field(default=None, ge=1, description="Width of a token's vector; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of each layer's state; null: the preset's.")
    layers: int | None = Field(default=None, ge=1, description="Recurrent layers; null: the preset's.")
    tied: bool | None = Field(default=None, description="Whether the head is the embedding; null: the preset's.")
    forget_bias: float | None = Field(default=None, description="Of an LSTM at the start; null: the preset's.")
    input_dropout: float | None = Field(default=None, ge=0, lt=1, description="On token vectors; null: the preset's.")
    hidden_dropout: float | None = Field(default=None, ge=0, lt=1, description="Between layers; null: the preset's.")
    output_dropout: float | None = Field(default=None, ge=0, lt=1, description="Before the head; null: the preset's.")
    locked: bool | None = Field(
        default=None, description="Whether these three keep one mask for a sequence; null: the preset's."
    )
    embedding_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="Part of the vocabulary that is zero in a step; null: the preset's."
    )
    weight_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="DropConnect on the recurrent matrices; null: the preset's."
    )
    initial_span: float | None = Field(
        default=None, gt=0, description="Initial weights are uniform in ± this; null: the preset's."
    )
    path: Literal["auto", "cells", "bptt", "torch"] | None = Field(
        default=None, description="How sequences are computed, equal up to rounding; null: the preset's."
    )
    stream: StreamConfig = Field(default=StreamConfig(), description="How the text is read.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.pretraining(vocab=257)
        return self

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return RNNPretraining(model=self.resolved(vocab), stream=self.stream)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        small = {"embedding": 32, "width": 32, "layers": 1, "stream": self.stream.model_copy(update={"bptt": 16})}
        return self.model_copy(update=small)


class NNLMRung(PresetRung):
    """Bengio's network: a preset, and what differs from it."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(nnlm_preset)
    reading: ClassVar[set[str]] = {"sequence"}

    kind: Literal["nnlm"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="small", description=f"One of {', '.join(NNLM_PRESETS)}.")
    order: int | None = Field(default=None, ge=2, description="Predicts from order - 1 tokens; null: the preset's.")
    embedding: int | None = Field(default=None, ge=1, description="Width of a token's vector; null: the preset's.")
    hidden: int | None = Field(default=None, ge=0, description="Hidden units; null: the preset's.")
    direct: bool | None = Field(default=None, description="Direct links from vectors to scores; null: the preset's.")
    sequence: int = Field(default=128, ge=1, description="Tokens of a training sequence.")

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return NNLMPretraining(model=self.resolved(vocab), sequence=self.sequence)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"embedding": 8, "hidden": 16, "sequence": 32})


class ELMoRung(PresetRung):
    """ELMo's bidirectional language model: a preset, and what differs from it. Needs a tokenizer of kind word."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(elmo_preset)
    reading: ClassVar[set[str]] = {"sequence"}

    kind: Literal["elmo"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="small", description=f"One of {', '.join(ELMO_PRESETS)}.")
    width: int | None = Field(default=None, ge=1, description="Width of words and of each layer; null: the preset's.")
    layers: int | None = Field(default=None, ge=1, description="LSTM layers in each direction; null: the preset's.")
    characters: int | None = Field(default=None, ge=3, description="Bytes of a word that are read; null: the preset's.")
    character_width: int | None = Field(default=None, ge=1, description="Width of a byte's vector; null: the preset's.")
    filters: tuple[tuple[int, int], ...] | None = Field(
        default=None, description="Convolutions: (bytes wide, how many); null: the preset's."
    )
    highways: int | None = Field(default=None, ge=0, description="Highway layers behind them; null: the preset's.")
    cell_width: int | None = Field(
        default=None, ge=1, description="Width of an LSTM's memory, projected to `width`; null: the preset's."
    )
    clip: float | None = Field(
        default=None, gt=0, description="Memories and projections are kept within ± this; null: the preset's."
    )
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Null: the preset's.")
    sequence: int = Field(default=64, ge=1, description="Words of a training sequence.")

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return ELMoPretraining(model=self.resolved(vocab), sequence=self.sequence)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        shape = ("characters", "character_width", "filters", "highways", "cell_width", "clip")
        size = {"preset": "small", "width": 16, "layers": 1, "sequence": 16}
        return self.model_copy(update={**dict.fromkeys(shape), **size})


class TransformerXLRung(PresetRung):
    """A Transformer-XL: a preset, and what differs from it."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(transformer_xl_preset)
    reading: ClassVar[set[str]] = {"stream"}

    kind: Literal["transformer_xl"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="xl-nano", description=f"One of {', '.join(TRANSFORMER_XL_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Layers; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of the residual stream; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    inner: int | None = Field(default=None, ge=1, description="Width inside a feed-forward; null: the preset's.")
    memory: int | None = Field(default=None, ge=0, description="Tokens of each layer's memory; null: the preset's.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Of the model; null: the preset's.")
    attention_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="On attention's weights; null: the preset's."
    )
    same_length: bool | None = Field(
        default=None, description="Whether every position sees `memory` tokens; null: the preset's."
    )
    clamp: int | None = Field(
        default=None, ge=0, description="Distances beyond this count as this, 0: none; null: the preset's."
    )
    stream: TransformerXLStream = Field(default=TransformerXLStream(), description="How the text is read.")

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return TransformerXLPretraining(model=self.resolved(vocab), stream=self.stream)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        size = {"preset": "xl-pico", "layers": None, "width": None, "heads": None, "inner": None, "memory": 16}
        return self.model_copy(update={**size, "stream": TransformerXLStream(segment=16)})


class XLNetRung(PresetRung):
    """An XLNet: a preset, and what differs from it."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(xlnet_preset)
    reading: ClassVar[set[str]] = {"permutation"}

    kind: Literal["xlnet"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="xlnet-nano", description=f"One of {', '.join(XLNET_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Layers; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of both streams; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    inner: int | None = Field(default=None, ge=1, description="Width inside a feed-forward; null: the preset's.")
    context: int | None = Field(default=None, ge=2, description="Tokens of an example; null: the preset's.")
    memory: int | None = Field(default=None, ge=0, description="Tokens of each layer's memory; null: the preset's.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Of the model; null: the preset's.")
    clamp: int | None = Field(
        default=None, ge=0, description="Distances beyond this count as this, 0: none; null: the preset's."
    )
    permutation: PermutationConfig = Field(default=PermutationConfig(), description="What is predicted of a text.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.permutation.targets(self.resolved(vocab=257).context)
        return self

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return XLNetPretraining(model=self.resolved(vocab), permutation=self.permutation)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        size = {"preset": "xlnet-pico", "layers": None, "width": None, "heads": None, "inner": None, "context": None}
        return self.model_copy(update=size)


class BertRung(PresetRung):
    """BERT, RoBERTa, ALBERT, SpanBERT or MacBERT: a preset, which also says what is asked, and what differs from it."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(bert_preset)
    reading: ClassVar[set[str]] = {"masking", "segments", "similar_words"}

    kind: Literal["bert"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="bert-tiny", description=f"One of {', '.join(BERT_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Transformer blocks; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of the hidden states; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    embedding: int | None = Field(default=None, ge=1, description="Width of ALBERT's embedding; null: the preset's.")
    context: int | None = Field(default=None, ge=4, description="Context in tokens; null: the preset's.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Dropout; null: the preset's.")
    masking: MaskingConfig = Field(
        default=MaskingConfig(),
        description="Which tokens are to be predicted. What is not given is as the preset's paper has it: fixed masks"
        " (bert-*), others in every epoch (roberta-*), up to three words (albert-*), spans and their ends (spanbert-*),"
        " up to four words by similar ones (macbert-*).",
    )
    segments: SegmentsConfig = Field(
        default=SegmentsConfig(),
        description="Which stretches of text stand together. `pairs`, when not given: nsp (bert-*), sop (albert-*,"
        " macbert-*), none (roberta-*, spanbert-*).",
    )
    similar_words: Word2VecConfig = Field(
        default=Word2VecConfig(kind="word2vec"),
        description="`masking.hidden_by: similar`: which vectors of the training text's words say what is similar.",
    )

    @model_validator(mode="before")
    @classmethod
    def _asked_as_in_the_paper(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        family = str(given.get("preset", cls.model_fields["preset"].default)).partition("-")[0]
        asked = dict(given)
        for key, papers in (("masking", MASKING_PRESETS), ("segments", SEGMENTS_PRESETS)):
            own = asked.get(key, {})
            if family in papers and isinstance(own, dict):  # an unknown preset is named by `_known`
                asked[key] = {**papers[family].model_dump(), **own}
        return asked

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.pretraining(vocab=257)
        return self

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained; the model has the heads that are asked for."""
        given = self.model_dump(exclude={"kind", "preset", "learning_rate", *self.reading}, exclude_none=True)
        heads = {"pair_head": self.segments.pairs != "none", "boundary_head": self.masking.boundary}
        model: BertConfig = bert_preset(self.preset, vocab=vocab, **{**given, **heads})
        return BertPretraining(model=model, masking=self.masking, segments=self.segments)

    def similar_words_config(self) -> SimilarWordsConfig | None:
        """How similar words are found; None: nothing is hidden by them."""
        if self.masking.hidden_by != "similar":
            return None
        return SimilarWordsConfig(vectors=self.similar_words, chinese_words=self.masking.chinese_words)

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        embedding = None if BERT_PRESETS[self.preset].embedding is None else 16
        small = {"layers": 2, "width": 32, "heads": 2, "embedding": embedding, "context": 32}
        vectors = self.similar_words.model_copy(update={"dimensions": 8, "epochs": 1, "min_count": 1})
        segments = self.segments.model_copy(update={"length": 32})
        return self.model_copy(update=small | {"segments": segments, "similar_words": vectors})


class ModernRung(PresetRung, PackedRung):
    """The modern decoder: a preset, and what differs from it. It brings its own optimiser and schedule."""

    of_preset: ClassVar[Callable[..., Any]] = staticmethod(modern_preset)
    reading: ClassVar[set[str]] = {"optimizer", "schedule", "document_mask"}

    kind: Literal["modern"] = Field(description="Which generation these settings are for.")
    preset: str = Field(default="nano", description=f"One of {', '.join(MODERN_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Transformer blocks; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of the residual stream; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    context: int | None = Field(default=None, ge=1, description="Context in tokens; null: the preset's.")
    tied: bool | None = Field(default=None, description="Whether the head is the embedding; null: the preset's.")
    optimizer: OptimizerConfig | None = Field(
        default=MODERN_OPTIMIZER, description="In place of `train.optimizer`; null: that one."
    )
    schedule: ScheduleConfig | None = Field(
        default=MODERN_SCHEDULE, description="In place of `train.schedule`; null: that one."
    )

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.learning_rate is not None and self.optimizer is not None:
            raise ValueError("learning_rate: the modern decoder has its own optimiser: set optimizer.learning_rate")
        return self

    def pretraining(self, vocab: int) -> Pretraining:
        """What is trained."""
        return ModernPretraining(
            model=self.resolved(vocab),
            optimizer=self.optimizer,
            schedule=self.schedule,
            document_mask=self.document_mask,
        )

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"preset": "pico", "layers": None, "width": None, "heads": None, "context": None})


class Word2VecRung(Word2VecConfig):
    """word2vec: vectors of words, no model of text."""

    def settings(self) -> VectorsConfig:
        """What is trained."""
        return Word2VecConfig.model_validate(self.model_dump())

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"dimensions": 8, "epochs": 1, "min_count": 1})


class GloVeRung(GloVeConfig):
    """GloVe: vectors of words, no model of text."""

    def settings(self) -> VectorsConfig:
        """What is trained."""
        return GloVeConfig.model_validate(self.model_dump())

    def smaller(self) -> Self:
        """Cut down for a smoke test."""
        return self.model_copy(update={"dimensions": 8, "epochs": 1, "min_count": 1})


VectorsRung = Word2VecRung | GloVeRung
TrainedRung = GPTRung | RNNRung | NNLMRung | ELMoRung | TransformerXLRung | XLNetRung | BertRung | ModernRung
"""Those with gradients, which say what is pretrained (`pretraining`)."""
Rung = Annotated[NgramRung | VectorsRung | TrainedRung, Field(discriminator="kind")]

_WITHOUT_PROBABILITY: dict[type, str] = {
    BertRung: "a masked language model",
    Word2VecRung: "a table of word vectors",
    GloVeRung: "a table of word vectors",
}
"""What defines no probability of a text."""

_UNSCORABLE = {
    "stupid_backoff": "gives scores that do not sum to one",
    "mle": "gives what it never saw no probability, and other text infinitely many bits",
}
"""Smoothings of n-grams without bits per byte."""


def without_bits(rung: Rung) -> str | None:
    """Why a model has no bits per byte on other text; None: it has."""
    if isinstance(rung, NgramRung):
        why = _UNSCORABLE.get(rung.smoothing)
        return why and f"{rung.smoothing} {why}"
    what = _WITHOUT_PROBABILITY.get(type(rung))
    return what and f"{what} defines no probability of a text"


TOKENIZERS: dict[type, tuple[str, ...]] = {ELMoRung: ("word",), BertRung: ("wordpiece", "byte_bpe")}
"""The kinds of tokenizer of those that cannot do with any: words have characters, gaps need special tokens."""
