"""Cards for the models that a run registered: sent to MLflow once the run has ended."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.running.journal import JOURNAL, read_events
from tasks.storage.files import read_json, write_json
from tasks.store import Store, StoreError
from tasks.tracking.registry import describe_version, registered_version

logger = logging.getLogger("textmill.shipper")

DESCRIBED = "described.json"  # of a run: up to where its journal had come when its models got their cards


def describe_run(store: Store, run_directory: Path, children: Iterable[tuple[Path, str | None]], client: Any) -> None:
    """Give the models of a run that has ended their cards: only now was all asked of them that the run asks.

    What was described so is not described again until the run goes on.

    Args:
        children: the journal directory of every stage that the run built, and its MLflow run.
    """
    ends = [offset for offset, event in read_events(run_directory / JOURNAL) if event["event"] == "end"]
    noted = run_directory / DESCRIBED
    if not ends or (noted.exists() and read_json(noted)["offset"] == ends[-1]):
        return
    for directory, run_id in children:
        for _, event in read_events(directory / JOURNAL):
            if event["event"] in ("model", "serve") and run_id is not None:
                _describe(store, event, run_id, client)
    write_json(noted, {"offset": ends[-1]})


def _describe(store: Store, event: dict[str, Any], run_id: str, client: Any) -> None:
    from tasks.card import write_card

    version = registered_version(client, run_id, event["name"])
    path = Path(event["path"])
    model = store.find(path.parent.name, path.name)
    if version is None or model is None:
        return  # refused, or collected meanwhile
    try:
        card = write_card(store, model)
    except (OSError, ValueError, KeyError, StoreError) as error:
        logger.warning("%s has no card (%s: %s)", model.name, type(error).__name__, error)
        return
    describe_version(client, event["name"], version, run_id, card)
