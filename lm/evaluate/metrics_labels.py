"""Figures of two lists that are no mean over items: F1 of one class, Matthews' and the two correlations of numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lm.evaluate.metrics import f1_scores


def binary_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of class 1 of the classes 0 and 1 (GLUE's of MRPC and QQP); 0 where it neither occurs nor is predicted."""
    return float(f1_scores(labels, predicted, 2)[1])


def matthews(labels: ArrayLike, predicted: ArrayLike, classes: int) -> float:
    """Matthews correlation of any number of classes (Gorodkin 2004), from -1 to 1; 0 where either list is constant."""
    from lm.evaluate.metrics import confusion_matrix

    counts = confusion_matrix(labels, predicted, classes).astype(np.float64)
    n, true, said = counts.sum(), counts.sum(1), counts.sum(0)
    above = counts.trace() * n - true @ said
    below = (n * n - said @ said) * (n * n - true @ true)
    return float(above / np.sqrt(below)) if below > 0 else 0.0


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """Correlation of two lists of numbers; 0 where either is constant (none is defined there)."""
    a, b = (np.asarray(x, np.float64) - np.mean(np.asarray(x, np.float64)) for x in (first, second))
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"need two equally long lists of at least two numbers, got shapes {a.shape} and {b.shape}")
    below = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / below, -1.0, 1.0)) if below > 0 else 0.0


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Correlation of ranks, equal numbers sharing the mean of theirs; 0 where either list is constant."""
    return pearson(ranks(np.asarray(first, np.float64)), ranks(np.asarray(second, np.float64)))


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each number from 1, equal ones sharing the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: NDArray[np.float64] = (last - (counts - 1) / 2)[group]
    return found


def rank_distances(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each item how far apart its two ranks are, in shares of all ranks."""
    distances: NDArray[np.float64] = np.abs(ranks(first) - ranks(second)) / max(len(first), 1)
    return distances
