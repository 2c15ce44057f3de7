"""Frequent substrings of weighted strings, by naming (Karp, Miller and Rosenberg 1972).

A substring of length k gets its number from those of its first and its last k-1 characters, and is looked at only
if both are frequent. No hash, no suffix array: sorting pairs of numbers, so that the result is exact and in order.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Strings:
    """Strings one behind the other, as numbers of characters: sorted, each with how often it occurs."""

    characters: np.ndarray  # int64 [all characters]
    starts: np.ndarray  # int64 [strings]
    sizes: np.ndarray  # int64 [strings]
    weights: np.ndarray  # int64 [strings]


@dataclass(frozen=True)
class Occurrences:
    """Candidates of one length: where each occurs, and how often with weights."""

    length: int
    positions: np.ndarray  # int64 [occurrences], of the first character
    numbers: np.ndarray  # int64 [occurrences], which candidate
    counts: np.ndarray  # int64 [candidates]
    maximal: np.ndarray  # bool [candidates]: no single character always follows


def frequent_substrings(strings: Strings, max_length: int, min_count: int) -> list[Occurrences]:
    """The substrings of each length from 1 on that occur at least `min_count` times; all of length 1."""
    total = len(strings.characters)
    left = np.repeat(strings.starts + strings.sizes, strings.sizes) - np.arange(total)
    weights = np.repeat(strings.weights, strings.sizes).astype(np.float64)
    numbers = strings.characters.astype(np.int64)
    counts = np.bincount(numbers, weights=weights)
    positions = np.arange(total)
    levels: list[Occurrences] = []
    at = np.full(total + 1, -1, dtype=np.int64)  # the number of the candidate that begins at a position
    for length in range(1, max_length + 1):
        maximal = np.ones(len(counts), dtype=bool)
        levels.append(Occurrences(length, positions, numbers, counts.astype(np.int64), maximal))
        if length == max_length:
            break
        at[:] = -1
        at[positions] = numbers
        longer = positions[(left[positions] > length) & (at[positions + 1] >= 0)]
        if not len(longer):
            break
        key = at[longer] * len(counts) + at[longer + 1]
        unique, inverse = np.unique(key, return_inverse=True)
        seen = np.bincount(inverse, weights=weights[longer])
        # A substring that one character always follows says nothing that the longer one does not.
        most = np.zeros(len(counts))
        np.maximum.at(most, unique // len(counts), seen)
        maximal &= most < counts
        frequent = seen >= min_count
        renumbered = np.where(frequent, np.cumsum(frequent) - 1, -1)
        numbers = renumbered[inverse]
        positions, numbers, counts = longer[numbers >= 0], numbers[numbers >= 0], seen[frequent]
    return levels
