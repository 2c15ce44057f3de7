"""Journals against a real MLflow store (SQLite, in this process), and what happens while it is away."""

import math
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tasks.running.journal import JOURNAL
from tasks.running.progress import Display
from tasks.running.run import Resources, pipeline_run
from tasks.storage.files import read_json
from tasks.store import Store
from tasks.tracking import shipper
from tasks.tracking.mlflow_events import Sender, experiment_id
from tests.asked import Ask
from tests.tasks.conftest import ROOT, is_gone, wait_until
from tests.tasks.journals import Pipeline, points, runs

pytestmark = pytest.mark.heavy


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow's address is a closed port, with the bounds of `configure_environment`."""

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    former = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    yield
    mlflow.set_tracking_uri(former)


def test_a_pipeline_becomes_a_parent_run_with_children(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.write("input", name="corpus", digest="ab" * 32, source="/store/corpus", context="pretrain")
    for step in range(3):
        journal.metrics({"loss": 3.0 - step, "dev/bits per byte (en)": 2.0}, step)
    (store.partial / f"pretrain-{'k' * 32}" / "sample.txt").write_text("Once upon")
    journal.write("file", path="sample.txt", directory="samples")
    journal.write("end", status="FINISHED")
    pipeline.publish("pretrain", "k" * 32)
    pipeline.end()

    assert shipper.ship_run(store, pipeline.directory, client)
    parent, child = runs(client)["nightly"], runs(client)["pretrain"]
    assert parent.data.params == {"seed": "1"}
    assert child.data.params == {"lr": "0.1"}
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["textmill.stage"] == "pretrain"
    assert child.data.tags["textmill.key"] == "k" * 32
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert points(client, child, "loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert points(client, child, "dev/bits per byte _en_") == [(0, 2.0), (1, 2.0), (2, 2.0)]
    (dataset_input,) = child.inputs.dataset_inputs
    assert (dataset_input.dataset.name, dataset_input.dataset.digest) == ("corpus", ("ab" * 32)[:36])
    assert [(tag.key, tag.value) for tag in dataset_input.tags] == [("mlflow.data.context", "pretrain")]
    assert [file.path for file in client.list_artifacts(child.info.run_id, "samples")] == ["samples/sample.txt"]
    assert client.get_experiment_by_name("textmill").tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_training_that_was_killed_has_the_metrics_of_one_that_was_not(
    store: Store, client: MlflowClient, tmp_path: Path, fork_server: Ask
) -> None:
    """Each attempt is another process and another pipeline run, and what it journaled is sent before the next one. The
    other kinds of model: tests/lm/test_kill.py."""
    attempts = {"whole": (None,), "killed": ("step:4", "fsync:3", "step:11", "replace:1", "step:19", None)}
    found = {}
    for key, moments in attempts.items():
        signals = []
        for number, moment in enumerate(moments):
            pipeline = Pipeline(store, f"20260101-{key}-{number}")
            notes = pipeline.stage(key, key * 6)
            notes.close()
            ended = fork_server(
                attempt="gpt",
                folder=str(tmp_path / key),
                journal=str(notes.path.parent),
                moment=moment,
                workers=1 + number % 2 if moments[1:] else 0,
            )
            signals.append(ended["signal"])
            pipeline.end()
            shipper.ship_run(store, pipeline.directory, client)
        assert signals == [9] * (len(moments) - 1) + [0]
        experiment = client.get_experiment_by_name("textmill")
        assert experiment is not None
        [run] = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{key}'")
        names = [name for name in run.data.metrics if not name.endswith("tokens_per_second")]
        history = [(name, step, value) for name in names for step, value in points(client, run, name)]
        points_of = [(name, step) for name, step, _ in history]
        assert len(points_of) == len(set(points_of))
        found[key] = set(history)
    assert {step for name, step, _ in found["whole"] if name == "train/loss"} == set(range(1, 21))
    assert {step for name, step, _ in found["whole"] if name == "valid/bits_per_byte"} == {0, 7, 14, 20}
    assert found["killed"] == found["whole"]


def test_sending_again_changes_nothing(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.write("input", name="corpus", digest="ab", source="/store/corpus", context="pretrain")
    journal.metrics({"loss": 1.0}, 0)
    journal.metrics({"loss": math.nan}, 1)
    shipper.ship_run(store, pipeline.directory, client)
    assert not shipper.ship_run(store, pipeline.directory, client)  # nothing is new
    for directory in (pipeline.directory, journal.path.parent):
        (directory / shipper.CURSOR).unlink()
    assert shipper.ship_run(store, pipeline.directory, client)
    child = runs(client)["pretrain"]
    assert len(points(client, child, "loss")) == 2
    assert len(child.inputs.dataset_inputs) == 1


def test_a_resumed_run_reopens_the_same_runs(store: Store, client: MlflowClient) -> None:
    first = Pipeline(store)
    journal = first.stage("pretrain", "k" * 32)
    journal.metrics({"loss": 1.0}, 0)
    journal.write("end", status="KILLED")
    first.end("KILLED")
    shipper.ship_run(store, first.directory, client)
    before = {name: run.info.run_id for name, run in runs(client).items()}
    assert {run.info.status for run in runs(client).values()} == {"KILLED"}

    second = Pipeline(store)
    journal = second.stage("pretrain", "k" * 32)
    journal.metrics({"loss": 1.5}, 0)  # a repeated step
    journal.metrics({"loss": 0.5}, 1)
    shipper.ship_run(store, second.directory, client)
    assert {run.info.status for run in runs(client).values()} == {"RUNNING"}
    journal.write("end", status="FINISHED")
    second.publish("pretrain", "k" * 32)
    second.end()
    shipper.ship_run(store, second.directory, client)
    assert {name: run.info.run_id for name, run in runs(client).items()} == before
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert points(client, runs(client)["pretrain"], "loss") == [(0, 1.0), (1, 0.5)]


def test_a_resumed_run_that_was_never_sent_shows_as_running(store: Store, client: MlflowClient) -> None:
    Pipeline(store).end("KILLED")
    shipper.ship_run(store, Pipeline(store).directory, client)
    assert runs(client)["nightly"].info.status == "RUNNING"


def test_an_artifact_built_anew_is_a_new_run(store: Store, client: MlflowClient) -> None:
    for token in ("1", "2"):
        pipeline = Pipeline(store, token)
        pipeline.stage("pretrain", "k" * 32).metrics({"loss": 1.0}, 0)
        pipeline.publish("pretrain", "k" * 32)
        pipeline.end()
        shipper.ship_run(store, pipeline.directory, client)
        shutil.rmtree(store.artifacts / "pretrain" / ("k" * 32))
    experiment = client.get_experiment_by_name("textmill")
    children = client.search_runs([experiment.experiment_id], "tags.`textmill.stage` = 'pretrain'")
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 2
    assert [len(points(client, run, "loss")) for run in children] == [1, 1]


def test_many_metrics_go_in_several_requests(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    for step in range(shipper.BATCH + 50):
        journal.metrics({"loss": float(step)}, step)
    shipper.ship_run(store, pipeline.directory, client)
    assert len(points(client, runs(client)["pretrain"], "loss")) == shipper.BATCH + 50


def test_what_mlflow_refuses_does_not_block_the_rest(
    store: Store, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.start(name="pretrain", parent=None, tags={}, params={"lr": 0.2})  # MLflow's params cannot change
    journal.write("hologram", of="a newer version")
    journal.metrics({"loss": 1.0}, 0)
    shipper.ship_run(store, pipeline.directory, client)
    assert points(client, runs(client)["pretrain"], "loss") == [(0, 1.0)]
    assert "MLflow refuses 'start' of kkkkkkkkkkkk, left out:" in caplog.text
    assert "unknown event 'hologram'" in caplog.text


def test_a_new_database_is_told_everything_again(
    store: Store, client: MlflowClient, empty_database: Path, tmp_path: Path
) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.metrics({"loss": 1.0}, 0)
    shipper.ship_run(store, pipeline.directory, client)
    gone = {name: run.info.run_id for name, run in runs(client).items()}

    shutil.copy(empty_database, tmp_path / "new.db")
    new = MlflowClient(f"sqlite:///{tmp_path / 'new.db'}")
    journal.metrics({"loss": 0.5}, 1)
    pipeline.end()
    shipper.ship_all(store, new)
    assert points(new, runs(new)["pretrain"], "loss") == [(0, 1.0), (1, 0.5)]
    assert runs(new)["pretrain"].data.tags["mlflow.parentRunId"] == runs(new)["nightly"].info.run_id
    assert runs(new)["nightly"].info.run_id != gone["nightly"]


def test_a_deleted_experiment_is_restored(store: Store, client: MlflowClient) -> None:
    Pipeline(store, "1").end()
    shipper.ship_all(store, client)
    client.delete_experiment(client.get_experiment_by_name("textmill").experiment_id)
    Pipeline(store, "2").end()
    shipper.ship_all(store, client)
    assert client.get_experiment_by_name("textmill").lifecycle_stage == "active"


def test_the_journal_may_move_while_it_is_sent(
    store: Store, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.metrics({"loss": 1.0}, 0)
    original = Sender.send

    def publish_meanwhile(self: Any, events: list[dict[str, Any]]) -> None:
        original(self, events)
        if self.key == "k" * 32 and list(store.partial.iterdir()):
            pipeline.publish("pretrain", "k" * 32)

    monkeypatch.setattr(Sender, "send", publish_meanwhile)
    shipper.ship_run(store, pipeline.directory, client)
    assert list(store.partial.iterdir()) == []  # no cursor was left where the artifact no longer is
    shipper.ship_run(store, pipeline.directory, client)
    assert points(client, runs(client)["pretrain"], "loss") == [(0, 1.0)]
    moved = store.artifacts / "pretrain" / ("k" * 32) / "_run"
    assert read_json(moved / shipper.CURSOR)["offset"] == (moved / JOURNAL).stat().st_size


def test_an_unreachable_server_costs_a_bounded_wait_and_nothing_is_lost(
    store: Store, client: MlflowClient, tmp_path: Path, unreachable: None
) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.metrics({"loss": 1.0}, 0)
    pipeline.end()
    ended = threading.Event()
    ended.set()
    assert not shipper.follow(store, pipeline.directory, ended, last_attempt_seconds=2.0)
    assert not (pipeline.directory / shipper.CURSOR).exists()
    assert shipper.unsent(pipeline.directory)

    shipper.ship_all(store, client)
    assert points(client, runs(client)["pretrain"], "loss") == [(0, 1.0)]
    assert not shipper.unsent(pipeline.directory)


def test_following_sends_as_events_come_and_the_rest_at_the_end(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    ended, answers = threading.Event(), []
    thread = threading.Thread(target=lambda: answers.append(shipper.follow(store, pipeline.directory, ended)))
    thread.start()
    journal = pipeline.stage("pretrain", "k" * 32)
    journal.metrics({"loss": 1.0}, 0)
    wait_until(lambda: (journal.path.parent / shipper.CURSOR).exists(), "the first event arrives")
    journal.metrics({"loss": 0.5}, 1)
    pipeline.publish("pretrain", "k" * 32)
    pipeline.end()
    ended.set()
    thread.join()
    assert answers == [True]
    assert points(client, runs(client)["pretrain"], "loss") == [(0, 1.0), (1, 0.5)]
    assert runs(client)["nightly"].info.status == "FINISHED"


def test_a_run_that_cannot_be_sent_keeps_no_other(
    store: Store, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipelines = [Pipeline(store, token) for token in ("20260101-stuck", "20260102-later", "20260103-current")]
    journals = [pipeline.stage("pretrain", letter * 32) for letter, pipeline in zip("abc", pipelines, strict=True)]
    journals[0].write("input", name="corpus", digest="ab", source="/store/corpus", context="pretrain")
    for pipeline in pipelines:
        pipeline.end()

    def locked(self: Any, event: dict[str, Any]) -> None:
        raise MlflowException("database is locked")  # may pass: no refusal

    monkeypatch.setattr(Sender, "_input", locked)
    ended = threading.Event()
    ended.set()
    assert shipper.follow(store, pipelines[2].directory, ended, last_attempt_seconds=2.0)
    assert [shipper.unsent(journal.path.parent) for journal in journals] == [True, False, False]
    assert not any(shipper.unsent(pipeline.directory) for pipeline in pipelines)
    assert "MLflow did not take run 20260101-stuck (MlflowException: database is locked)" in caplog.text


def test_a_run_is_sent_before_what_earlier_ones_left(
    store: Store, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("1", "2"):
        Pipeline(store, token).end()
    sent: list[str] = []
    original = shipper.ship_run

    def noted(store: Store, run_directory: Path, client: MlflowClient) -> bool:
        sent.append(run_directory.name)
        return original(store, run_directory, client)

    monkeypatch.setattr(shipper, "ship_run", noted)
    ended = threading.Event()
    ended.set()
    assert shipper.follow(store, store.runs / "2", ended)
    assert list(dict.fromkeys(sent)) == ["2", "1"]


def test_the_shipper_ends_when_its_pipeline_is_killed(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    pipeline.journal.metrics({"loss": 1.0}, 0)
    code = f"""
import os, signal, subprocess, sys
command = [sys.executable, "-m", "tasks.tracking.shipper", {str(store.root)!r}, {str(pipeline.directory)!r}]
child = subprocess.Popen(command, stdin=subprocess.PIPE)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, env=dict(os.environ)
    )
    wait_until(lambda: is_gone(int(parent.stdout)), "the shipper ends after its last attempt")
    assert points(client, runs(client)["nightly"], "loss") == [(0, 1.0)]


def test_two_shippers_of_one_journal_make_one_run(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    pipeline.stage("pretrain", "k" * 32).metrics({"loss": 1.0}, 0)
    experiment_id(client)
    threads = [threading.Thread(target=shipper.ship_run, args=(store, pipeline.directory, client)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(runs(client)) == {"nightly", "pretrain"}


def test_a_run_that_built_nothing_is_sent_in_the_background(store: Store, client: MlflowClient) -> None:
    earlier = Pipeline(store, "20260101-earlier")  # what an outage left; every run here is called nightly
    earlier.end()
    with pipeline_run("again", {}, Resources(), store=store, display=Display(quiet=True)) as run:
        pass
    run.ship_in_background()
    directory = run.directory
    assert directory is not None
    for sent in (directory, earlier.directory):
        wait_until(lambda sent=sent: not shipper.unsent(sent), f"the whole run {sent.name} has arrived")
    found = runs(client)
    assert {name: run.info.status for name, run in found.items()} == {"nightly": "FINISHED", "again": "FINISHED"}
