"""Killed at moments drawn over every stage, the whole mill ends in the digests of a run left alone."""

from collections.abc import Callable
from pathlib import Path

from tests.asked import Answer, Ask
from tests.chaos.checks import problems
from tests.chaos.kills import killed

COUNT = 12  # of the 22 stages; the long form is benchmarks/chaos.py


def test_killed_in_every_stage_it_ends_in_the_same_digests(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    alone = undisturbed("all")
    found = killed(mill, tmp_path, alone, seed=1, count=COUNT, scope="all")
    assert found["last"]["digests"] == alone["digests"]
    assert found["left"] == []
    assert len(found["landed"]) > COUNT / 2
    assert problems(tmp_path / "store") == []
