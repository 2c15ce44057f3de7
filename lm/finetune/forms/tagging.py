"""A tag for each word (BERT, figure 4 d): one piece of each word is scored, long sentences are read in windows."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.finetune.forms.base import Answer, Example, Reader, fingerprint, softmax
from lm.finetune.framing import Row
from lm.finetune.windows import best_windows, windows
from lm.labelled.forms import Tagging
from lm.padding import padded
from lm.train.objective import Batch

NOT_SCORED = -100


class TaggingItems:
    """Windows of sentences. A batch is that of `Framing.batch` with `tags`, int64 [rows, time], `NOT_SCORED` where no
    word is scored.

    Every word is scored once, in the window that has most around it: `owners` says which sentence a window is of,
    `words` which of its words are scored at which position.
    """

    def __init__(
        self,
        reader: Reader,
        rows: list[Row],
        tags: list[np.ndarray],
        owners: list[int],
        words: list[list[tuple[int, int]]],
        sizes: list[int],
        weights: np.ndarray,
        cut: int,
    ) -> None:
        self.reader, self.rows, self.tags, self.owners, self.words, self.sizes = (
            reader,
            rows,
            tags,
            owners,
            words,
            sizes,
        )
        self.weights, self.lost = weights, {"cut": cut}
        self.lengths = np.array([len(row.tokens) for row in rows], np.int64)
        self.fingerprint = fingerprint([self.lengths, weights, *(row.tokens for row in rows), *tags])

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """The windows at `indices`, in that order."""
        tags = torch.from_numpy(padded([self.tags[index] for index in indices], NOT_SCORED))
        weights = torch.from_numpy(self.weights)[tags.clamp(min=0)] * (tags != NOT_SCORED)
        return self.reader.framing.batch([self.rows[index] for index in indices]) | {"tags": tags, "weights": weights}


class TaggingForm:
    """The cross-entropy of the tag of each word, each with the weight of its tag."""

    name, per_token, orders = "tagging", True, 1

    def __init__(
        self,
        ask: Tagging,
        reader: Reader,
        stride: int | None = None,
        last_piece: bool = False,
        causal: bool = False,
        class_weights: Sequence[float] = (),
    ) -> None:
        self.ask, self.reader, self.last_piece, self.causal = ask, reader, last_piece, causal
        self.outputs = len(ask.tags)
        self.size = reader.limit - reader.framing.around(1)
        self.stride = stride or max(1, self.size // 2)
        self.class_weights = np.array(class_weights or [1.0] * self.outputs, np.float32)

    def items(self, examples: Sequence[Example]) -> TaggingItems:
        number = {tag: n for n, tag in enumerate(self.ask.tags)}
        spelled = _pieces(self.reader, [e["words"] for e in examples], self.ask.joined)
        rows, tags, owners, words, cut = [], [], [], [], 0
        before = self.reader.framing.before
        for owner, (example, pieces) in enumerate(zip(examples, spelled, strict=True)):
            kept = [of[: self.size] for of in pieces]  # a word longer than a window loses its end
            cut += any(len(of) > self.size for of in pieces)
            begins = np.cumsum([0, *(len(of) for of in kept)])
            scored = begins[1:] - 1 if self.last_piece else begins[:-1]
            ids = np.concatenate([np.empty(0, np.int64), *kept])
            found = windows(len(ids), self.size, self.stride)
            wins = best_windows(found, self.causal)[scored]
            for n, window in enumerate(found):
                row = self.reader.framing.single(ids[window.begin : window.end], self.reader.limit)
                here = [(w, before + int(scored[w]) - window.begin) for w, best in enumerate(wins) if best == n]
                line = np.full(len(row.tokens), NOT_SCORED, np.int64)
                if "tags" in example:
                    for word, place in here:
                        line[place] = number[example["tags"][word]]
                rows.append(row)
                tags.append(line)
                owners.append(owner)
                words.append(here)
        sizes = [len(e["words"]) for e in examples]
        return TaggingItems(self.reader, rows, tags, owners, words, sizes, self.class_weights, cut)

    def count(self, batch: Batch) -> float:
        return float(batch["weights"].sum())

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        nats = F.cross_entropy(
            outputs.flatten(0, 1), batch["tags"].flatten(), reduction="none", ignore_index=NOT_SCORED
        )
        return (nats * batch["weights"].flatten()).sum()

    def split(self, outputs: Tensor, batch: Batch) -> list[np.ndarray]:
        found = outputs.float().cpu().numpy()
        return [row[:length] for row, length in zip(found, batch["lengths"].tolist(), strict=True)]

    def answers(self, items: TaggingItems, outputs: Sequence[np.ndarray]) -> list[Answer]:
        """`probabilities`: of the tag that is predicted for each word."""
        said = [np.zeros((size, self.outputs), np.float32) for size in items.sizes]
        for owner, words, scores in zip(items.owners, items.words, outputs, strict=True):
            for word, place in words:
                said[owner][word] = scores[place]
        found = []
        for scores in said:
            p = softmax(scores)
            best = p.argmax(-1)
            found.append(
                {
                    "predicted": [self.ask.tags[n] for n in best],
                    "probabilities": np.take_along_axis(p, best[:, None], 1)[:, 0].tolist(),
                }
            )
        return found


def _pieces(reader: Reader, sentences: Sequence[Sequence[str]], joined: bool) -> list[list[np.ndarray]]:
    """The tokens of each word of each sentence, each at least one; all words but the first have a space before them,
    unless words stand without.

    Raises ValueError for a word without a character, and for one without a token where there is no unknown token.
    """
    texts = [[word if joined or not place else f" {word}" for place, word in enumerate(words)] for words in sentences]
    distinct = sorted({text for of in texts for text in of})
    empty = next((n for n, words in enumerate(sentences) if not all(words)), None)
    if empty is not None:
        raise ValueError(f"example {empty}: a word without a character cannot be tagged: {list(sentences[empty])[:8]}")
    ids = dict(zip(distinct, reader.encode(distinct), strict=True))
    unknown = reader.unknown
    for text, found in ids.items():
        if not len(found):
            if unknown is None:
                raise ValueError(f"the word {text!r} has no token in this tokenizer, which has none for unknown words")
            ids[text] = np.array([unknown], np.int64)
    return [[ids[text] for text in of] for of in texts]
