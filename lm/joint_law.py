"""Loss as a function of parameters and tokens at once (Hoffmann et al. 2022, "Training Compute-Optimal Large Language
Models", section 3.3 and appendix D.2).

L(N, D) = E + A / N^alpha + B / D^beta

log L^  = logsumexp(e, a - alpha log N, b - beta log D)        E = exp(e), A = exp(a), B = exp(b)
minimise over (e, a, alpha, b, beta)  sum_i huber(log L_i - log L^_i; delta = 1e-3)

They minimise with L-BFGS from a grid of starts. Here each start goes down by Levenberg-Marquardt steps on reweighted
squares (Holland & Welsch 1977), all starts and all resamples of the bootstrap at once as one batch of 5 x 5 systems.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from lm.scaling import Predicted, explained, interval, logarithmic, unbiased

NAMES = ("e", "a", "alpha", "b", "beta")
STARTS = tuple(product((-2.0, -0.5, -0.05), (-3.0, -1.0), (0.1, 0.3, 0.6, 1.0), (-3.0, -1.0), (0.1, 0.3, 0.6, 1.0)))
"""e, a and b relative to the log of the smallest loss, a and b of the term at the mean log size."""
MOST_STEPS, PATIENCE, GAIN = 1000, 8, 1e-6
"""A law is done after so many steps in a row, none of which lowered its objective by so large a part."""


@dataclass(frozen=True)
class JointLaw:
    """A fitted law, and how well it holds."""

    irreducible: float
    """E: what is left however large the model and the data."""
    size_coefficient: float
    size_exponent: float
    """alpha."""
    data_coefficient: float
    data_exponent: float
    """beta."""
    r_squared: float
    """The part of the variance of log L that it explains."""
    objective: float
    """The sum of Huber losses at the minimum."""
    intervals: dict[str, tuple[float, float]]
    """Of irreducible, size_exponent, data_exponent and compute_exponent, by a bootstrap over the runs."""
    resampled: np.ndarray = field(repr=False, compare=False)
    """(e, a, alpha, b, beta) of each resample."""
    residuals: np.ndarray = field(repr=False, compare=False)

    @property
    def compute_exponent(self) -> float:
        """The best size at a compute C grows as C to this: beta / (alpha + beta) (Hoffmann et al., equation 4)."""
        return self.data_exponent / (self.size_exponent + self.data_exponent)

    def __call__(self, size: float, tokens: float) -> float:
        """The loss it predicts."""
        by_size = self.size_coefficient * size**-self.size_exponent
        return self.irreducible + by_size + self.data_coefficient * tokens**-self.data_exponent

    def predict(self, size: float, tokens: float, confidence: float = 0.95) -> Predicted:
        """The loss of one more run; the interval as in `lm.scaling.interval`."""
        logs = _log_loss(self.resampled, np.log([size]), np.log([tokens]))[0][:, 0]
        return Predicted(self(size, tokens), *interval(logs, self.residuals, confidence))


def fit_joint_law(
    sizes: Sequence[float],
    tokens: Sequence[float],
    losses: Sequence[float],
    *,
    huber: float = 1e-3,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> JointLaw:
    """The law through runs of several sizes (parameters) and budgets (tokens); one entry a run.

    `huber`: log losses further from the law than this count by their distance, not its square. Intervals have
    `confidence` of the fits to runs drawn anew with replacement. Raises ValueError for fewer than three different
    sizes or budgets, fewer than six runs, and values that have no logarithm.
    """
    n, loss = logarithmic("sizes", sizes, losses)
    d, _ = logarithmic("tokens", tokens, losses)
    for what, given in (("sizes", n), ("budgets", d)):
        if len(np.unique(given)) < 3:
            raise ValueError(f"{len(np.unique(given))} {what} say nothing about a law: give at least three")
    if len(loss) < 6:
        raise ValueError(f"{len(loss)} runs do not fix five numbers: give at least six")
    x, y, target = np.log(n), np.log(d), np.log(loss)
    centre = np.array([x.mean(), y.mean()])  # a, alpha and b, beta are nearly one number each far from log N = 0
    x, y = x - centre[0], y - centre[1]
    lowest = target.min()
    starts = np.array([(lowest + e, lowest + a, alpha, lowest + b, beta) for e, a, alpha, b, beta in STARTS])
    found, objectives = _minimise(starts, x, y, target, np.ones((len(starts), len(target))), huber)
    best = found[np.argmin(objectives)]
    residuals = target - _log_loss(best[None], x, y)[0][0]
    weights = _draws(n, d, resamples, seed)
    resampled = _uncentred(_minimise(np.tile(best, (resamples, 1)), x, y, target, weights, huber)[0], centre)
    e, a, alpha, b, beta = _uncentred(best[None], centre)[0]
    ratio = resampled[:, 4] / (resampled[:, 2] + resampled[:, 4])
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    spread = {
        "irreducible": np.exp(resampled[:, 0]),
        "size_exponent": resampled[:, 2],
        "data_exponent": resampled[:, 4],
        "compute_exponent": ratio,
    }
    low_high = {name: np.quantile(values, ends) for name, values in spread.items()}
    return JointLaw(
        float(np.exp(e)),
        float(np.exp(a)),
        float(alpha),
        float(np.exp(b)),
        float(beta),
        explained(target, residuals),
        float(objectives.min()),
        {name: (float(low), float(high)) for name, (low, high) in low_high.items()},
        resampled,
        unbiased(residuals, len(NAMES)),
    )


def huber_loss(residuals: np.ndarray, delta: float) -> np.ndarray:
    """r^2 / 2 within delta of zero, delta (|r| - delta / 2) beyond (Huber 1964)."""
    size = np.abs(residuals)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


def _log_loss(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log L^ [laws, points] of laws [laws, 5], and the share of each of the three terms [laws, points, 3]."""
    e, a, alpha, b, beta = (theta[:, [i]] for i in range(5))
    terms = np.stack([e + 0 * x, a - alpha * x, b - beta * y], axis=-1)
    highest = terms.max(axis=-1, keepdims=True)
    exponentials = np.exp(terms - highest)
    total = exponentials.sum(axis=-1, keepdims=True)
    return (highest + np.log(total))[..., 0], exponentials / total


