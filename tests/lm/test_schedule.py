"""Learning rates against their closed forms."""

import itertools
import math

import pytest

from lm.config import ScheduleConfig
from lm.train.schedule import learning_rate_factor, noam_peak


def factors(steps: int, **fields: object) -> list[float]:
    config = ScheduleConfig(**fields).resolve(steps)
    return [learning_rate_factor(s, steps, config) for s in range(steps)]


@pytest.mark.parametrize("shape", ["cosine", "wsd", "constant"])
def test_warmup_is_linear_and_reaches_the_peak(shape: str) -> None:
    got = factors(100, shape=shape, warmup_steps=10)
    assert got[:10] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert max(got) == 1.0


def test_cosine() -> None:
    got = factors(110, shape="cosine", warmup_steps=10, final_fraction=0.1)
    assert got[59] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert got[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(got[9:]))


def test_wsd_is_flat_then_linear() -> None:
    got = factors(101, shape="wsd", warmup_steps=1, decay_part=0.2, final_fraction=0.0)
    assert got[:81] == [1.0] * 81
    assert got[90] == pytest.approx(0.5)
    assert got[-1] == 0.0


def test_constant() -> None:
    assert factors(50, shape="constant", warmup_steps=1) == [1.0] * 50


@pytest.mark.parametrize("shape", ["cosine", "wsd", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_tiny_runs_have_positive_rates(shape: str, steps: int) -> None:
    assert all(0 < f <= 1 for f in factors(steps, shape=shape))


def test_auto_is_resolved_first() -> None:
    warmups = {steps: ScheduleConfig().resolve(steps).warmup_steps for steps in (1, 50, 400, 1000, 50_000)}
    assert warmups == {1: 1, 50: 5, 400: 40, 1000: 100, 50_000: 1000}
    assert ScheduleConfig(warmup_steps=7).resolve(1000).warmup_steps == 7
    with pytest.raises(ValueError, match="warmup_steps is still 'auto'"):
        learning_rate_factor(0, 10, ScheduleConfig())


def test_noam_is_the_papers_equation_3() -> None:
    """d^-0.5 min(n^-0.5, n w^-1.5), n from 1: its peak is `noam_peak`, at step w."""
    width, warmup = 512, 40
    got = factors(400, shape="noam", warmup_steps=warmup)
    expected = [width**-0.5 * min(n**-0.5, n * warmup**-1.5) for n in range(1, 401)]
    assert [noam_peak(width, warmup) * factor for factor in got] == pytest.approx(expected)
    assert max(got) == got[warmup - 1] == 1.0
    assert noam_peak(512, 4000) == pytest.approx(6.99e-4, abs=1e-6)
    assert factors(3, shape="noam", warmup_steps=0) == pytest.approx([1.0, 0.5**0.5, 3**-0.5])
