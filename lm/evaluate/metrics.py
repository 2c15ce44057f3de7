"""Figures of a classification run: accuracy with its interval, macro-F1, confusion matrix, and comparisons.

Labels are integers 0..C-1 as one-dimensional arrays; everything is float64 and deterministic.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lm.evaluate.bootstrap import Difference, Interval, difference_of


class Spread(NamedTuple):
    """A figure over several seeds; `sd` is the sample standard deviation (0 for one seed)."""

    mean: float
    sd: float
    low: float
    high: float
    seeds: int


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Share of successes among n trials with the score interval of Wilson (1927), not corrected for continuity."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n} trials: need 0 <= successes <= n and n >= 1")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def accuracy(labels: ArrayLike, predicted: ArrayLike, confidence: float = 0.95) -> Interval:
    """Share of equal entries, with its Wilson interval."""
    truth, guess = _pair(labels, predicted)
    return wilson(int((truth == guess).sum()), len(truth), confidence)


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(C, C) counts: row = true class, column = predicted class."""
    truth, guess = _pair(labels, predicted)
    for name, values in (("label", truth), ("prediction", guess)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(f"a {name} lies outside 0..{classes - 1}")
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def f1_scores(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.float64]:
    """(C,) F1 of each class, 2·tp / (2·tp + fp + fn); 0 for a class that neither occurs nor is predicted."""
    counts = confusion_matrix(labels, predicted, classes)
    both = (counts.sum(0) + counts.sum(1)).astype(np.float64)
    return np.divide(2.0 * counts.diagonal(), both, out=np.zeros(classes), where=both > 0)


def macro_f1(labels: ArrayLike, predicted: ArrayLike, classes: int) -> float:
    """Mean F1 of the classes that occur among the labels or predictions (scikit-learn's default)."""
    counts = confusion_matrix(labels, predicted, classes)
    return float(f1_scores(labels, predicted, classes)[(counts.sum(0) + counts.sum(1)) > 0].mean())


def paired_bootstrap(first: ArrayLike, second: ArrayLike, draws: int = 10_000, confidence: float = 0.95) -> Difference:
    """Difference of the means of two systems' per-item scores, items resampled in pairs (Efron; Koehn 2004).

    Args:
        first, second: (n,) score of each system on the same items in the same order (1 = right, 0 = wrong).
        draws: bootstrap samples, many because means are cheap; the interval is the percentile interval.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"need two score lists of the same items, got shapes {a.shape} and {b.shape}")
    by = a - b
    return difference_of(lambda chosen: float(by[chosen].mean()), len(by), draws, confidence)


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation, minimum and maximum of one figure over seeds."""
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError("need at least one seed's figure")
    sd = float(x.std(ddof=1)) if len(x) > 1 else 0.0
    return Spread(float(x.mean()), sd, float(x.min()), float(x.max()), len(x))


def _pair(labels: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    truth, guess = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    if truth.shape != guess.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(f"need as many predictions as labels and at least one, got {truth.shape}, {guess.shape}")
    return truth, guess
