"""A stage's version is raised whenever its output changes (tests/tasks/stage_versions.py)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.stage import STAGES, Work
from tests.tasks.stage_versions import (
    CASES,
    PIPELINE,
    RECORD,
    TINY,
    observed,
    observed_pipeline,
    problem,
    stage_of,
    stale_parts,
)
from tests.tasks.stages import numbers


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_version_is_honest(name: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORD.read_text()).get(name)
    wrong = problem(stage_of(name), observed(stage_of(name), CASES[name], tmp_path), recorded)
    assert wrong is None, wrong


def test_the_versions_of_the_pipeline_are_honest(tmp_path: Path) -> None:
    recorded = json.loads(RECORD.read_text())
    found = observed_pipeline(tmp_path)
    assert set(found) == set(PIPELINE)
    wrong = [said for name, now in found.items() if (said := problem(STAGES[name], now, recorded.get(name)))]
    assert not wrong, "\n".join(wrong)


def changed(work: Work, config: Any) -> None:
    """The stage `numbers` after a change of its code."""
    numbers.build(work, config)
    (work.directory / "00001.json").write_text('{"n": 1.0}')


def test_a_changed_output_without_a_new_version_is_named(tmp_path: Path) -> None:
    recorded = observed(numbers, lambda: numbers(TINY), tmp_path / "before")
    stage = replace(numbers, build=changed)
    now = observed(stage, lambda: stage(TINY), tmp_path / "after")
    assert problem(numbers, recorded, recorded) is None
    assert "stage numbers gives another output than on record, but its version still is 1" in str(
        problem(stage, now, recorded)
    )
    newer = replace(stage, version=2)
    now = observed(newer, lambda: newer(TINY), tmp_path / "newer")
    assert "stage numbers version 2 is not on record" in str(problem(newer, now, recorded))
    assert problem(newer, now, now) is None


def test_another_library_version_may_change_the_output() -> None:
    recorded = {"version": 1, "libraries": {"ftfy": "6.2"}, "digest": "a", "parts": {}}
    assert problem(numbers, {**recorded, "libraries": {"ftfy": "6.3"}, "digest": "b"}, recorded) is None


def test_a_new_version_of_a_stage_needs_one_of_its_parts() -> None:
    recorded = {"version": 1, "libraries": {}, "digest": "a", "parts": {"numbers.shard": 1}}
    newer = {**recorded, "version": 2, "digest": "b"}
    assert "its parts do not (numbers.shard 1): old parts would be served" in str(stale_parts(numbers, newer, recorded))
    assert stale_parts(numbers, {**newer, "parts": {"numbers.shard": 2}}, recorded) is None
    assert stale_parts(numbers, {**newer, "digest": "a"}, recorded) is None  # renamed, say
    assert stale_parts(numbers, {**newer, "parts": {}}, {**recorded, "parts": {}}) is None
    assert "is not on record" in str(problem(numbers, {**recorded, "parts": {"numbers.shard": 2}}, recorded))


def test_a_case_must_build_its_own_stage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the case of numbers returns an artifact of total"):
        observed(numbers, CASES["total"], tmp_path)
