"""The span of a context that answers a question, by a start and an end vector (BERT, section 4.2 and 4.3).

P(start = i) = softmax(S' h)_i,   P(end = j) = softmax(E' h)_j,   the answer: the i <= j with the largest S'h_i + E'h_j

Both softmaxes are over all positions of the window. Where a window does not hold the answer, start and end stand on
the token that the framing reads ([CLS], or the extract token), whose score is that of "no answer here". A question
without an answer (SQuAD 2.0) is one for which that score, the smallest over its windows, is above that of the best span
by more than a threshold, which is chosen on the dev set.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.finetune.forms.base import Answer, Example, Reader, fingerprint, softmax
from lm.finetune.framing import Row
from lm.finetune.windows import Window, windows
from lm.labelled.forms import QuestionAnswering
from lm.tokenizer import encode_documents
from lm.tokenizers.spans import token_offsets
from lm.train.objective import Batch

BEST = 20
"""Spans that the probability of an answer is relative to (google-research/bert `run_squad.py`, n_best_size)."""


class Span(NamedTuple):
    """Tokens first .. last of the context."""

    score: float
    first: int
    last: int


class QuestionItems:
    """Windows of contexts behind their questions. A batch is that of `Framing.batch` with `starts` and `ends`, int64
    [rows], and `weights`: 0 for a window of a question whose answer does not stand in its context."""

    def __init__(
        self,
        reader: Reader,
        rows: list[Row],
        targets: np.ndarray,
        owners: list[int],
        places: list[Window],
        contexts: list[str],
        offsets: list[list[tuple[int, int]]],
        lost: dict[str, int],
    ) -> None:
        self.reader, self.rows, self.targets, self.lost = reader, rows, targets, lost
        self.owners, self.places, self.contexts, self.offsets = owners, places, contexts, offsets
        self.lengths = np.array([len(row.tokens) for row in rows], np.int64)
        self.fingerprint = fingerprint([self.lengths, targets, *(row.tokens for row in rows)])

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """The windows at `indices`, in that order."""
        starts, ends, weights = (torch.from_numpy(column) for column in self.targets[indices].T.copy())
        targets = {"starts": starts, "ends": ends, "weights": weights.float()}
        return self.reader.framing.batch([self.rows[index] for index in indices]) | targets


class QuestionForm:
    """The mean of the cross-entropies of start and end."""

    name, outputs, per_token, orders = "question_answering", 2, True, 1

    def __init__(
        self,
        ask: QuestionAnswering,
        reader: Reader,
        stride: int | None = None,
        max_question: int = 64,
        max_answer: int = 30,
        causal: bool = False,
        threshold: float = 0.0,
    ) -> None:
        self.ask, self.reader, self.stride, self.causal = ask, reader, stride, causal
        self.max_question, self.max_answer, self.threshold = max_question, max_answer, threshold

    def items(self, examples: Sequence[Example]) -> QuestionItems:
        framing, limit = self.reader.framing, self.reader.limit
        room = limit - framing.around(2)
        questions = encode_documents(self.reader.tokenizer, [e["question"] for e in examples])
        contexts = token_offsets(self.reader.tokenizer, [e["context"] for e in examples])
        rows, targets, owners, places = [], [], [], []
        lost = {"cut": 0, "unreachable": 0}
        for owner, (example, question, (ids, offsets)) in enumerate(zip(examples, questions, contexts, strict=True)):
            longest = min(self.max_question, room // 2)
            lost["cut"] += len(question) > longest
            question = question[:longest]
            size = room - len(question)
            answer, weight, reached = None, 1, False
            if example.get("answers"):
                answer = _located(example["context"], example["answers"], example["starts"], offsets)
                weight = int(answer is not None)
            for window in windows(len(ids), size, min(self.stride or max(1, size // 2), size)):
                row = framing.pair(question, ids[window.begin : window.end], limit)
                start = end = self._null(row)
                if answer is not None and window.begin <= answer[0] and answer[1] < window.end:
                    start, end = (row.second + place - window.begin for place in answer)
                    reached = True
                rows.append(row)
                targets.append((start, end, weight))
                owners.append(owner)
                places.append(window)
            lost["unreachable"] += bool(example.get("answers")) and not reached
        table = np.array(targets, np.int64).reshape(-1, 3)
        spans = [offsets for _, offsets in contexts]
        return QuestionItems(self.reader, rows, table, owners, places, [e["context"] for e in examples], spans, lost)

    def _null(self, row: Row) -> int:
        return 0 if self.reader.framing.at_first else len(row.tokens) - 1

    @staticmethod
    def longest_answer(items: QuestionItems) -> int:
        """Tokens of the longest labelled answer; 1 if there is none."""
        return int((items.targets[:, 1] - items.targets[:, 0]).max(initial=0)) + 1

    def count(self, batch: Batch) -> float:
        return float(batch["weights"].sum())

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        real = torch.arange(outputs.shape[1], device=outputs.device) < batch["lengths"][:, None]
        starts, ends = outputs.masked_fill(~real[..., None], float("-inf")).unbind(-1)
        nats = F.cross_entropy(starts, batch["starts"], reduction="none")
        nats = (nats + F.cross_entropy(ends, batch["ends"], reduction="none")) / 2
        return (nats * batch["weights"]).sum()

    def split(self, outputs: Tensor, batch: Batch) -> list[np.ndarray]:
        found = outputs.float().cpu().numpy()
        return [row[:length] for row, length in zip(found, batch["lengths"].tolist(), strict=True)]

    def answers(self, items: QuestionItems, outputs: Sequence[np.ndarray]) -> list[Answer]:
        """`predicted`, "" for no answer; `span`, the best answer whatever the threshold says, with `start` and `end` in
        characters of the context (-1 without one), its `probability` among the best spans, and `null_difference`: the
        score of no answer less that of the span."""
        by_question: dict[int, list[int]] = {}
        for number, owner in enumerate(items.owners):
            by_question.setdefault(owner, []).append(number)
        found = []
        for owner, numbers in sorted(by_question.items()):
            spans: list[Span] = []
            null = min(float(outputs[n][self._null(items.rows[n])].sum()) for n in numbers)
            places = [items.places[n] for n in numbers]
            for nth, n in enumerate(numbers):
                row = items.rows[n]
                scores = outputs[n][row.second : row.second + row.last]
                spans += best_spans(scores, places, nth, self.max_answer, self.causal)
            spans.sort(key=lambda span: (-span.score, span.first, span.last))
            found.append(self._answer(items.contexts[owner], items.offsets[owner], spans[:BEST], null))
        return found

    def _answer(self, context: str, offsets: list[tuple[int, int]], spans: list[Span], null: float) -> Answer:
        if not spans:
            return {"predicted": "", "span": "", "start": -1, "end": -1, "probability": 0.0, "null_difference": 0.0}
        best = spans[0]
        start, end = _stripped(context, offsets[best.first][0], offsets[best.last][1])
        scores = [span.score for span in spans] + ([null] if self.ask.unanswerable else [])
        answer = {
            "span": context[start:end],
            "start": start,
            "end": end,
            "probability": float(softmax(np.array(scores))[0]),
            "null_difference": null - best.score,
        }
        return answer | {"predicted": self.said(answer)}

    def said(self, answer: Answer) -> str:
        """The span, or "" where the threshold says that there is no answer."""
        refused = self.ask.unanswerable and answer["null_difference"] > self.threshold
        return "" if refused else str(answer["span"])


def best_spans(
    scores: np.ndarray, places: Sequence[Window], nth: int, longest: int, causal: bool = False
) -> list[Span]:
    """The best spans of the `nth` of a context's windows, of at most `longest` tokens, from their scores [tokens, 2].

    A span that stands in several windows is asked of the one with most around it: the larger of its smaller side, plus
    a hundredth of the window's length, or of its left side in a causal model; the first of equals.
    """
    if not len(scores):
        return []
    window, size = places[nth], len(scores)
    first = np.arange(size)[:, None]
    last = first + np.arange(min(longest, size))
    inside = last < size
    start, end = scores[:, 0].astype(np.float64), scores[:, 1].astype(np.float64)
    sums = np.where(inside, start[:, None] + end[np.minimum(last, size - 1)], -np.inf)
    mine = _around(window, window.begin + first, window.begin + last, causal)
    for m, other in enumerate(places):
        if m != nth and other.begin < window.end and window.begin < other.end:
            theirs = _around(other, window.begin + first, window.begin + last, causal)
            sums[(theirs > mine) | ((theirs == mine) & (m < nth))] = -np.inf
    flat = np.argsort(-sums, axis=None, kind="stable")[:BEST]
    chosen = [divmod(int(n), sums.shape[1]) for n in flat]
    return [
        Span(float(sums[i, k]), window.begin + i, window.begin + i + k) for i, k in chosen if np.isfinite(sums[i, k])
    ]


def _around(window: Window, first: np.ndarray, last: np.ndarray, causal: bool) -> np.ndarray:
    """How much of a window stands around spans; -inf for those that are not in it."""
    left, right = first - window.begin, window.end - 1 - last
    much = left + 0.0 * right if causal else np.minimum(left, right) + 0.01 * (window.end - window.begin)
    return np.where((left >= 0) & (right >= 0), much, -np.inf)


def _located(
    context: str, answers: Sequence[str], starts: Sequence[int], offsets: list[tuple[int, int]]
) -> tuple[int, int] | None:
    """The first and the last token of the first answer that stands in the context; where it is not at the place that
    is said, at the nearest one. None: none does."""
    for answer, said in zip(answers, starts, strict=True):
        if context[said : said + len(answer)] != answer:
            said = _nearest(context, answer, said)
        if not answer.strip() or said < 0:
            continue
        begin, end = _stripped(context, said, said + len(answer))
        inside = [n for n, (low, high) in enumerate(offsets) if low < end and high > begin]
        if inside:
            return inside[0], inside[-1]
    return None


def _nearest(context: str, answer: str, place: int) -> int:
    before, behind = context.rfind(answer, 0, place + len(answer)), context.find(answer, max(0, place))
    there = [found for found in (before, behind) if found >= 0]
    return min(there, key=lambda found: abs(found - place), default=-1)


def _stripped(text: str, begin: int, end: int) -> tuple[int, int]:
    """Without white space at either end."""
    while begin < end and text[begin].isspace():
        begin += 1
    while end > begin and text[end - 1].isspace():
        end -= 1
    return begin, end
