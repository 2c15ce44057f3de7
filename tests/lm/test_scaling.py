"""Power laws: recovered exactly, as an independent fit has them, with intervals that hold what they promise."""

import numpy as np
import pytest

from lm.scaling import fit_power_law, frontier

SIZES = [1e4, 3e4, 1e5, 4e5, 1e6, 5e6, 2e7]


def test_an_exact_law_is_recovered() -> None:
    law = fit_power_law(SIZES, [2.57 * n**-0.048 for n in SIZES])
    assert law.coefficient == pytest.approx(2.57)
    assert law.exponent == pytest.approx(0.048)
    assert law.r_squared == pytest.approx(1.0)
    assert law.exponent_interval == pytest.approx((0.048, 0.048))
    assert law(3e9) == pytest.approx(2.57 * 3e9**-0.048)


def test_equals_polyfit() -> None:
    losses = np.exp(np.random.default_rng(0).normal(1.0, 0.2, len(SIZES)))
    law = fit_power_law(SIZES, losses)
    x, y = np.log(SIZES), np.log(losses)
    slope, intercept = np.polyfit(x, y, 1)
    assert law.exponent == pytest.approx(-slope)
    assert law.coefficient == pytest.approx(np.exp(intercept))
    assert law.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    sizes, covered, wide = np.geomspace(1e4, 1e7, 30), 0, 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, 0.05, 30)
        law = fit_power_law(sizes, 5.0 * sizes**-0.1 * np.exp(noise), resamples=100)
        low, high = law.exponent_interval
        covered += low <= 0.1 <= high
        low, high = fit_power_law(
            sizes, 5.0 * sizes**-0.1 * np.exp(noise), resamples=100, confidence=0.5
        ).exponent_interval
        wide += low <= 0.1 <= high
    assert 0.84 < covered / 100 < 1.0
    assert 0.33 < wide / 100 < 0.67


def test_the_seed_decides_and_the_surroundings_do_not() -> None:
    losses = [3.0, 2.7, 2.2, 2.1, 1.8, 1.7, 1.3]
    first = fit_power_law(SIZES, losses)
    np.random.seed(1)
    assert fit_power_law(SIZES, losses) == first
    assert fit_power_law(SIZES, losses, seed=1).exponent_interval != first.exponent_interval
    assert first.exponent_interval[0] < first.exponent < first.exponent_interval[1]


@pytest.mark.parametrize(
    ("sizes", "losses", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], "as many losses as sizes"),
        ([1.0, 2.0, 0.0], [1.0, 2.0, 3.0], "above zero and finite"),
        ([1.0, 2.0, 4.0], [1.0, float("nan"), 3.0], "above zero and finite"),
        ([1.0, 2.0, 2.0], [1.0, 2.0, 3.0], "2 sizes say nothing about a law"),
    ],
)
def test_what_is_no_law_is_refused(sizes: list[float], losses: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_power_law(sizes, losses)


def test_the_predicted_interval_holds_single_runs_about_as_often_as_it_says() -> None:
    sizes, inside, values = np.geomspace(1e4, 1e6, 12), 0, []
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, 0.02, 13)
        law = fit_power_law(sizes, 5.0 * sizes**-0.1 * np.exp(noise[:12]), resamples=100)
        said = law.predict(5e6)
        inside += said.low <= 5.0 * 5e6**-0.1 * np.exp(noise[12]) <= said.high
        values.append(said.value)
    assert 0.85 < inside / 100 <= 0.99
    assert np.mean(values) == pytest.approx(5.0 * 5e6**-0.1, rel=0.01)


def test_the_frontier_is_what_no_cheaper_run_beats() -> None:
    compute, losses = [1.0, 2.0, 2.0, 4.0, 8.0, 16.0], [3.0, 2.9, 2.5, 2.7, 2.5, 2.0]
    assert frontier(compute, losses) == [0, 2, 5]
    dominated = [
        any(c <= compute[i] and loss < losses[i] for c, loss in zip(compute, losses, strict=True)) for i in range(6)
    ]
    assert set(frontier(compute, losses)) == {0, 2, 5} <= {i for i in range(6) if not dominated[i]}
