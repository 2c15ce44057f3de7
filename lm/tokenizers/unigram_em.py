"""Expectation and Viterbi over all segmentations of weighted strings (Kudo 2018, section 3.2), compiled.

A segmentation is a path over *arcs*; an arc is one occurrence of a piece. Arcs are sorted by their last character
and then by length, and `first[i]` is the first arc that ends at character i (or later). Everything is summed in
that order by one thread, so that equal counts give equal scores to the bit.
"""

from typing import NamedTuple

import numpy as np

from lm.compiled import kernel
from lm.tokenizers.substrings import Strings

Array = np.ndarray


class Arcs(NamedTuple):
    """All occurrences of the pieces that are still alive."""

    first: Array  # int64 [characters + 1]
    lengths: Array  # int64 [arcs]
    pieces: Array  # int64 [arcs]

    @classmethod
    def of(cls, ends: Array, lengths: Array, pieces: Array, characters: int) -> "Arcs":
        """Sort occurrences, given by their last character."""
        order = np.lexsort((lengths, ends))
        first = np.searchsorted(ends[order], np.arange(characters + 1)).astype(np.int64)
        return cls(first, lengths[order].astype(np.int64), pieces[order].astype(np.int64))

    def only(self, alive: Array, renumbered: Array) -> "Arcs":
        """Without the arcs of dead pieces, the others with new numbers."""
        kept = alive[self.pieces]
        before = np.concatenate([[0], np.cumsum(kept)])
        return Arcs(before[self.first].astype(np.int64), self.lengths[kept], renumbered[self.pieces[kept]])


def expected_counts(strings: Strings, arcs: Arcs, scores: Array) -> tuple[Array, float]:
    """How often each piece occurs on average over the segmentations, float64 [pieces]; ln p of all strings."""
    counts = np.zeros(len(scores))
    likelihood = _expect(strings.starts, strings.sizes, strings.weights, *arcs, scores, counts)
    return counts, float(likelihood)


def viterbi_counts(strings: Strings, arcs: Arcs, scores: Array) -> Array:
    """How often each piece occurs in the most probable segmentations, int64 [pieces]."""
    counts = np.zeros(len(scores), dtype=np.int64)
    _count_best(strings.starts, strings.sizes, strings.weights, *arcs, scores, counts)
    return counts


def alternatives(starts: Array, sizes: Array, arcs: Arcs, scores: Array) -> tuple[Array, Array]:
    """The best segmentation of each piece without itself.

    `starts`, int64 [pieces]: where each occurs once; `sizes`: its characters. Returns (offsets int64 [pieces + 1],
    pieces int64): the alternative of piece i is `pieces[offsets[i] : offsets[i + 1]]`, empty for a character.
    """
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    found = np.empty(int(sizes.sum()), dtype=np.int64)
    used = _alternatives(starts, sizes, *arcs, scores, offsets, found)
    return offsets, found[:used]


@kernel
def _expect(
    starts: Array,
    sizes: Array,
    weights: Array,
    first: Array,
    lengths: Array,
    pieces: Array,
    scores: Array,
    counts: Array,
) -> float:
    longest = sizes.max() + 1
    alpha = np.zeros(longest)  # ln of the summed probability of all paths to a boundary
    at = np.zeros(longest)  # probability that a segmentation has this boundary
    likelihood = 0.0
    for string in range(len(starts)):
        base, size = starts[string], sizes[string]
        for j in range(1, size + 1):
            low, high = first[base + j - 1], first[base + j]
            top = -np.inf
            for arc in range(low, high):
                top = max(top, alpha[j - lengths[arc]] + scores[pieces[arc]])
            total = 0.0
            for arc in range(low, high):
                total += np.exp(alpha[j - lengths[arc]] + scores[pieces[arc]] - top)
            alpha[j] = top + np.log(total)
        likelihood += weights[string] * alpha[size]
        at[:size] = 0.0
        at[size] = weights[string]
        for j in range(size, 0, -1):
            if at[j] == 0.0:
                continue
            for arc in range(first[base + j - 1], first[base + j]):
                i = j - lengths[arc]
                share = at[j] * np.exp(alpha[i] + scores[pieces[arc]] - alpha[j])
                counts[pieces[arc]] += share
                at[i] += share
    return likelihood


@kernel
def _best_path(
    base: int, size: int, first: Array, lengths: Array, pieces: Array, scores: Array, without: int, chosen: Array
) -> None:
    """`chosen[j]` becomes the last arc of the best path to boundary j; of equal ones that with the longest piece."""
    best = np.full(size + 1, -np.inf)
    best[0] = 0.0
    for j in range(1, size + 1):
        for arc in range(first[base + j - 1], first[base + j]):
            i = j - lengths[arc]
            if i < 0 or pieces[arc] == without:
                continue
            score = best[i] + scores[pieces[arc]]
            if score >= best[j]:
                best[j] = score
                chosen[j] = arc


@kernel
def _count_best(
    starts: Array,
    sizes: Array,
    weights: Array,
    first: Array,
    lengths: Array,
    pieces: Array,
    scores: Array,
    counts: Array,
) -> None:
    chosen = np.zeros(sizes.max() + 1, dtype=np.int64)
    for string in range(len(starts)):
        _best_path(starts[string], sizes[string], first, lengths, pieces, scores, -1, chosen)
        j = sizes[string]
        while j > 0:
            counts[pieces[chosen[j]]] += weights[string]
            j -= lengths[chosen[j]]


@kernel
def _alternatives(
    starts: Array,
    sizes: Array,
    first: Array,
    lengths: Array,
    pieces: Array,
    scores: Array,
    offsets: Array,
    found: Array,
) -> int:
    chosen = np.zeros(sizes.max() + 1, dtype=np.int64)
    used = 0
    for piece in range(len(starts)):
        if sizes[piece] > 1:
            _best_path(starts[piece], sizes[piece], first, lengths, pieces, scores, piece, chosen)
            j = sizes[piece]
            while j > 0:
                found[used] = pieces[chosen[j]]
                used += 1
                j -= lengths[chosen[j]]
        offsets[piece + 1] = used
    return used
