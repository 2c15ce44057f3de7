"""Models in MLflow's registry: by reference to an artifact, or uploaded so that MLflow serves them."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

logger = logging.getLogger("textmill.shipper")

DEV = "textmill.dev."
"""Before the names of those tags of a version that say what it reached on dev."""


def register_reference(client: Any, run_id: str, experiment_id: str, event: dict[str, Any]) -> None:
    """Register where a model lies (an event `model`, tasks/journal.py); the alias moves to it."""
    import mlflow

    version = registered_version(client, run_id, event["name"])
    if version is None:
        model = mlflow.create_external_model(
            name=event["name"],
            source_run_id=run_id,
            experiment_id=experiment_id,
            tags={"textmill.key": event["key"], "textmill.path": event["path"]},
            params={key: str(value) for key, value in event["params"].items()},
        )
        version = mlflow.register_model(f"models:/{model.model_id}", event["name"]).version
    client.set_registered_model_alias(event["name"], event["alias"], version)


def register_served(client: Any, run_id: str, experiment_id: str, event: dict[str, Any]) -> None:
    """Upload a fine-tuned model as one that MLflow can serve, and register it (an event `serve`). The alias moves to it
    unless a better one has it."""
    import mlflow

    from tasks.servable import servable

    version = registered_version(client, run_id, event["name"])
    if version is None:
        try:
            arguments = servable(Path(event["path"]))
        except (OSError, ValueError) as error:
            logger.warning("cannot be registered to be served: %s", error)  # collected meanwhile
            return
        model_id = uploaded(client, run_id, experiment_id, event, arguments)
        version = str(mlflow.register_model(f"models:/{model_id}", event["name"]).version)
    dev = {DEV + name: str(value) for name, value in event.get("dev", {}).items()}
    for tag, value in {"textmill.key": event["key"], **dev}.items():
        client.set_model_version_tag(event["name"], version, tag, value)
    if is_best(client, event["name"], event["alias"], dev):
        client.set_registered_model_alias(event["name"], event["alias"], version)


def uploaded(client: Any, run_id: str, experiment_id: str, event: dict[str, Any], arguments: dict[str, Any]) -> str:
    """The id of the run's model once its files are with MLflow; an upload that was cut off is gone on with.

    As `mlflow.pyfunc.log_model` does it, which makes a new model each time, and in the experiment `Default`.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput

    begun = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    model = begun[0] if begun else client.create_logged_model(
        experiment_id,
        name="model",
        source_run_id=run_id,
        tags={"textmill.key": event["key"], "textmill.path": event["path"]},
        params=client.get_run(run_id).data.params,
    )  # fmt: skip
    described = mlflow.models.Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id)
    with TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(f"{folder}/model", mlflow_model=described, **arguments)
        client.log_model_artifacts(model.model_id, f"{folder}/model")
    client.finalize_logged_model(model.model_id, "READY")
    outputs = client.get_run(run_id).outputs
    if model.model_id not in [each.model_id for each in (outputs.model_outputs if outputs else ())]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def is_best(client: Any, name: str, alias: str, dev: dict[str, str]) -> bool:
    """Whether no better version has the alias. One that was asked other dev examples, or for another metric, is not
    better: then the newest has it."""
    holder = client.get_registered_model(name).aliases.get(alias)
    if holder is None:
        return True
    its = client.get_model_version(name, str(holder)).tags
    if not dev or any(its.get(DEV + what) != dev[DEV + what] for what in ("examples", "metric")):
        return True
    return float(dev[DEV + "mean"]) >= float(its[DEV + "mean"])


def registered_version(client: Any, run_id: str, name: str) -> str | None:
    """The version already registered for a run, so that a repeated event registers nothing twice."""
    versions = client.search_model_versions(f"name = '{name}'")
    return next((str(each.version) for each in versions if each.run_id == run_id), None)
