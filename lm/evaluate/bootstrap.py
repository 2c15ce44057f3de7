"""Intervals by resampling items, for any figure of them (Efron 1979; Koehn 2004)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lm.evaluate.metrics import Difference, Interval

DRAWS = 2000

Figure = Callable[[NDArray[np.int64]], float]
"""The figure of the items at these places, of which some may occur several times."""


def interval(figures: Sequence[Figure], items: int, draws: int = DRAWS, confidence: float = 0.95) -> Interval:
    """The mean of the figures of several seeds over the same items, with its percentile interval."""
    found = _mean(figures, np.arange(items))
    low, high = _quantiles(np.array([_mean(figures, chosen) for chosen in _resampled(items, draws)]), confidence)
    return Interval(found, low, high)


def difference(
    first: Sequence[Figure], second: Sequence[Figure], items: int, draws: int = DRAWS, confidence: float = 0.95
) -> Difference:
    """How much the mean of `first` is above that of `second`, both on the same resampled items."""
    everything = np.arange(items)
    value = _mean(first, everything) - _mean(second, everything)
    drawn = np.array([_mean(first, chosen) - _mean(second, chosen) for chosen in _resampled(items, draws)])
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
