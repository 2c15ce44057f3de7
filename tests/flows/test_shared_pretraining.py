"""A pretraining in two processes as a pipeline runs it: its error in the Prefect run, its end, no key of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.running.journal import read_events
from tests.flows.schedule_helpers import wait_for
from tests.flows.test_cancel import ROOT, ask
from tests.tasks.tiny_corpus import configuration, write_documents

FAILS_ALONE = """
import os

if os.environ.get("RANK") == "1":
    from lm.train.distributed import Replicas

    def fail(self, loss):
        raise LookupError("a batch that only this rank has")

    Replicas.backward = fail
"""
"""Read by every Python process that starts: it changes the second rank alone. The first waits for its gradients."""


@pytest.mark.server
def test_one_of_two_processes_fails_with_its_own_error_and_both_end_as_one_would(
    prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    write_documents(tmp_path / "documents")
    config = configuration(tmp_path / "documents", task=None).model_dump(mode="json")
    config["pretrain"]["processes"] = 2
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    store = Path(prefect_environment["TEXTMILL_HOME"]) / "store"

    def run(*overrides: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        settings = [part for override in overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "flows.cli.main", "run", str(tmp_path / "tiny.yaml"), "--json", *settings]
        surroundings = prefect_environment | environment
        return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)

    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(FAILS_ALONE)
    failed = run(PYTHONPATH=os.pathsep.join([str(tmp_path / "site"), prefect_environment["PYTHONPATH"]]))
    assert failed.returncode != 0
    own = "rank 1 of 2 failed: LookupError: a batch that only this rank has"
    record = json.loads(max(store.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime).read_text())
    api, flow_run = prefect_environment["PREFECT_API_URL"], record["flow_runs"][-1]
    state = ask(api, f"flow_runs/{flow_run}")["state"]
    assert state["type"] == "FAILED"
    assert own in state["message"]
    of_it = {"flow_runs": {"id": {"any_": [flow_run]}}, "task_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
    # the server learns of tasks by events, behind the flow run's own state
    wait_for(lambda: bool(ask(api, "task_runs/paginate", of_it)["results"]))
    [task] = ask(api, "task_runs/paginate", of_it)["results"]
    assert task["name"].startswith("pretrain")
    assert own in task["state"]["message"]

    done = run()
    assert done.returncode == 0, done.stderr
    stages: list[dict[str, Any]] = json.loads(done.stdout)["stages"]
    [stage] = [stage for stage in stages if stage["stage"] == "pretrain"]
    artifact = store / "artifacts" / "pretrain" / stage["key"]
    environment = json.loads((artifact / "manifest.json").read_text())["environment"]
    assert (environment["processes"], environment["sharding"]) == (2, "ddp")
    points = [
        event["step"]
        for _, event in read_events(artifact / "_run" / "journal.jsonl")
        if event["event"] == "metric" and event["key"] == "train/loss"
    ]
    assert points == [1, 2, 3, 4, 5, 6]

    again = run("pretrain.processes=1")
    assert again.returncode == 0, again.stderr
    assert all(stage["cached"] for stage in json.loads(again.stdout)["stages"])
