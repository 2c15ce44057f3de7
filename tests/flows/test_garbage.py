"""Both stores are tidied up, by the command and by the deployment: what is shown is what goes, and no more."""

import uuid
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.commands.gc import Swept, sweep
from flows.config.garbage import GarbageConfig
from flows.deployments import gc_flow
from tasks.machine.resources import Resources
from tasks.running.progress import Display
from tasks.running.run import Run, use_run
from tasks.storage.shared import SharedStore, open_store
from tests.tasks.stages import NumbersConfig, numbers, slow

ONE = Resources(workers=1, threads=1)


def built(store: SharedStore) -> str:
    """Two artifacts, of which one gets a name. Returns the key of the other."""
    with use_run(Run(store, ONE, Display(quiet=True))):
        named, other = numbers(NumbersConfig(count=2)), slow(NumbersConfig())
    store.set_alias("current", named)
    return other.key


def names(swept: Swept, kind: str) -> list[str]:
    """Of what was found of a kind."""
    return [name for found, _, _, name in swept.found if found == kind]


def test_what_is_shown_is_what_goes_here_and_in_the_shared_store(tmp_path: Path) -> None:
    store = SharedStore(tmp_path / "store", f"memory://{uuid.uuid4().hex}")
    key = built(store)
    (store.partial / "numbers-left").mkdir()
    assert sweep(store, keep_runs=0, grace_hours=1.0, delete=True).found == []  # all of it is new

    shown = sweep(store, keep_runs=0, grace_hours=0.0, delete=False)
    there = f"{store.url}/manifests/slow/{key}.json"
    assert names(shown, "artifact") == [str(store.artifacts / "slow" / key), there]
    assert names(shown, "partial") == [str(store.partial / "numbers-left")]
    assert (store.partial / "numbers-left").is_dir()

    gone = sweep(store, keep_runs=0, grace_hours=0.0, delete=True)
    assert [each[0::3] for each in gone.found] == [each[0::3] for each in shown.found]
    assert gone.bytes == shown.bytes > 0
    assert sweep(store, keep_runs=0, grace_hours=0.0, delete=True) == Swept()
    assert store.remote.record("slow", key) is None
    assert store.aliased("current") is not None


def test_the_deployment_removes_it_and_says_how_much(empty_home: Path) -> None:
    resources = ONE.model_copy(update={"store": f"memory://{uuid.uuid4().hex}"})
    store = open_store(resources.store)
    assert isinstance(store, SharedStore)
    key = built(store)
    state = gc_flow.fn(GarbageConfig(keep_runs=0, grace_hours=0.0, resources=resources))
    removed = state.result()
    assert removed["removed"] >= 2
    assert state.message == f"{removed['removed']} removed, {removed['bytes']:,} bytes"
    assert store.remote.record("slow", key) is None
    assert not list(store.runs.iterdir())  # it opens no run, which would count among the last


def test_as_delivered_it_keeps_what_the_command_keeps() -> None:
    assert (GarbageConfig().keep_runs, GarbageConfig().grace_hours) == (5, 24.0)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        GarbageConfig(grace_hours=-1)
    with pytest.raises(ValidationError, match="keep_days"):
        GarbageConfig.model_validate({"keep_days": 3})
