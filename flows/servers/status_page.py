"""The status as a page of the Prefect UI, an artifact in markdown that every flow run brings up to date."""

import logging
from collections.abc import Sequence
from typing import Any

from flows.servers.status import status
from flows.servers.status_lines import amounts, lines_of_runs, lines_of_waiting
from flows.servers.status_prefect import PAGE_KEY
from tasks.running.prefect_text import cell

logger = logging.getLogger("textmill.status")


def publish_status() -> None:
    """Show the status as it is now; a server that does not take it is none of the flow's business."""
    try:
        found = status(with_services=False)
        if found["prefect"] is None:  # Prefect's client would try for long
            logger.warning("no Prefect server answers: its page of the status stays as it is")
            return
        _publish(markdown(found))
    except Exception as error:  # noqa: BLE001
        logger.warning("Prefect did not take the status (%s)", type(error).__name__)


def _publish(text: str) -> None:
    """One artifact that is changed in place: its address stays, and the database does not grow."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
    from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

    with get_client(sync_client=True) as client:
        wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[PAGE_KEY]))
        found = client.read_latest_artifacts(artifact_filter=wanted)
        if found:
            client.update_artifact(found[0].latest_id, ArtifactUpdate(data=text))
        else:
            about = "What runs, what waits, what was reused, what it cost"
            client.create_artifact(ArtifactCreate(key=PAGE_KEY, type="markdown", data=text, description=about))


def markdown(found: dict[str, Any]) -> str:
    """What `textmill status` prints, as tables."""
    prefect = found["prefect"] or {"running": [], "waiting": [], "limits": []}
    store = found["store"]
    parts = [
        "## Runs now",
        _table(("flow", "run", "since", "at"), lines_of_runs(found, running=True)) or "Nothing runs.",
        "## Waits",
        _table(("flow", "state", "waits", "when"), lines_of_waiting(prefect["waiting"])) or "Nothing waits.",
        "## Last runs: what was reused, what it cost",
        _table(
            ("flow", "state", "started", "built", "reused", "time", "CPU", "energy", "stored", "spared"),
            lines_of_runs(found, running=False),
        )
        or "Nothing has run.",
    ]
    if prefect["limits"]:
        rows = [(each["name"], f"{each['taken']:g} of {each['slots']}") for each in prefect["limits"]]
        parts += ["## Limits", _table(("limit", "taken"), rows)]
    total = amounts(store)
    parts.append(f"The store holds {store['artifacts']:,} artifacts, {total}, in `{store['path']}`.")
    return "\n\n".join(parts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A markdown table; empty without rows. What is markup in a cell is escaped."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


def _cell(text: str) -> str:
    shown: str = cell(text.replace("\\", "&#92;"))  # one of the text's own would undo the escape of what follows
    return shown.replace("|", "&#124;")
