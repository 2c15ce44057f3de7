"""Cancelling in the UI a run that was started from a terminal: a checkpoint, no process left, and it says so."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tasks.running.journal import history
from tests.tasks.tiny_corpus import configuration, write_documents

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 600.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
    return found


def ask(api: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A GET, or a POST of JSON, to the Prefect server."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{api}/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return dict(json.load(answer))


def works(process: psutil.Process) -> bool:
    """Whether a pool worker is still there; an unreaped one is not."""
    try:
        return "multiprocessing" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.server
def test_a_cancelled_run_leaves_a_checkpoint_and_goes_on(prefect_environment: dict[str, str], tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    config = configuration(tmp_path / "documents").model_dump(mode="json")
    config["pretrain"]["train"] |= {"steps": 20_000, "eval_interval": 0, "sample_interval": 0}
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(config))
    run = subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", "run", str(tmp_path / "long.yaml")],
        cwd=ROOT,
        env=prefect_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = Path(prefect_environment["TEXTMILL_HOME"]) / "store"

    def journal() -> Path | None:
        found = list((store / "partial").glob("pretrain-*/_run/journal.jsonl"))
        return found[0] if found and history(found[0]).get("train/loss") else None

    partial = wait_until(journal, "the training has begun").parents[1]
    children = psutil.Process(run.pid).children(recursive=True)
    record = json.loads(max(store.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime).read_text())
    flow_run = f"flow_runs/{record['flow_runs'][-1]}"
    api = prefect_environment["PREFECT_API_URL"]
    ask(api, f"{flow_run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True})
    _, said = run.communicate()

    assert run.returncode != 0
    assert "stopping after a checkpoint" in said or "goes on" in said
    assert list(partial.glob("_scratch/checkpoints/step-*/manifest.json"))
    wait_until(lambda: not any(works(child) for child in children), "the workers are gone")
    ended = ask(api, flow_run)
    assert ended["state"]["type"] == "CANCELLED"
    assert ended["tags"] == ["textmill"]  # by which the automations know it
    its_tasks = {"flow_runs": {"id": {"any_": [record["flow_runs"][-1]]}}}
    tasks = ask(api, "task_runs/paginate", its_tasks)["results"]
    assert len(tasks) > 5
    assert [task["tags"] for task in tasks] == [[]] * len(tasks)  # a task would ask for a slot of each of its tags
