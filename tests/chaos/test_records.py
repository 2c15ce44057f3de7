"""Nothing says `Running` for ever: our records, MLflow's runs, and what of a bad step is on record."""

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.machine.host import HOST
from tasks.running.hooks import _hooks
from tasks.running.journal import Journal, history, read_events
from tasks.running.run_records import dead_runs, mark_dead, mark_told, run_records, untold_runs
from tasks.storage.files import read_json, write_json
from tasks.store import Store
from tasks.tracking import shipper
from tests.tasks.conftest import store  # noqa: F401  a fixture
from tests.tasks.journals import Pipeline, runs


def gone(state: str, **more: Any) -> dict[str, Any]:
    """The record of a run whose process is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    who = {"identity": "i", "host": HOST, "pid": process.pid, "process_created": "boot/1"}
    return {"state": state, "flow_runs": [], **who, **more}


def test_a_killed_run_and_its_stage_end_in_mlflow(store: Store, client: MlflowClient) -> None:  # noqa: F811
    pipeline = Pipeline(store)
    pipeline.stage("pretrain", "k" * 32).close()
    pipeline.stage("tokenize", "h" * 32).close()
    pipeline.journal.close()
    write_json(pipeline.directory / "run.json", gone("running"))
    (record,) = dead_runs(run_records(store))
    with store.lock("h" * 32):  # another run has taken that stage up
        mark_dead(store, record["token"])
    shipper.ship_run(store, pipeline.directory, client)
    assert {name: run.info.status for name, run in runs(client).items()} == {
        "nightly": "KILLED",
        "pretrain": "KILLED",
        "tokenize": "RUNNING",
    }
    assert read_json(pipeline.directory / "run.json")["state"] == "killed"

    resumed = pipeline.stage("pretrain", "k" * 32)
    shipper.ship_run(store, pipeline.directory, client)
    assert runs(client)["pretrain"].info.status == "RUNNING"
    resumed.write("end", status="FINISHED")
    resumed.close()
    mark_dead(store, record["token"])  # what has ended gets no second end
    ends = [e for _, e in read_events(store.partial / f"pretrain-{'k' * 32}" / "_run" / "journal.jsonl")]
    assert [e["status"] for e in ends if e["event"] == "end"] == ["KILLED", "FINISHED"]


def test_a_damaged_cursor_sends_all_again_into_the_same_run(
    store: Store,  # noqa: F811
    client: MlflowClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = Pipeline(store)
    pipeline.journal.metrics({"loss": 1.0}, 1)
    shipper.ship_run(store, pipeline.directory, client)
    (pipeline.directory / shipper.CURSOR).write_text('{"offses": 3}')
    pipeline.end()
    shipper.ship_run(store, pipeline.directory, client)
    assert runs(client)["nightly"].info.status == "FINISHED"
    assert "is damaged: sending all of that journal again" in caplog.text


def test_each_run_that_ended_is_looked_up_once(store: Store) -> None:  # noqa: F811
    for token, record in {
        "1-i": gone("finished", flow_runs=["a"]),
        "2-i": gone("failed", flow_runs=["b"]),
        "3-i": gone("finished"),  # without Prefect
        "4-i": gone("finished", flow_runs=["c"], host="elsewhere"),
        "5-i": gone("running", flow_runs=["d"]),  # it died: that is another matter
        "6-i": {"state": "failed", "flow_runs": ["e"], "host": HOST},  # damaged
    }.items():
        (store.runs / token).mkdir()
        write_json(store.runs / token / "run.json", record)
    untold = untold_runs(run_records(store))
    assert [record["token"] for record in untold] == ["1-i", "2-i"]
    mark_told(store, untold[0])
    write_json(store.runs / "2-i" / "run.json", gone("running", flow_runs=["b", "e"]))  # taken over meanwhile
    mark_told(store, untold[1])
    assert untold_runs(run_records(store)) == []
    assert "told" not in read_json(store.runs / "2-i" / "run.json")


@pytest.mark.parametrize("action", ["skip", "roll_back", "stop"])
def test_a_bad_step_is_journaled_with_what_was_done(tmp_path: Path, action: str) -> None:
    journal = Journal(tmp_path)
    work: Any = SimpleNamespace(journal=journal, directory=tmp_path, progress=None)
    hooks = _hooks(work)
    for _ in range(2):  # a resumed run repeats it
        hooks.on_mishap(7, {"step": 7, "action": action, "what": "a spike", "loss": 9.5, "grad_norm": 3.0})
        hooks.on_mishap(8, {"step": 8, "action": action, "what": "no number", "loss": "nan", "grad_norm": "inf"})
    journal.close()
    events = [e for _, e in read_events(tmp_path / "journal.jsonl")]
    assert [(e["key"], e["step"]) for e in events] == [
        (f"guard/{action}/{name}", step) for step in (7, 8) for name in ("loss", "grad_norm")
    ]
    assert math.isnan(events[2]["value"])
    assert history(tmp_path / "journal.jsonl")[f"guard/{action}/loss"] == [(7, 9.5)]
