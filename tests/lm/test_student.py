"""Quantiles of Student's t, and the intervals of means of few numbers."""

import numpy as np
import pytest
from scipy import stats

from lm.evaluate.decisions import mean
from lm.evaluate.student import t_quantile


def test_quantiles_are_those_of_scipy() -> None:
    for freedom in (*range(1, 60), 100, 101, 998, 999, 1000, 1001, 20_000):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-8), freedom
    with pytest.raises(ValueError, match="1 degree of freedom or more: 0"):
        t_quantile(0)


def test_a_mean_of_few_numbers_is_as_unsure_as_it_is() -> None:
    random = np.random.default_rng(0)
    found = [mean(random.normal(1.0, 2.0, 4)) for _ in range(2000)]
    held = np.mean([float(each["low"] or 0) <= 1.0 <= float(each["high"] or 0) for each in found])
    assert held == pytest.approx(0.95, abs=0.015)  # 1.96 standard errors would hold it in 86 of 100
    scores = random.normal(size=7)
    between = stats.t.interval(0.95, 6, scores.mean(), stats.sem(scores))
    assert (mean(scores)["low"], mean(scores)["high"]) == pytest.approx(between)
    assert mean(np.array([3.0])) == {"value": 3.0, "low": None, "high": None, "n": 1}
