"""Masking: which tokens of an example are predicted, and what the model sees in their place.

A unit is a token or a word. Units are drawn without replacement until 15 % of the tokens are chosen; with `spans`, some
that follow it come along. What would be too much is left out: a span is shortened, a word that no longer fits is passed
over, as in google-research/bert. Of the chosen tokens 80 % are hidden, 10 % replaced by any other, 10 % left as they
are.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lm.masking_config import MaskingConfig
from lm.similar_words import SimilarWords


class Masked(NamedTuple):
    """An example as the model sees it, and what is asked; all int64."""

    tokens: np.ndarray  # [tokens]
    positions: np.ndarray  # [predictions], rising
    targets: np.ndarray  # [predictions]: the tokens that stood there
    span_low: np.ndarray  # [predictions]: where the span of a token begins
    span_high: np.ndarray  # [predictions]: ... and ends


class Masking:
    """The masking of one tokenizer's examples.

    `ordinary`: int64, the ids that stand for text; only they are put in a token's place. `similar`: what may stand for
    a hidden word instead of the mask, for `hidden_by: similar`.
    """

    def __init__(
        self, config: MaskingConfig, mask: int, ordinary: np.ndarray, similar: SimilarWords | None = None
    ) -> None:
        if (config.hidden_by == "similar") != (similar is not None):
            raise ValueError("similar words (lm.similar_words) go with hidden_by: similar, and with that alone")
        self.config, self.mask, self.ordinary, self.similar = config, mask, ordinary, similar
        self.weights = np.cumsum(config.spans) / sum(config.spans)

    def __call__(self, ids: np.ndarray, text: np.ndarray, starts: np.ndarray, draw: np.random.Generator) -> Masked:
        """`ids`: int [tokens]. `text`: bool [tokens], False for special tokens, which are never chosen. `starts`: where
        units begin, bool [tokens]."""
        begins = starts | ~text  # of a unit, or of a special token
        begins[1:] |= ~text[:-1]
        spans = self.choose(text, begins, self.config.predictions(len(ids)), draw)
        spans.sort()
        positions = np.array([i for low, high in spans for i in range(low, high)], dtype=np.int64)
        bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
        owner = np.repeat(np.arange(len(spans)), bounds[:, 1] - bounds[:, 0])
        tokens = ids.astype(np.int64)
        targets = tokens[positions]
        in_words = np.cumsum(begins)[positions]
        words = np.cumsum(np.diff(in_words, prepend=in_words[:1]) != 0)  # 0, 1, ... as `owner` has spans
        sharing = {"token": np.arange(len(positions)), "word": words, "span": owner}[self.config.fate]
        fate = draw.random(sharing.max(initial=-1) + 1)[sharing]
        hidden = fate < self.config.masked
        replaced = ~hidden & (fate < self.config.masked + self.config.random)
        if self.similar is None:
            tokens[positions[hidden]] = self.mask
        else:
            tokens[positions[hidden]] = self._similar_to(self.similar, targets, words, draw)[hidden]
        tokens[positions[replaced]] = self.ordinary[draw.integers(0, len(self.ordinary), int(replaced.sum()))]
        return Masked(tokens, positions, targets, bounds[owner, 0], bounds[owner, 1])

    def _similar_to(
        self, similar: SimilarWords, targets: np.ndarray, words: np.ndarray, draw: np.random.Generator
    ) -> np.ndarray:
        """Tokens in the place of `targets`, which `words` parts into words: a similar word, any tokens where none is
        known (Cui et al. 2020: "in rare cases, when there is no similar word, we will degrade to use random word")."""
        near = self.ordinary[draw.integers(0, len(self.ordinary), len(targets))]
        edges = [0, *(np.flatnonzero(np.diff(words)) + 1).tolist(), len(targets)]
        for low, high in pairwise(edges):
            found = similar.of(targets[low:high])
            if len(found):
                near[low:high] = found[draw.integers(0, len(found))]
        return near

    def span_length(self, draw: np.random.Generator) -> int:
        """How many units are to be predicted together."""
        return int(np.searchsorted(self.weights, draw.random(), side="right")) + 1 if len(self.weights) > 1 else 1

    def choose(
        self, text: np.ndarray, begins: np.ndarray, budget: int, draw: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Spans [low, high) of `budget` tokens together, or a few less where no unit fits any more."""
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
