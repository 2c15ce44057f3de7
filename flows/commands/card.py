"""`textmill card`: a model's card, and the same in MLflow's registry."""

from pathlib import Path
from typing import Any

from flows.config.loading import ConfigError
from flows.servers import services
from tasks.card import CARD, CARDED, facts, put_card, write_card
from tasks.finetune import SUMMARY
from tasks.storage.exports import stored
from tasks.storage.files import read_json
from tasks.storage.shared import open_store
from tasks.store import Artifact, Store


def model_card(name: str, register: bool) -> dict[str, Any]:
    """The card of a model, made anew and written into its artifact.

    Args:
        name: an artifact or an alias; of a `finetune_summary` the best run is meant.
        register: renew the card of every version that MLflow has of it.

    Returns:
        `artifact`, `card`, `facts`, and `registered`: names and versions that were renewed.

    Raises:
        StoreError: no such model.
        ConfigError: MLflow does not answer.
    """
    store = open_store()
    model = _best(store, store.resolve(name))
    said = facts(store, model)
    text = put_card(model, said)
    registered = _renew(model, text) if register else []
    name = f"{model.stage}/{model.key}"
    return {"artifact": name, "card": text, "facts": said, "registered": registered}


def card_for_export(folder: Path, out: Path) -> None:
    """Put the card of a model of the store beside what was written of it; a folder from outside has none."""
    here = stored(folder)
    if here is not None and here[1].stage in CARDED:
        (out / CARD).write_text(write_card(*here), encoding="utf-8")


def _best(store: Store, artifact: Artifact) -> Artifact:
    if artifact.stage != "finetune_summary":
        return artifact
    runs = artifact.manifest()["inputs"]["runs"]
    best = runs[read_json(artifact.file(SUMMARY))["best"]]
    return store.checked(f"{best['stage']}/{best['key']}")


def _renew(model: Artifact, text: str) -> list[dict[str, str]]:
    if not services.is_up("mlflow"):
        raise ConfigError("MLflow does not answer: `textmill up` starts it")
    from mlflow import MlflowClient

    from tasks.tracking.registry import describe_versions

    return describe_versions(MlflowClient(), model.key, text)
