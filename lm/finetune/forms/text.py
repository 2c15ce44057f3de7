"""A label or a number for a text or a pair: GPT-1's classification, entailment and similarity, BERT's (a) and (b)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.finetune.forms.base import Answer, Example, Reader, fingerprint, lengths_of, softmax
from lm.finetune.framing import Row, WordFraming
from lm.labelled.forms import Classification, Regression
from lm.train.objective import Batch


class TextItems:
    """Texts or pairs. A batch is that of `Framing.batch` with `labels` and `weights`, [n]; with both orders its rows
    are all examples in one order, then all in the other."""

    def __init__(
        self, reader: Reader, rows: list[tuple[Row, ...]], labels: np.ndarray, weights: np.ndarray, cut: int
    ) -> None:
        self.reader, self.rows, self.labels, self.weights, self.lost = reader, rows, labels, weights, {"cut": cut}
        self.lengths = lengths_of(rows)
        tokens = [row.tokens for of in rows for row in of]
        self.fingerprint = fingerprint([self.lengths, labels, weights, *tokens])

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples at `indices`, in that order."""
        orders = range(len(self.rows[0]))
        rows = [self.rows[index][order] for order in orders for index in indices]
        targets = {"labels": self.labels[indices], "weights": self.weights[indices]}
        return self.reader.framing.batch(rows) | {name: torch.from_numpy(array) for name, array in targets.items()}


class TextForm:
    """Shared by `ClassificationForm` and `RegressionForm`."""

    name: str
    outputs: int
    per_token = False

    def __init__(
        self, ask: Classification | Regression, reader: Reader, both_orders: bool, pairs: bool = False
    ) -> None:
        self.reader = reader
        self.texts = 2 if pairs else 1
        """How many texts an example has, for a model that reads them apart."""
        self.symmetric = ask.symmetric
        self.orders = 2 if both_orders and ask.symmetric else 1

    def rows(self, examples: Sequence[Example]) -> tuple[list[tuple[Row, ...]], int]:
        """The sequences of each example, and how many examples lost a part of a text.

        Two orders are always made from the same one of them, whichever way round the texts came, so that a symmetric
        task gets the same bits when they are swapped.
        """
        framing, limit = self.reader.framing, self.reader.limit
        first = self.reader.encode([e["text"] for e in examples])
        second = self.reader.encode([e.get("text_b") or "" for e in examples])
        if isinstance(framing, WordFraming):
            texts = [pair[: self.texts] for pair in zip(first, second, strict=True)]
            cut = sum(any(len(text) > limit for text in of) for of in texts)
            return [tuple(framing.single(text, limit) for text in of) for of in texts], cut
        rows: list[tuple[Row, ...]] = []
        cut = 0
        for example, a, b in zip(examples, first, second, strict=True):
            cut += len(a) + len(b) + framing.around(1 if example.get("text_b") is None else 2) > limit
            if example.get("text_b") is None:
                rows.append((framing.single(a, limit),) * self.orders)
            elif self.orders == 1:
                rows.append((framing.pair(a, b, limit),))
            else:
                low, high = sorted((a.tolist(), b.tolist()))
                rows.append((framing.pair(low, high, limit), framing.pair(high, low, limit)))
        return rows, cut

    def count(self, batch: Batch) -> float:
        return float(batch["weights"].sum())

    def split(self, outputs: Tensor, batch: Batch) -> list[np.ndarray]:
        return list(outputs.float().cpu().numpy())


class ClassificationForm(TextForm):
    """The cross-entropy of the label, each with the weight of its class."""

    name = "classification"

    def __init__(
        self,
        ask: Classification,
        reader: Reader,
        both_orders: bool = True,
        class_weights: Sequence[float] = (),
        pairs: bool = False,
    ) -> None:
        super().__init__(ask, reader, both_orders, pairs)
        self.outputs = len(ask.classes)
        self.class_weights = np.array(class_weights or [1.0] * self.outputs, np.float32)

    def items(self, examples: Sequence[Example]) -> TextItems:
        labels = np.array([e.get("label", 0) for e in examples], np.int64)
        rows, cut = self.rows(examples)
        return TextItems(self.reader, rows, labels, self.class_weights[labels], cut)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        weight = batch["weights"]
        if bool((weight == 1).all()):
            return F.cross_entropy(outputs, batch["labels"], reduction="sum")
        return (F.cross_entropy(outputs, batch["labels"], reduction="none") * weight).sum()

    def answers(self, items: TextItems, outputs: Sequence[np.ndarray]) -> list[Answer]:
        found = softmax(np.stack(outputs))
        return [{"predicted": int(p.argmax()), "probabilities": p.tolist()} for p in found]


class RegressionForm(TextForm):
    """The squared error, labels brought from low..high to 0..1."""

    name = "regression"
    outputs = 1

    def __init__(self, ask: Regression, reader: Reader, both_orders: bool = True, pairs: bool = False) -> None:
        super().__init__(ask, reader, both_orders, pairs)
        self.low, self.range = ask.low, ask.high - ask.low

    def items(self, examples: Sequence[Example]) -> TextItems:
        labels = np.array([(e.get("label", self.low) - self.low) / self.range for e in examples], np.float32)
        rows, cut = self.rows(examples)
        return TextItems(self.reader, rows, labels, np.ones(len(labels), np.float32), cut)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(outputs[:, 0], batch["labels"].to(outputs.dtype), reduction="sum")

    def answers(self, items: TextItems, outputs: Sequence[np.ndarray]) -> list[Answer]:
        """Not cut to low..high: a correlation would lose by it."""
        return [{"predicted": self.low + self.range * float(o[0])} for o in outputs]
