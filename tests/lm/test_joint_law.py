"""L(N, D): recovered exactly, as low as an independent minimiser gets, and no outlier's toy."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import huber, logsumexp

from lm.joint_law import fit_joint_law, huber_loss

N = np.repeat(np.geomspace(3e3, 8e5, 7), 4)
D = np.tile([5e5, 1e6, 2e6, 4e6], 7)
TRUTH = 1.2 + 15 / N**0.35 + 60 / D**0.3


def noisy(scale: float, seed: int = 0) -> np.ndarray:
    return TRUTH * np.exp(np.random.default_rng(seed).normal(0, scale, len(TRUTH)))


def test_an_exact_law_is_recovered() -> None:
    law = fit_joint_law(N, D, TRUTH, resamples=20)
    assert law.irreducible == pytest.approx(1.2, rel=1e-4)
    assert (law.size_coefficient, law.size_exponent) == pytest.approx((15, 0.35), rel=1e-3)
    assert (law.data_coefficient, law.data_exponent) == pytest.approx((60, 0.3), rel=1e-3)
    assert law.r_squared == pytest.approx(1.0)
    assert law.compute_exponent == pytest.approx(0.3 / 0.65, rel=1e-3)
    said = law.predict(4e6, 4e6)
    assert (said.low, said.value, said.high) == pytest.approx([1.2 + 15 / 4e6**0.35 + 60 / 4e6**0.3] * 3, rel=1e-5)


@pytest.mark.parametrize("scale", [0.002, 0.01])
def test_no_start_of_another_minimiser_ends_lower(scale: float) -> None:
    losses = noisy(scale)
    law = fit_joint_law(N, D, losses, resamples=1)

    def objective(theta: np.ndarray) -> float:
        terms = [
            np.full(len(N), theta[0]),
            theta[1] - theta[2] * np.log(N),
            theta[3] - theta[4] * np.log(D),
        ]
        return float(1e4 * huber(1e-3, np.log(losses) - logsumexp(terms, axis=0)).sum())

    starts = [(e, 2.0, alpha, 4.0, beta) for e in (-1.0, 0.3) for alpha in (0.2, 0.6) for beta in (0.2, 0.6)]
    best = min(minimize(objective, start, method="BFGS").fun for start in starts) / 1e4
    assert law.objective <= best * (1 + 1e-4)
    fitted = [law.irreducible, law.size_coefficient, law.data_coefficient]
    e, a, b = np.log(fitted)
    assert objective(np.array([e, a, law.size_exponent, b, law.data_exponent])) / 1e4 == pytest.approx(law.objective)


def test_the_loss_of_a_residual_is_hubers() -> None:
    residuals = np.linspace(-0.01, 0.01, 41)
    assert huber_loss(residuals, 1e-3) == pytest.approx(huber(1e-3, residuals))


def test_one_broken_run_moves_the_prediction_little() -> None:
    losses = noisy(0.001)
    sound = fit_joint_law(N, D, losses, resamples=1)(4e6, 4e6)
    losses[17] *= 1.5
    assert fit_joint_law(N, D, losses, resamples=1)(4e6, 4e6) == pytest.approx(sound, rel=0.005)


def test_the_predicted_interval_holds_single_runs_about_as_often_as_it_says() -> None:
    truth, inside = 1.2 + 15 / 3.6e6**0.35 + 60 / 4e6**0.3, 0
    for seed in range(12):
        said = fit_joint_law(N, D, noisy(0.004, seed), resamples=40).predict(3.6e6, 4e6)
        inside += said.low <= truth * np.exp(np.random.default_rng(1000 + seed).normal(0, 0.004)) <= said.high
    assert inside >= 9


def test_equal_input_gives_equal_laws_whatever_the_order() -> None:
    losses = noisy(0.003)
    first = fit_joint_law(N, D, losses, resamples=20)
    assert fit_joint_law(N, D, losses, resamples=20) == first
    turned = fit_joint_law(N[::-1], D[::-1], losses[::-1], resamples=1)
    assert turned(4e6, 4e6) == pytest.approx(first(4e6, 4e6), rel=1e-3)


@pytest.mark.parametrize(
    ("sizes", "tokens", "losses", "message"),
    [
        ([1e3, 1e4], [1e5] * 2, [2.0, 1.0], "2 sizes say nothing about a law"),
        ([1e3, 1e4, 1e5], [1e5] * 3, [3.0, 2.0, 1.0], "1 budgets say nothing about a law"),
        ([1e3, 1e4, 1e5], [1e5, 2e5, 3e5], [3.0, 2.0, 1.0], "3 runs do not fix five numbers"),
        ([1e3, 1e4, 1e5], [1e5, 2e5, -1], [3.0, 2.0, 1.0], "needs tokens and losses above zero"),
        ([1e3, 1e4, 1e5], [1e5, 2e5], [3.0, 2.0, 1.0], "as many losses as tokens"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    sizes: list[float], tokens: list[float], losses: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_joint_law(sizes, tokens, losses)
