"""What every form of task owes to training and prediction."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.finetune.framing import Framing, Row
from lm.tokenizer import encode_documents, unknown_id
from lm.train.objective import Batch

Example = Mapping[str, Any]
"""The columns of one example, as its form (`lm.labelled.forms`) names them; without labels where they are asked for."""
Answer = dict[str, Any]
"""What a model says of one example: `predicted`, `probabilities` and what else the form has."""


@dataclass(frozen=True)
class Reader:
    """What all forms need to make sequences of texts."""

    tokenizer: Any
    """A Tokenizer, or the `Words` of a model that gives features."""
    framing: Framing
    limit: int
    """Tokens of a sequence at most."""

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, int64."""
        if isinstance(self.tokenizer, Tokenizer):
            return encode_documents(self.tokenizer, list(texts))
        found: list[np.ndarray] = self.tokenizer.encode(texts)
        return found

    @property
    def unknown(self) -> int | None:
        """The id that stands for what has none; None if everything has one."""
        return unknown_id(self.tokenizer) if isinstance(self.tokenizer, Tokenizer) else int(self.tokenizer.nothing)


class Items(Protocol):
    """Examples as sequences: what `lm.train.objective.Examples` asks, and how long each is. Items may be windows, so
    that there are more of them than examples."""

    fingerprint: str
    lengths: np.ndarray
    lost: dict[str, int]
    """How many examples did not fit: `cut`, which lost a part of a text; of questions `unreachable`, whose answer
    stands in no window, or not in the context."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch: ...


class TaskForm(Protocol):
    """A form of task for a model that frames its inputs in one way."""

    name: str
    outputs: int
    """Width of the head."""
    per_token: bool
    """Whether the head is put on each state, or on a vector of the whole sequence."""
    orders: int
    """In how many orders the two texts are read."""

    def items(self, examples: Sequence[Example]) -> Any:
        """The sequences of examples, with what the loss needs where they have labels."""
        ...

    def count(self, batch: Batch) -> float:
        """What the loss is a sum over."""
        ...

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The sum of losses of a batch, a scalar, from the head's outputs."""
        ...

    def split(self, outputs: Tensor, batch: Batch) -> list[np.ndarray]:
        """The outputs of each item, float64 or float32."""
        ...

    def answers(self, items: Any, outputs: Sequence[np.ndarray]) -> list[Answer]:
        """What the outputs of all items say of each example, in the order of the examples."""
        ...


def fingerprint(arrays: Iterable[np.ndarray]) -> str:
    """Of everything that training sees."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array, "<f8" if array.dtype.kind == "f" else "<i8").tobytes())
    return digest.hexdigest()


def lengths_of(rows: Sequence[Sequence[Row]]) -> np.ndarray:
    """Of each item the longest of its sequences, int64 [items]."""
    return np.array([max(len(row.tokens) for row in of) for of in rows], np.int64)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis, in float32 as torch does it: the probabilities of a prediction do not depend on NumPy."""
    return torch.from_numpy(np.asarray(scores, np.float32)).softmax(-1).numpy()
