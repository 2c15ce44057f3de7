"""What users see of any model: it scores texts and continues them; what the kinds share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, Unpack

import numpy as np
from tokenizers import Tokenizer
from torch import nn

from lm.evaluate.perplexity import Sequences, bits_per_byte
from lm.sampling import Sampling
from lm.stop import ShouldStop, never
from lm.tokenizer import TextEncoder, token_byte_lengths
from lm.tokenizers.spans import Encoded
from lm.tokenizers.spelling import Spelling


@dataclass(frozen=True)
class Score:
    """What a model says of one text: its tokens, the sum of their -ln p, and the UTF-8 bytes that these stand for.

    The text is scored as the beginning of a document; what ends it is not scored. 0 bytes: the model gives bytes no
    probability (a model of words, whose `<unk>` may be anything).
    """

    tokens: int
    nats: float
    bytes: int
    spelling_nats: float = 0.0  # of the nats, what spelling unknown words costs


def score_of(text: Encoded, nats: float) -> Score:
    """The score of a text whose tokens cost `nats`, what spelling unknown words costs not included."""
    spelled = float(text.spelling_nats.sum())
    return Score(len(text.ids), nats + spelled, int(text.bytes.sum()), spelled)


class TextModel(Protocol):
    """What every kind that defines a probability of text can do."""

    kind: str

    @property
    def context(self) -> int | None:
        """Tokens that it can look at, `<|endoftext|>` included; None: however many there are."""
        ...

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts in tokens, without `<|endoftext|>`."""
        ...

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        """-ln p of every token of each sequence (ids, int64 [tokens]) as the beginning of a document, given those
        before it; float64 [tokens] each. What spelling unknown words costs is not in it."""
        ...

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        """The score of each text."""
        ...

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> dict[str, float]:
        """The figures of `lm.evaluate.perplexity.bits_per_byte` for token sequences of the model's own tokenizer."""
        ...

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        """A continuation of `prompt` as the beginning of a document, without it; the draw depends on `seed` alone."""
        ...


Model = TypeVar("Model", bound=nn.Module)


class TorchText(ABC, Generic[Model]):
    """What the models that are torch modules share."""

    context: int | None = None

    def __init__(self, model: Model, tokenizer: Tokenizer, spelling: Spelling) -> None:
        self.model: Model = model
        self.tokenizer, self._encoder = tokenizer, TextEncoder(tokenizer, spelling)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return self._encoder(texts)

    @abstractmethod
    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        """As `TextModel.token_nats`."""

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        found = self.encode(texts)
        nats = self.token_nats([each.ids for each in found], should_stop)
        return [score_of(text, float(each.sum())) for text, each in zip(found, nats, strict=True)]

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> dict[str, float]:
        lengths = token_byte_lengths(self.tokenizer)
        return bits_per_byte(self.model, sequences, lengths, limit, should_stop=should_stop)
