"""A journal's events (tasks/running/journal.py) as calls of MLflow's client."""

import itertools
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.tracking.registry import register_reference, register_served, retire

logger = logging.getLogger("textmill.shipper")

EXPERIMENT = "textmill"
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "PERMISSION_DENIED")


class Sender:
    """Translates journal events of one MLflow run into client calls."""

    def __init__(self, client: Any, run_id: str | None, key: str, parent_id: str | None, uploads: Path) -> None:
        self.client = client
        self.run_id = run_id
        self.key = key
        self.parent_id = parent_id
        self.uploads = uploads

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send events in their order, metrics that follow each other in one request.

        What the server refuses as such (not: cannot take now) is logged and left out; it would be refused for ever.
        """
        from mlflow.exceptions import MlflowException

        for kind, group in itertools.groupby(events, key=lambda event: event["event"]):
            for send, arguments in self._requests(kind, list(group)):
                try:
                    send(arguments)
                except MlflowException as error:
                    if error.error_code not in REFUSALS:
                        raise
                    logger.error("MLflow refuses %r of %s, left out: %s", kind, self.key[:12], error.message)

    def _requests(self, kind: str, events: list[dict[str, Any]]) -> Iterator[tuple[Callable[[Any], None], Any]]:
        if kind == "metric":
            yield self._metrics, events
            return
        senders: dict[str, Callable[[Any], None]] = {
            "start": self._start,
            "input": self._input,
            "file": self._file,
            "model": self._model,
            "serve": self._serve,
            "retire": self._retire,
            "end": self._end,
        }
        for event in events:
            if kind in senders:
                yield senders[kind], event
            else:
                logger.error("unknown event %r in the journal of %s: written by a newer version?", kind, self.key[:12])

    def _metrics(self, events: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(allowed_name(e["key"]), e["value"], e["time"], e["step"]) for e in events]
        self.client.log_batch(self.run_id, metrics=metrics)

    def _start(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Param, RunTag

        if self.run_id is None:
            self.run_id = self._find(event) or self._create(event)
        self.client.update_run(self.run_id, status="RUNNING")
        tags = [RunTag(key, str(value)) for key, value in event["tags"].items()]
        params = [Param(allowed_name(key), str(value)[:6000]) for key, value in event["params"].items()]
        for start in range(0, max(len(params), 1), 100):
            self.client.log_batch(self.run_id, params=params[start : start + 100], tags=tags)

    def _find(self, event: dict[str, Any]) -> str | None:
        """The run made for this journal by a shipper that was killed before it could move the cursor."""
        found = self.client.search_runs(
            [experiment_id(self.client)], f"tags.`textmill.journal` = '{event['journal']}'", max_results=1
        )
        return found[0].info.run_id if found else None

    def _create(self, event: dict[str, Any]) -> str:
        tags = {"textmill.key": self.key, "textmill.journal": event["journal"]}
        if self.parent_id is not None:
            tags["mlflow.parentRunId"] = self.parent_id
        run = self.client.create_run(experiment_id(self.client), tags=tags, run_name=event["name"])
        return str(run.info.run_id)

    def _input(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name=event["name"], digest=event["digest"][:36], source_type="local", source=event["source"])
        tag = InputTag("mlflow.data.context", event["context"])
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])

    def _file(self, event: dict[str, Any]) -> None:
        path = self.uploads / event["path"]
        if not path.resolve().is_relative_to(self.uploads.resolve()):  # a journal may come from a shared store
            logger.error("%s is not a file of its artifact and was not uploaded", path)
        elif path.exists():
            self.client.log_artifact(self.run_id, str(path), event["directory"] or None)
        else:
            logger.warning("%s was collected before it could be uploaded", path)

    def _model(self, event: dict[str, Any]) -> None:
        assert self.run_id is not None
        register_reference(self.client, self.run_id, experiment_id(self.client), event)

    def _serve(self, event: dict[str, Any]) -> None:
        assert self.run_id is not None
        register_served(self.client, self.run_id, experiment_id(self.client), event)

    def _retire(self, event: dict[str, Any]) -> None:
        retire(self.client, {**event, "experiment": EXPERIMENT})

    def _end(self, event: dict[str, Any]) -> None:
        self.client.set_terminated(self.run_id, status=event["status"])


def experiment_id(client: Any) -> str:
    """The experiment of all runs of ours; made when it is missing, taken back when it was deleted."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":  # its name stays taken
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)
    return str(client.create_experiment(EXPERIMENT, tags={"mlflow.experimentKind": "custom_model_development"}))


def allowed_name(name: str) -> str:
    """A metric's or parameter's name with what MLflow does not allow in one replaced by `_`."""
    return re.sub(r"[^\w.\- :/]", "_", name)[:250]
