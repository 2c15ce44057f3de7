"""A flow whose process was killed does not stay `Running` in Prefect."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.running.reconcile import MESSAGE, UNTOLD, reconcile_dead_runs
from tasks.store import Store
from tests.tasks.conftest import ROOT, wait_until

DRIVER = [sys.executable, "-m", "tests.tasks.flow_driver"]


@pytest.mark.server
def test_a_killed_flow_and_its_tasks_become_crashed(
    tmp_path: Path, store: Store, prefect_environment: dict[str, str], calls: Callable[[], list[str]]
) -> None:
    environment = prefect_environment | {"STORE": str(store.root), "STAGE_CALLS": os.environ["STAGE_CALLS"]}

    def reconcile() -> dict[str, Any]:
        done = subprocess.run(
            [*DRIVER, "reconcile", "2"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))

    held = {"HELD_UNTIL": str(tmp_path / "never")}
    with (tmp_path / "flow.log").open("w") as log:
        flow = subprocess.Popen(
            [*DRIVER, "run"],
            cwd=ROOT,
            env=environment | held,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: "slow" in calls() or flow.poll() is not None, "the second stage runs")
        assert flow.poll() is None, (tmp_path / "flow.log").read_text()
        alive = reconcile()
        while alive["states"][0]["tasks"] != {"numbers": "Completed", "slow": "Running"}:  # it hears of tasks by events
            alive = reconcile()
        assert alive["tokens"] == []
        assert [state["flow"] for state in alive["states"]] == ["Running"]
    finally:
        flow.kill()
        flow.wait()

    after = reconcile()
    assert len(after["tokens"]) == 1
    (state,) = after["states"]
    assert state["flow"] == "Crashed"
    assert state["tasks"]["slow"] == "Crashed"
    assert state["tasks"]["numbers"] == "Completed"
    assert MESSAGE in state["said"]
    assert reconcile()["tokens"] == []

    subprocess.run([*DRIVER, "run"], cwd=ROOT, env=environment, check=True, capture_output=True)
    again = reconcile()["states"]
    assert [state["flow"] for state in again] == ["Crashed", "Completed"]
    assert again[1]["tasks"] == {"numbers": "Cached", "slow": "Completed"}
    assert calls() == ["numbers", "slow", "slow"]


@pytest.mark.server
def test_ends_that_an_outage_has_swallowed(store: Store, prefect_environment: dict[str, str]) -> None:
    """Of tasks, where the server knows that the flow run is over; and of flow runs that it takes for dead since."""
    environment = prefect_environment | {"STORE": str(store.root)}

    def said(action: str) -> str:
        command = [*DRIVER, action]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    said("lose")
    found = json.loads(said("reconcile").splitlines()[-1])
    assert found["tokens"] == []  # their processes have ended by themselves
    assert found["states"] == [
        {"flow": "Completed", "tasks": {"begun": "Completed", "taken": "Completed"}, "said": [UNTOLD]},
        {"flow": "Failed", "tasks": {"begun": "Crashed", "taken": "Crashed"}, "said": [UNTOLD]},  # nobody killed it
        {"flow": "Completed", "tasks": {"begun": "Completed", "taken": "Completed"}, "said": [UNTOLD]},
        {"flow": "Crashed", "tasks": {"begun": "Crashed", "taken": "Crashed"}, "said": [UNTOLD]},
        {"flow": "Completed", "tasks": {"begun": "Completed", "taken": "Completed"}, "said": [UNTOLD]},
        {"flow": "Crashed", "tasks": {"begun": "Crashed", "taken": "Crashed"}, "said": [UNTOLD]},
        # another process has these since: an approval would be lost
        {"flow": "Again", "tasks": {"begun": "Running", "taken": "Pending"}, "said": [""]},
        {"flow": "Again", "tasks": {"begun": "Running", "taken": "Pending"}, "said": [""]},
    ]


def test_without_dead_runs_no_server_is_asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect.client.orchestration", None)
    assert reconcile_dead_runs(store) == []
