"""Order and randomness as functions."""

import numpy as np
import pytest

from lm.order import Permutation, draw_seed, examples_at


@pytest.mark.parametrize("n", [*range(1, 70), 255, 256, 257, 1000, 4095, 4097, 100_003])
def test_every_epoch_is_a_permutation(n: int) -> None:
    assert np.array_equal(np.sort(Permutation(n, seed=3, epoch=5)[np.arange(n)]), np.arange(n))


def test_any_position_is_found_without_the_others() -> None:
    n = 10_007
    whole = Permutation(n, seed=1)[np.arange(n)]
    for positions in (np.array([9_999]), np.arange(17, n, 113), np.array([5, 5, 3])):
        assert np.array_equal(Permutation(n, seed=1)[positions], whole[positions])


def test_huge_data_sets_cost_nothing() -> None:
    n = 10**13
    drawn = Permutation(n, seed=0)[np.arange(1000) * 10**9]
    assert len(set(drawn.tolist())) == 1000
    assert drawn.min() >= 0
    assert drawn.max() < n


def test_seed_and_epoch_change_the_order() -> None:
    base = Permutation(1000, 0, 0)[np.arange(1000)]
    assert (base != Permutation(1000, 0, 1)[np.arange(1000)]).mean() > 0.9
    assert (base != Permutation(1000, 1, 0)[np.arange(1000)]).mean() > 0.9


def test_the_order_looks_random() -> None:
    """Neighbours are uncorrelated and every fifth of the data lands evenly in every fifth of the epoch."""
    n = 50_000
    order = Permutation(n, seed=7)[np.arange(n)]
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    table = np.histogram2d(np.arange(n), order, bins=5)[0]
    expected = n / 25
    assert ((table - expected) ** 2 / expected).sum() < 45  # chi-square, 16 degrees of freedom, p ~ 1e-4


def test_positions_outside_are_refused() -> None:
    with pytest.raises(IndexError, match=r"\[0, 10\)"):
        Permutation(10, 0)[np.array([10])]
    with pytest.raises(ValueError, match="cannot order 0"):
        Permutation(0, 0)


@pytest.mark.parametrize("chunk", [1, 3, 8, 50])
def test_the_endless_run_does_not_depend_on_chunks(chunk: int) -> None:
    n, length = 7, 50
    whole = examples_at(0, length, n, seed=2)
    parts = [examples_at(s, min(chunk, length - s), n, seed=2) for s in range(0, length, chunk)]
    assert np.array_equal(np.concatenate(parts), whole)
    for epoch in range(length // n):
        assert set(whole[epoch * n : (epoch + 1) * n].tolist()) == set(range(n))


def test_draws_are_separate_by_purpose() -> None:
    seeds = {draw_seed(s, step, p) for s in range(5) for step in range(50) for p in ("dropout", "mask")}
    assert len(seeds) == 500
    assert draw_seed(1, 2, "dropout") == draw_seed(1, 2, "dropout")
    assert draw_seed(0, 1, 23) != draw_seed(0, 12, 3)
    assert draw_seed(0, 1) != draw_seed(0, "1")
