"""Classification figures against scikit-learn, scipy and brute force."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from lm.evaluate.metrics import (
    accuracy,
    confusion_matrix,
    f1_scores,
    macro_f1,
    over_seeds,
    paired_bootstrap,
    wilson,
)

CASES = [(n, classes) for n in (1, 7, 300) for classes in (2, 5, 17)]


def _labels(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(n * classes)
    truth = generator.integers(classes, size=n)
    return truth, np.where(generator.random(n) < 0.5, truth, generator.integers(classes, size=n))


@pytest.mark.parametrize(("n", "classes"), CASES)
def test_scores_equal_scikit_learn(n: int, classes: int) -> None:
    truth, guess = _labels(n, classes)
    every = range(classes)
    assert accuracy(truth, guess).value == sk.accuracy_score(truth, guess)
    assert (confusion_matrix(truth, guess, classes) == sk.confusion_matrix(truth, guess, labels=every)).all()
    assert macro_f1(truth, guess, classes) == pytest.approx(sk.f1_score(truth, guess, average="macro"), abs=1e-12)
    expected = sk.f1_score(truth, guess, labels=every, average=None, zero_division=0)
    np.testing.assert_allclose(f1_scores(truth, guess, classes), expected, atol=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (10, 10), (137, 300), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence)[1:] == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_bootstrap_equals_the_enumeration_of_all_samples() -> None:
    difference = np.array([1.0, 0.0, 0.0, -1.0, 1.0])
    every = np.array([difference[list(pick)].mean() for pick in itertools.product(range(5), repeat=5)])
    found = paired_bootstrap(difference.clip(0), (-difference).clip(0), draws=20_000)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(every, [0.025, 0.975])))
    assert found.p_value == pytest.approx(2 * (every <= 0).mean(), abs=0.02)


def test_bootstrap_is_deterministic_and_antisymmetric_in_value() -> None:
    a, b = (np.random.default_rng(s).integers(2, size=200) for s in (1, 2))
    assert paired_bootstrap(a, b, draws=500) == paired_bootstrap(a, b, draws=500)
    assert paired_bootstrap(a, b, draws=500).value == -paired_bootstrap(b, a, draws=500).value
    assert paired_bootstrap(a, a, draws=500) == (0, 0, 0, 1)


def test_spread_over_seeds() -> None:
    spread = over_seeds([0.1, 0.2, 0.6])
    assert spread == pytest.approx((0.3, np.std([0.1, 0.2, 0.6], ddof=1), 0.1, 0.6, 3))
    assert over_seeds([0.5]).sd == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: accuracy([0, 1], [0]), "as many predictions"),
        (lambda: accuracy([], []), "at least one"),
        (lambda: confusion_matrix([0, 3], [0, 1], 3), "label lies outside 0..2"),
        (lambda: confusion_matrix([0, 1], [0, -1], 3), "prediction lies outside"),
        (lambda: paired_bootstrap([1, 0], [1]), "same items"),
        (lambda: over_seeds([]), "at least one seed"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
