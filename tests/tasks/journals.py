"""Pipelines as their journals show them, and what MLflow was told: for tests of the shipper and of the registry."""

import json

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from tasks.running.journal import Journal
from tasks.store import Store

EMPTY_MANIFEST = {"inputs": {}, "parts": [], "shards": [], "counts": {}}


class Pipeline:
    """A pipeline run as its journals show it: a parent and stages."""

    def __init__(self, store: Store, token: str = "20260101-run") -> None:
        self.store = store
        self.directory = store.runs / token
        self.directory.mkdir(exist_ok=True)
        self.journal = Journal(self.directory)
        self.journal.start(name="nightly", parent=None, tags={"textmill.flow": "pipeline"}, params={"seed": 1})

    def stage(self, stage: str, key: str) -> Journal:
        """The journal of a stage that begins or goes on."""
        with (self.directory / "stages.jsonl").open("a") as handle:
            handle.write(json.dumps({"stage": stage, "key": key, "state": "started"}) + "\n")
        journal = Journal(self.store.partial_directory(stage, key) / "_run")
        journal.start(name=stage, parent=self.directory.name, tags={"textmill.stage": stage}, params={"lr": 0.1})
        return journal

    def publish(self, stage: str, key: str) -> None:
        """The stage is done: its directory moves."""
        self.store.publish(self.store.partial_directory(stage, key), {"stage": stage, "key": key, **EMPTY_MANIFEST})

    def end(self, status: str = "FINISHED") -> None:
        """The pipeline is done."""
        self.journal.write("end", status=status)
        self.journal.close()


def runs(client: MlflowClient) -> dict[str, MlflowRun]:
    """All runs by name."""
    experiment = client.get_experiment_by_name("textmill")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def points(client: MlflowClient, run: MlflowRun, key: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
