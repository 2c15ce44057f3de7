"""Whether a model is right as often as it says: the reliability diagram and its error (Guo et al. 2017, section 2)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Bin(NamedTuple):
    """Predictions whose probability is above `low` and at most `high`."""

    low: float
    high: float
    predictions: int
    confidence: float
    """Their mean probability; 0 in an empty bin."""
    accuracy: float
    """The share of them that is right; 0 in an empty bin."""


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> list[Bin]:
    """Predictions by their probability, in `bins` of equal width.

    Args:
        confidence: [n] probability of what was predicted.
        right: [n] whether it was right.
    """
    p, hit = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if p.shape != hit.shape or p.ndim != 1 or not len(p):
        raise ValueError(f"need a probability and a verdict of each item, got shapes {p.shape} and {hit.shape}")
    if p.min() < 0 or p.max() > 1 + 1e-6:
        raise ValueError(f"probabilities must lie in 0..1, got {p.min():g}..{p.max():g}")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, bins - 1)
    found = []
    for n in range(bins):
        here = place == n
        count = int(here.sum())
        means = (float(p[here].mean()), float(hit[here].mean())) if count else (0.0, 0.0)
        found.append(Bin(float(edges[n]), float(edges[n + 1]), count, *means))
    return found


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean over predictions of |accuracy - confidence| of their bin (ECE)."""
    total = sum(b.predictions for b in bins)
    return sum(b.predictions * abs(b.accuracy - b.confidence) for b in bins) / total
