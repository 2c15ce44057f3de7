"""Intervals by resampling items, for any figure of them (Efron 1979; Koehn 2004)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000

Figure = Callable[[NDArray[np.int64]], float]
"""The figure of the items at these places, of which some may occur several times."""


class Interval(NamedTuple):
    """A figure with its confidence interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """How much better the first of two systems is on the same items, with its bootstrap interval.

    `p_value` is two-sided: how often resampling turns the sign of the difference.
    """

    value: float
    low: float
    high: float
    p_value: float


def interval(figures: Sequence[Figure], items: int, draws: int = DRAWS, confidence: float = 0.95) -> Interval:
    """The mean of the figures of several seeds over the same items, with its percentile interval."""
    found = _mean(figures, np.arange(items))
    low, high = _quantiles(np.array([_mean(figures, chosen) for chosen in _resampled(items, draws)]), confidence)
    return Interval(found, low, high)


def difference(
    first: Sequence[Figure], second: Sequence[Figure], items: int, draws: int = DRAWS, confidence: float = 0.95
) -> Difference:
    """How much the mean of `first` is above that of `second`, both on the same resampled items."""
    return difference_of(lambda chosen: _mean(first, chosen) - _mean(second, chosen), items, draws, confidence)


def difference_of(by: Figure, items: int, draws: int = DRAWS, confidence: float = 0.95) -> Difference:
    """The same of a figure that is itself by how much the first is above the second; percentile interval."""
    value = by(np.arange(items))
    drawn = np.array([by(chosen) for chosen in _resampled(items, draws)])
    low, high = _quantiles(drawn, confidence)
    below, above = (1 + int((drawn <= 0).sum())) / (1 + draws), (1 + int((drawn >= 0).sum())) / (1 + draws)
    return Difference(value, low, high, min(1.0, 2 * min(below, above)))


def _mean(figures: Sequence[Figure], chosen: NDArray[np.int64]) -> float:
    return sum(figure(chosen) for figure in figures) / len(figures)


def _resampled(items: int, draws: int) -> list[NDArray[np.int64]]:
    if items < 1:
        raise ValueError("there are no items to resample")
    generator = np.random.Generator(np.random.Philox(0))
    return [generator.integers(items, size=items) for _ in range(draws)]


def _quantiles(drawn: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
