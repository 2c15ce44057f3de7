"""The status as markdown in the Prefect UI (Artifacts, `textmill-status`), brought up to date by every flow run."""

import logging
from collections.abc import Sequence
from typing import Any

from flows.printing_status import amounts, lines_of_runs, lines_of_waiting
from flows.status import status

logger = logging.getLogger("textmill.status")

KEY = "textmill-status"


def publish_status() -> None:
    """Show the status as it is now; a server that does not take it is none of the flow's business."""
    try:
        from prefect.artifacts import create_markdown_artifact

        create_markdown_artifact(
            markdown(status(with_services=False)), key=KEY, description="What runs, waits and cost"
        )
    except Exception as error:  # noqa: BLE001
        logger.warning("Prefect did not take the status (%s)", type(error).__name__)


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
    """A markdown table; empty without rows. A cell is text: what is markup there is escaped."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


def _cell(text: str) -> str:
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("\n", " ")):
        text = text.replace(sign, written)
    return text
