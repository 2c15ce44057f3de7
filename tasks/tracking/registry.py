"""Models in MLflow's registry: by reference to an artifact, or uploaded so that MLflow serves them."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

logger = logging.getLogger("textmill.shipper")

DEV = "textmill.dev."
"""Before the names of those tags of a version that say what it reached on dev."""
KEY = "textmill.key"
"""The tag that names the artifact of a version, of a logged model and, of a run, that of its stage."""
RETIRED = "textmill.retired"
"""The tag that says why a version, or a run, is not to be used any more."""


def register_reference(client: Any, run_id: str, experiment_id: str, event: dict[str, Any]) -> None:
    """Register where a model lies (an event `model`, tasks/running/journal.py); the alias moves to it."""
    import mlflow

    version = registered_version(client, run_id, event["name"])
    if version is None:
        model = mlflow.create_external_model(
            name=event["name"],
            source_run_id=run_id,
            experiment_id=experiment_id,
            tags={KEY: event["key"], "textmill.path": event["path"]},
            params={key: str(value) for key, value in event["params"].items()},
        )
        version = mlflow.register_model(f"models:/{model.model_id}", event["name"]).version
    client.set_model_version_tag(event["name"], str(version), KEY, event["key"])
    client.set_registered_model_alias(event["name"], event["alias"], version)


def register_served(client: Any, run_id: str, experiment_id: str, event: dict[str, Any]) -> None:
    """Upload a fine-tuned model as one that MLflow can serve, and register it (an event `serve`). The alias moves to it
    unless a better one has it."""
    import mlflow

    from tasks.tracking.servable import servable

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
    for tag, value in {KEY: event["key"], **dev}.items():
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
        tags={KEY: event["key"], "textmill.path": event["path"]},
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


def retire(client: Any, event: dict[str, Any]) -> None:
    """Take all aliases from the versions of some artifacts (an event `retire`), and tag them and their runs; what an
    alias names from then on is another version, or nothing."""
    keys = set(event["keys"])
    for name in event["names"]:
        for version in client.search_model_versions(f"name = '{name}'", max_results=10_000):
            if _key_of(client, version) not in keys:
                continue
            for alias, holder in client.get_registered_model(name).aliases.items():
                if str(holder) == str(version.version):
                    client.delete_registered_model_alias(name, alias)
            client.set_model_version_tag(name, str(version.version), RETIRED, event["why"])
    experiment = client.get_experiment_by_name(event["experiment"])
    for key in event["keys"] if experiment is not None else ():
        for run in client.search_runs([experiment.experiment_id], f"tags.`{KEY}` = '{key}'"):
            client.set_tag(run.info.run_id, RETIRED, event["why"])


def retired_versions(client: Any, names: list[str]) -> list[dict[str, str]]:
    """The versions of registered models that were retired: name, version, and where their files are."""
    return [
        {"name": name, "version": str(version.version), "source": str(version.source)}
        for name in names
        for version in client.search_model_versions(f"name = '{name}'", max_results=10_000)
        if RETIRED in version.tags
    ]


def _key_of(client: Any, version: Any) -> str | None:
    """The artifact of a version; those that an earlier version registered say it by their logged model."""
    if KEY in version.tags or not version.model_id:
        return version.tags.get(KEY)
    return client.get_logged_model(version.model_id).tags.get(KEY)


def describe_version(client: Any, name: str, version: str, run_id: str, card: str) -> None:
    """Make a model's card the description of a version, as much of it as goes in, and an artifact of its run."""
    from tasks.cards.page import described

    client.update_model_version(name, version, description=described(card))
    client.log_text(run_id, card, "card/README.md")


def describe_versions(client: Any, key: str, card: str) -> list[dict[str, str]]:
    """The same for every version of an artifact, whatever its name; returns names and versions."""
    found = []
    for model in client.search_registered_models(max_results=1_000):
        for version in client.search_model_versions(f"name = '{model.name}'", max_results=10_000):
            if _key_of(client, version) == key:
                describe_version(client, model.name, str(version.version), version.run_id, card)
                found.append({"name": model.name, "version": str(version.version)})
    return found
