"""Scaling laws: loss as a power of size, L(N) = a N^-alpha (Kaplan et al. 2020, equation 1.1), fitted on logarithms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law, and how well it holds."""

    coefficient: float
    exponent: float
    """alpha: twice the size is 2 ** -alpha times the loss."""
    r_squared: float
    """The part of the variance of log L that it explains."""
    exponent_interval: tuple[float, float]
    """Of the exponent, by a bootstrap over the points."""

    def __call__(self, size: float) -> float:
        """The loss it predicts at a size."""
        return self.coefficient * size**-self.exponent


def fit_power_law(
    sizes: Sequence[float],
    losses: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PowerLaw:
    """Least squares of log loss on log size; the interval has `confidence` of the exponents of `resamples` fits to
    points drawn anew with replacement (Efron 1979; draws with fewer than three sizes are drawn again).

    `sizes`: parameters, tokens or anything above zero; `losses` above zero, in any unit. Raises ValueError for fewer
    than three different sizes and for values that have no logarithm.
    """
    n, loss = np.asarray(sizes, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if n.shape != loss.shape or n.ndim != 1:
        raise ValueError(f"as many losses as sizes are needed: {n.shape} and {loss.shape}")
    if not ((n > 0) & (loss > 0) & np.isfinite(n) & np.isfinite(loss)).all():
        raise ValueError("a power law needs sizes and losses above zero and finite")
    if len(np.unique(n)) < 3:
        raise ValueError(f"{len(np.unique(n))} sizes say nothing about a law: give at least three")
    x, y = np.log(n), np.log(loss)
    slope, intercept = _line(x, y)
    residual = ((y - intercept - slope * x) ** 2).sum()
    total = ((y - y.mean()) ** 2).sum()
    draw = np.random.Generator(np.random.Philox(seed))
    exponents: list[float] = []
    while len(exponents) < resamples:
        chosen = draw.integers(0, len(x), len(x))
        if len(np.unique(x[chosen])) >= 3:
            exponents.append(-_line(x[chosen], y[chosen])[0])
    low, high = np.quantile(exponents, [(1 - confidence) / 2, (1 + confidence) / 2])
    r_squared = 1.0 - residual / total if total else 1.0
    return PowerLaw(float(np.exp(intercept)), float(-slope), float(r_squared), (float(low), float(high)))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    return slope, float(y.mean() - slope * x.mean())
