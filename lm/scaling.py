"""Scaling laws: how loss falls with parameters, data and compute.

L(X)    = a X^-alpha                    one quantity at a time (Kaplan et al. 2020, equations 1.1 to 1.3)
L(N, D) = E + A / N^alpha + B / D^beta  both at once (Hoffmann et al. 2022, equation 2); `lm.joint_law`

Both are fitted on logarithms, and both predict with an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lm.order import draw_seed


@dataclass(frozen=True)
class Predicted:
    """A loss that was not measured, and where one run is expected to end."""

    value: float
    low: float
    high: float


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
    resampled: np.ndarray = field(repr=False, compare=False)
    """(slope, intercept) of each resample, on logarithms."""
    residuals: np.ndarray = field(repr=False, compare=False)
    """Of log L, unbiased: times sqrt(points / (points - 2))."""

    def __call__(self, size: float) -> float:
        """The loss it predicts at a size."""
        return self.coefficient * size**-self.exponent

    def predict(self, size: float, confidence: float = 0.95) -> Predicted:
        """The loss of one more run; the interval as in `interval`."""
        logs = self.resampled[:, 1] + self.resampled[:, 0] * np.log(size)
        return Predicted(self(size), *interval(logs, self.residuals, confidence))


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
    n, loss = logarithmic("sizes", sizes, losses)
    if len(np.unique(n)) < 3:
        raise ValueError(f"{len(np.unique(n))} sizes say nothing about a law: give at least three")
    x, y = np.log(n), np.log(loss)
    slope, intercept = _line(x, y)
    residuals = y - intercept - slope * x
    draw = np.random.Generator(np.random.Philox(seed))
    lines: list[tuple[float, float]] = []
    while len(lines) < resamples:
        chosen = draw.integers(0, len(x), len(x))
        if len(np.unique(x[chosen])) >= 3:
            lines.append(_line(x[chosen], y[chosen]))
    resampled = np.array(lines)
    low, high = np.quantile(-resampled[:, 0], [(1 - confidence) / 2, (1 + confidence) / 2])
    return PowerLaw(
        float(np.exp(intercept)),
        float(-slope),
        explained(y, residuals),
        (float(low), float(high)),
        resampled,
        unbiased(residuals, 2),
    )


def interval(logs: np.ndarray, residuals: np.ndarray, confidence: float) -> tuple[float, float]:
    """Where `confidence` of single runs are expected, from the log losses that resampled laws predict.

    Each gets a residual of the fitted law, drawn anew: an interval of the law alone would be that of a mean over runs.
    What no resample can show, that the law has another form where nothing was measured, is not in it.
    """
    draw = np.random.Generator(np.random.Philox(draw_seed(0, "residuals")))
    drawn = logs + residuals[draw.integers(0, len(residuals), len(logs))]
    low, high = np.exp(np.clip(np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]), -50, 50))
    return float(low), float(high)


def explained(y: np.ndarray, residuals: np.ndarray) -> float:
    """R²: the part of the variance of `y` that is not in the residuals; 1 where there is none to explain."""
    total = ((y - y.mean()) ** 2).sum()
    return float(1.0 - (residuals**2).sum() / total) if total else 1.0


def unbiased(residuals: np.ndarray, parameters: int) -> np.ndarray:
    """Residuals as large as those of new points are expected to be."""
    count = len(residuals)
    return residuals * np.sqrt(count / max(1, count - parameters))


def logarithmic(what: str, sizes: Sequence[float], losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 of one length. Raises ValueError for what has no logarithm."""
    n, loss = np.asarray(sizes, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if n.shape != loss.shape or n.ndim != 1:
        raise ValueError(f"as many losses as {what} are needed: {n.shape} and {loss.shape}")
    if not ((n > 0) & (loss > 0) & np.isfinite(n) & np.isfinite(loss)).all():
        raise ValueError(f"a power law needs {what} and losses above zero and finite")
    return n, loss


def frontier(compute: Sequence[float], losses: Sequence[float]) -> list[int]:
    """The runs that no run with as much compute or less is better than, by rising compute: the lower envelope through
    which L(C) is drawn (Kaplan et al. 2020, figure 13)."""
    best, kept = float("inf"), []
    for run in sorted(range(len(losses)), key=lambda i: (compute[i], losses[i])):
        if losses[run] < best:
            best = losses[run]
            kept.append(run)
    return kept


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    return slope, float(y.mean() - slope * x.mean())
