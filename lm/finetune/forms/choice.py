"""The right one of several answers: one number for each, a softmax over them (GPT-1, section 3.3; BERT, section 4.4).

Decoders read the context and the question as the first text and the answer as the second (GPT-1: [z; q; $; a_k]).
Encoders read the context first, then question and answer together: where the question is the beginning of a sentence,
the answer is its end (SWAG); without a context the question is the first text. What does not fit is cut from the end of
the context.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from lm.finetune.forms.base import Answer, Example, Reader, fingerprint, lengths_of, softmax
from lm.finetune.framing import Row
from lm.tokenizer import encode_documents
from lm.train.objective import Batch
from lm.words_in_tokens import HAN


class ChoiceItems:
    """Examples of any number of choices. A batch is that of `Framing.batch`, a row for each choice of each example,
    with `choices` (how many) and `labels`, int64 [n]."""

    def __init__(self, reader: Reader, rows: list[list[Row]], labels: np.ndarray, cut: int) -> None:
        self.reader, self.rows, self.labels, self.lost = reader, rows, labels, {"cut": cut}
        self.lengths = lengths_of(rows)
        self.choices = np.array([len(of) for of in rows], np.int64)
        tokens = [row.tokens for of in rows for row in of]
        self.fingerprint = fingerprint([self.lengths, self.choices, labels, *tokens])

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples at `indices`, in that order."""
        rows = [row for index in indices for row in self.rows[index]]
        targets = {"choices": self.choices[indices], "labels": self.labels[indices]}
        return self.reader.framing.batch(rows) | {name: torch.from_numpy(array) for name, array in targets.items()}


class ChoiceForm:
    """The cross-entropy of the right choice among those of its example."""

    name, outputs, per_token, orders = "multiple_choice", 1, False, 1

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def items(self, examples: Sequence[Example]) -> ChoiceItems:
        parts = [self._parts(e["context"] or "", e["question"] or "", c) for e in examples for c in e["choices"]]
        encoded = [encode_documents(self.reader.tokenizer, list(side)) for side in zip(*parts, strict=True)]
        framed = iter([self._row(*ids) for ids in zip(*encoded, strict=True)])
        rows = [[next(framed) for _ in e["choices"]] for e in examples]
        room = self.reader.limit - self.reader.framing.around(2)
        over = iter([sum(map(len, ids)) > room for ids in zip(*encoded, strict=True)])
        cut = sum([any([next(over) for _ in e["choices"]]) for e in examples])
        return ChoiceItems(self.reader, rows, np.array([e.get("label", 0) for e in examples], np.int64), cut)

    def _parts(self, context: str, question: str, choice: str) -> tuple[str, str, str]:
        """The first text in two parts, of which the second must not be cut, and the second text."""
        if not self.reader.framing.at_first:
            return context, joined(context, question)[len(context) :], choice
        return (context, "", joined(question, choice)) if context else (question, "", choice)

    def _row(self, context: np.ndarray, question: np.ndarray, answer: np.ndarray) -> Row:
        """Where all is too long the context loses its end, so that the question stands."""
        framing, limit = self.reader.framing, self.reader.limit
        if len(question):
            context = context[: max(0, limit - framing.around(2) - len(question) - len(answer))]
        return framing.pair(np.concatenate([context, question]), answer, limit)

    def count(self, batch: Batch) -> float:
        return float(len(batch["labels"]))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        by_example = outputs[:, 0].split(batch["choices"].tolist())
        scores = pad_sequence(by_example, batch_first=True, padding_value=float("-inf"))
        return F.cross_entropy(scores, batch["labels"], reduction="sum")

    def split(self, outputs: Tensor, batch: Batch) -> list[np.ndarray]:
        return [of.numpy() for of in outputs[:, 0].float().cpu().split(batch["choices"].tolist())]

    def answers(self, items: ChoiceItems, outputs: Sequence[np.ndarray]) -> list[Answer]:
        found = [softmax(o) for o in outputs]
        return [{"predicted": int(p.argmax()), "probabilities": p.tolist()} for p in found]


def joined(first: str, second: str) -> str:
    """Two pieces of text as one: with a space between them where neither has one and the script is written with it."""
    if not first or not second:
        return first or second
    apart = first[-1].isspace() or second[0].isspace() or HAN.match(first[-1]) or HAN.match(second[0])
    return first + second if apart else f"{first} {second}"
