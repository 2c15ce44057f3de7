"""Workers that are killed, as the kernel does it for want of memory, or run out of it; two flows on one artifact."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.asked import Answer, Ask
from tests.chaos.checks import problems
from tests.chaos.kills import forget

SLOW = {"slow_shards": {"seconds": 0.05}}


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_worker_is_named_and_what_is_finished_stays(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path, seed: int
) -> None:
    kill = {"signal": 9, "stage": "squares", "after": random.Random(seed).uniform(0.0, 0.3), "worker": True}
    first = mill(tmp_path, scope="chain", workers=2, faults=SLOW, kill=kill)
    assert first["landed"]
    assert first["left"] == []
    assert first["exit"] == 0 or first["failed"].startswith(
        "WorkerDied: the stage squares: a worker process of build_part was killed"
    )
    again = mill(tmp_path, scope="chain", workers=2)
    assert again["digests"] == undisturbed("chain")["digests"]
    assert problems(tmp_path / "store") == []


@pytest.mark.parametrize(("stage", "number"), [("judge", 9), ("filter_corpus", 15)])
def test_a_killed_worker_of_a_real_stage(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path, stage: str, number: int
) -> None:
    mill(tmp_path, scope="corpus")
    forget(stage, tmp_path / "store")
    kill = {"signal": number, "stage": stage, "after": 0.2, "worker": True}
    slow = {"all_in_the_pool": {"seconds": 0.4}}
    first = mill(tmp_path, scope="corpus", workers=2, faults=slow, kill=kill)
    assert first["landed"]
    assert first["left"] == []
    assert first["failed"].startswith(
        f"WorkerDied: the stage {stage}: a worker process of build_part_slowly was killed"
    )
    assert mill(tmp_path, scope="corpus")["digests"] == undisturbed("corpus")["digests"]
    assert problems(tmp_path / "store") == []


def test_workers_without_memory_are_an_error_with_the_stage(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    little = {"all_in_the_pool": {}, "little_memory_in_workers": {"megabytes": 200}}
    first = mill(tmp_path, scope="corpus", workers=2, faults=little)
    assert first["left"] == []
    assert first["failed"].startswith(("OutOfMemory: the stage ", "WorkerDied: the stage "))
    assert "(--set resources.workers=1)" in first["failed"]
    assert mill(tmp_path, scope="corpus")["digests"] == undisturbed("corpus")["digests"]
    assert problems(tmp_path / "store") == []


def test_out_of_memory_is_an_error_and_costs_nothing_finished(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    alone = undisturbed("corpus")["digests"]  # first, so that memory ends in the stages, not as they are imported
    failures = []
    for megabytes in (8, 64, 160):
        answer = mill(tmp_path, scope="corpus", faults={"little_memory": {"megabytes": megabytes}})
        assert answer["left"] == []
        if answer["exit"] != 0:
            failures.append(answer.get("failed", answer["signal"]))
    assert failures
    assert mill(tmp_path, scope="corpus")["digests"] == alone
    assert problems(tmp_path / "store") == []


@pytest.mark.parametrize("killed", [False, True])
def test_flows_on_one_artifact_build_it_once(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path, killed: bool
) -> None:
    kill = {"signal": 9, "stage": "numbers", "after": 0.05} if killed else None
    found = mill(tmp_path, scope="chain", twins=2, faults=SLOW, kill=kill)
    others = found["twins"] if killed else [found, *found["twins"]]
    assert [other["digests"] for other in others] == [undisturbed("chain")["digests"]] * len(others)
    for label in others[0]["states"]:
        assert [other["states"][label] for other in others].count("built") <= 1
    assert found["left"] == []
    assert mill(tmp_path, scope="chain")["exit"] == 0
    assert problems(tmp_path / "store") == []


@pytest.mark.parametrize("killed", [False, True])
def test_machines_on_one_artifact_of_a_shared_store_build_it_once(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path, killed: bool
) -> None:
    """Nobody sees that a process of another machine has gone: its lease is no longer renewed."""
    kill = {"signal": 9, "stage": "squares", "after": 0.1} if killed else None
    shared = {"scope": "chain", "apart": True, "store": f"file://{tmp_path}/shared"}
    found = mill(tmp_path, **shared, twins=2, faults={"slow_shards": {"seconds": 0.2}}, kill=kill)
    assert found["landed"] == killed
    others = found["twins"] if killed else [found, *found["twins"]]
    assert [other.get("digests") for other in others] == [undisturbed("chain")["digests"]] * len(others)
    for label in others[0]["states"]:
        assert [other["states"][label] for other in others].count("built") <= 1
    assert found["left"] == []
    again = mill(tmp_path, **shared)
    assert set(again["states"].values()) == {"cached"}
    for number in range(3):
        assert problems(tmp_path / f"machine-{number}" / "store") == []
    assert list((tmp_path / "shared").glob("leases/*")) == []
