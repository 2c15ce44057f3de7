"""A pretraining in two processes as a pipeline runs it: its error in the Prefect run, its end, no key of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.running.journal import read_events
from tests.flows.test_cancel import ROOT, ask
from tests.tasks.tiny_corpus import configuration, write_documents


@pytest.mark.server
def test_two_processes_fail_with_their_own_error_and_end_as_one_would(
    prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    write_documents(tmp_path / "documents")
    config = configuration(tmp_path / "documents", task=None).model_dump(mode="json")
    config["pretrain"]["processes"] = 2
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    store = Path(prefect_environment["TEXTMILL_HOME"]) / "store"

    def run(*overrides: str) -> "subprocess.CompletedProcess[str]":
        settings = [part for override in overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "flows.cli.main", "run", str(tmp_path / "tiny.yaml"), "--json", *settings]
        return subprocess.run(command, cwd=ROOT, env=prefect_environment, capture_output=True, text=True, check=False)

    failed = run("pretrain.train.optimizer.learning_rate=1.0e+30")
    assert failed.returncode != 0
    record = json.loads(max(store.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime).read_text())
    state = ask(prefect_environment["PREFECT_API_URL"], f"flow_runs/{record['flow_runs'][-1]}")["state"]
    assert state["type"] == "FAILED"
    assert "is not finite; nothing was updated" in state["message"]

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
