"""Killed at moments drawn over every stage, the mill ends in the digests of a run left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.asked import Answer, Ask
from tests.chaos.checks import problems
from tests.chaos.kills import killed


@pytest.mark.parametrize(("scope", "count"), [("all", 12), ("curation", 6)])  # the long form is benchmarks/chaos.py
def test_killed_in_every_stage_it_ends_in_the_same_digests(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path, scope: str, count: int
) -> None:
    alone = undisturbed(scope)
    found = killed(mill, tmp_path, alone, seed=1, count=count, scope=scope)
    assert found["last"]["digests"] == alone["digests"]
    assert found["left"] == []
    assert len(found["landed"]) > count / 2
    assert problems(tmp_path / "store") == []
