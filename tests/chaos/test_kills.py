"""Killed at moments drawn over every stage, the whole mill ends in the digests of a run left alone."""

from collections.abc import Callable
from pathlib import Path

from tests.asked import Answer, Ask
from tests.chaos.checks import problems
from tests.chaos.kills import killed, stage_of

COUNT = 22  # each stage once


def test_killed_in_every_stage_it_ends_in_the_same_digests(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    alone = undisturbed("all")
    found = killed(mill, tmp_path, alone, seed=1, count=COUNT, scope="all")
    assert found["last"]["digests"] == alone["digests"]
    assert found["left"] == []
    assert len({stage for stage, _ in found["landed"]}) > len({stage_of(label) for label in alone["seconds"]}) / 2
    assert problems(tmp_path / "store") == []
