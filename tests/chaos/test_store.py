"""A shared store that answers late, wrongly, by half or not at all: equal digests or a clear error, nothing broken."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.lineage.gc_remote import collect_remote, find_remote_garbage
from tasks.storage.remote import Remote
from tests.asked import Answer, Ask
from tests.chaos.checks import problems


def through_trouble(mill: Ask, folder: Path, seed: int, rates: tuple[float, ...], scope: str = "chain") -> list[Answer]:
    """A run on a store that misbehaves at each of the rates in turn, from three machines; the last rate is 0."""
    draw = random.Random(seed)
    answers = []
    for rate in (*rates, 0.0):
        faults = {"flaky_store": {"seed": draw.randrange(2**31), "rate": rate}}
        home = folder / f"machine-{draw.randrange(3)}"
        answers.append(mill(home, scope=scope, store=f"flaky://{folder}/shared", faults=faults))
    return answers


@pytest.mark.parametrize("seed", range(4))
def test_a_flaky_store(mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path, seed: int) -> None:
    answers = through_trouble(mill, tmp_path, seed, (0.2, 0.5, 0.3))
    for answer in answers:
        if answer["exit"] == 0:
            assert answer["digests"] == undisturbed("chain")["digests"]
        else:
            assert answer["failed"].startswith(("ObjectError: cannot ", "StoreError: ")), answer["failed"]
            assert "run it again" in answer["failed"]
    assert any(answer["exit"] or answer["troubles"] for answer in answers)
    assert answers[-1]["exit"] == 0, answers[-1]
    remote = Remote(f"file://{tmp_path}/shared")
    collect_remote(remote, find_remote_garbage(remote, keep_runs=9, grace_seconds=0.0), keep_runs=9, grace_seconds=0.0)
    kinds = {name.split("/")[0] for name in remote.objects.listing("")}
    assert kinds <= {"manifests", "files", "runs"}
    named = {f"files/{stage}/{key}" for stage, key, _ in remote.published()}
    assert {"/".join(name.split("/")[:3]) for name in remote.objects.listing("files")} <= named
    fresh = mill(tmp_path / "fresh", scope="chain", store=f"file://{tmp_path}/shared")
    assert fresh["digests"] == undisturbed("chain")["digests"]
    assert set(fresh["states"].values()) == {"cached"}  # all of it was there, and whole
    assert problems(tmp_path / "fresh" / "store") == []
