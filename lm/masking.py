"""Masking: which tokens of an example are predicted, and what the model sees in their place.

A unit is a token or a word. Units are drawn without replacement until 15 % of the tokens are chosen; with `spans`, some
that follow it come along. What would be too much is left out: a span is shortened, a word that no longer fits is passed
over, as in google-research/bert. Of the chosen tokens 80 % are hidden, 10 % replaced by any other, 10 % left as they
are.
"""

from typing import NamedTuple

import numpy as np

from lm.masking_config import MaskingConfig


class Masked(NamedTuple):
    """An example as the model sees it, and what is asked; all int64."""

    tokens: np.ndarray  # [tokens]
    positions: np.ndarray  # [predictions], rising
    targets: np.ndarray  # [predictions]: the tokens that stood there
    span_low: np.ndarray  # [predictions]: where the span of a token begins
    span_high: np.ndarray  # [predictions]: ... and ends


class Masking:
    """The masking of one tokenizer's examples.

    `ordinary`: int64, the ids that stand for text; only they are put in a token's place. `similar`: int64 [vocab, k],
    what may stand for a hidden token instead of the mask (`frequency_neighbours`), for `hidden_by: similar`.
    """

    def __init__(
        self, config: MaskingConfig, mask: int, ordinary: np.ndarray, similar: np.ndarray | None = None
    ) -> None:
        if config.hidden_by == "similar" and similar is None:
            raise ValueError("hidden_by: similar needs a table of similar tokens")
        self.config, self.mask, self.ordinary, self.similar = config, mask, ordinary, similar
        self.weights = np.cumsum(config.spans) / sum(config.spans)

    def __call__(self, ids: np.ndarray, text: np.ndarray, starts: np.ndarray, draw: np.random.Generator) -> Masked:
        """`ids`: int [tokens]. `text`: bool [tokens], False for special tokens, which are never chosen. `starts`: where
        units begin, bool [tokens]."""
        spans = self.choose(text, starts, self.config.predictions(len(ids)), draw)
        spans.sort()
        positions = np.array([i for low, high in spans for i in range(low, high)], dtype=np.int64)
        bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
        owner = np.repeat(np.arange(len(spans)), bounds[:, 1] - bounds[:, 0])
        tokens = ids.astype(np.int64)
        targets = tokens[positions]
        fate = draw.random(len(spans))[owner] if self.config.fate == "span" else draw.random(len(positions))
        hidden = fate < self.config.masked
        replaced = ~hidden & (fate < self.config.masked + self.config.random)
        if self.config.hidden_by == "similar":
            assert self.similar is not None
            near = self.similar[targets, draw.integers(0, self.similar.shape[1], len(positions))]
        else:
            near = np.full(len(positions), self.mask)
        tokens[positions[hidden]] = near[hidden]
        tokens[positions[replaced]] = self.ordinary[draw.integers(0, len(self.ordinary), int(replaced.sum()))]
        return Masked(tokens, positions, targets, bounds[owner, 0], bounds[owner, 1])

    def span_length(self, draw: np.random.Generator) -> int:
        """How many units are to be predicted together."""
        return int(np.searchsorted(self.weights, draw.random(), side="right")) + 1 if len(self.weights) > 1 else 1

    def choose(
        self, text: np.ndarray, starts: np.ndarray, budget: int, draw: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Spans [low, high) of `budget` tokens together, or a few less where no unit fits any more."""
        begins = starts | ~text
        begins[1:] |= ~text[:-1]
        edges = np.append(np.flatnonzero(begins), len(text))
        units = [(low, high) for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True) if text[low]]
        taken, spans = np.zeros(len(text) + 1, dtype=bool), []  # taken[-1] stands beyond either end
        for first in draw.permutation(len(units)).tolist():
            if budget == 0:
                break
            low, high = units[first][0], 0
            for unit in range(first, min(first + self.span_length(draw), len(units))):
                begin, end = units[unit]
                broken = unit > first and begin != units[unit - 1][1]
                touches = self.config.boundary and (taken[end] or taken[begin - 1])
                if broken or taken[begin] or touches or end - low > budget:
                    break
                high = end
            if high:
                taken[low:high] = True
                budget -= high - low
                spans.append((low, high))
        return spans


def frequency_neighbours(counts: np.ndarray, sorts: np.ndarray, width: int) -> np.ndarray:
    """For each token the `width` others of its sort that are nearest in the order of frequency, int64 [vocab, width].

    `counts`: int [vocab]. `sorts`: int [vocab], such as "Chinese character" or "goes on within a word"; a token that is
    alone in its sort stands for itself. A plain stand-in for the nearest word vectors of MacBERT (Cui et al. 2020),
    which keeps how common, but not what it means.
    """
    near = np.empty((len(counts), width), dtype=np.int64)
    for sort in np.unique(sorts):
        members = np.flatnonzero(sorts == sort)
        members = members[np.lexsort((members, -counts[members]))]
        others = min(width, len(members) - 1)
        if others == 0:
            near[members] = members[:, None]
            continue
        place = np.arange(len(members))
        window = np.clip(place - others // 2, 0, len(members) - 1 - others)
        ranks = window[:, None] + np.arange(others)
        ranks += ranks >= place[:, None]  # all of the window but the token itself
        near[members] = members[ranks[:, np.arange(width) % others]]
    return near