def _minimise(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, target: np.ndarray, weights: np.ndarray, delta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Laws [laws, 5] gone down from their starts, and their objectives; `weights` [laws, points]."""
    theta, damping = theta.copy(), np.full(len(theta), 1e-2)
    value, _ = _log_loss(theta, x, y)
    objective = (weights * huber_loss(target - value, delta)).sum(axis=1)
    still = np.zeros(len(theta), dtype=int)  # steps in a row that gained nothing
    for _ in range(MOST_STEPS):
        going = np.flatnonzero(still <= PATIENCE)
        if not len(going):
            break
        now, before = theta[going], objective[going]
        tried = now + _step(now, x, y, target, weights[going], delta, damping[going])
        value, _ = _log_loss(tried, x, y)
        reached = (weights[going] * huber_loss(target - value, delta)).sum(axis=1)
        better = reached < before
        gained = better & (before - reached > GAIN * before)
        still[going] = np.where(gained, 0, still[going] + 1)
        theta[going] = np.where(better[:, None], tried, now)
        objective[going] = np.where(better, reached, before)
        damping[going] = np.clip(np.where(better, damping[going] / 3, damping[going] * 4), 1e-12, 1e12)
    return theta, objective


def _step(
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    delta: float,
    damping: np.ndarray,
) -> np.ndarray:
    """A damped Gauss-Newton step of each law, [laws, 5], on squares weighted so that their slope is Huber's."""
    value, shares = _log_loss(theta, x, y)
    residuals = target - value
    first, by_size, by_data = (shares[..., i] for i in range(3))
    jacobian = np.stack([first, by_size, -x * by_size, by_data, -y * by_data], axis=-1)
    scale = weights * np.minimum(1.0, delta / np.maximum(np.abs(residuals), 1e-300))
    weighted = np.swapaxes(jacobian * scale[..., None], 1, 2)
    normal, gradient = weighted @ jacobian, weighted @ residuals[..., None]
    diagonal = np.einsum("lii->li", normal)
    # a term that has vanished has no slope of its own: the floor keeps the system regular
    ridge = damping[:, None] * np.maximum(diagonal, 1e-6 * diagonal.max(axis=1, keepdims=True)) + 1e-300
    return np.clip(np.linalg.solve(normal + ridge[:, :, None] * np.eye(len(NAMES)), gradient)[..., 0], -2.0, 2.0)


def _draws(sizes: np.ndarray, tokens: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each run is in each resample, [resamples, runs]; three sizes and budgets at least are in each."""
    draw = np.random.Generator(np.random.Philox(seed))
    kept: list[np.ndarray] = []
    while len(kept) < resamples:
        chosen = draw.integers(0, len(sizes), len(sizes))
        if min(len(np.unique(sizes[chosen])), len(np.unique(tokens[chosen]))) >= 3:
            kept.append(np.bincount(chosen, minlength=len(sizes)))
    return np.array(kept, dtype=np.float64)


def _uncentred(theta: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The same laws with a and b of log N = 0 and log D = 0."""
    moved = theta.copy()
    moved[:, 1] += theta[:, 2] * centre[0]
    moved[:, 3] += theta[:, 4] * centre[1]
    return moved
