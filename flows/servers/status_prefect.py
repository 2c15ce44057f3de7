"""What the Prefect server says of now: asked by its REST API, because importing its client takes longer than to ask."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flows.servers import access, services

TIMEOUT_SECONDS = 3.0
RUNNING = ("RUNNING", "PENDING", "CANCELLING")
PAGE = 200  # what Prefect answers with at most
PAGE_KEY = "textmill-status"
"""Of the artifact that flows/servers/status_page.py keeps."""

Row = dict[str, Any]


def prefect_now() -> dict[str, Any] | None:
    """What runs, what waits and what the limits say; None if no server answers.

    Returns:
        running: name, flow, deployment, state, since (seconds since 1970), progress of each flow run.
        waiting: name, flow, deployment, state, why, at (when it is due, or until when it waits) of each run that is
            paused, late or held back, and of each deployment's next one.
        limits: name, slots, taken of the limits of GPUs. page: the address of the same in the Prefect UI, or null.
    """
    address = services.url("prefect")
    if not address:
        return None
    try:
        return _asked(address)
    except (OSError, ValueError, KeyError):  # away, starting, or no Prefect server
        return None


def _asked(address: str) -> dict[str, Any]:
    by_state = {"type": {"any_": [*RUNNING, "PAUSED"]}}
    now = _post(address, "flow_runs/filter", {"flow_runs": {"state": by_state}, "sort": "START_TIME_ASC"})
    scheduled = _scheduled(address)
    runs = [*now, *scheduled]
    flows = _names(address, "flows", {run["flow_id"] for run in runs})
    deployments = _names(address, "deployments", {run["deployment_id"] for run in runs if run["deployment_id"]})
    progress = _progress(address, [run["id"] for run in now])

    def row(run: Row) -> Row:
        return {
            "id": run["id"],
            "name": run["name"],
            "flow": flows.get(run["flow_id"], ""),
            "deployment": deployments.get(run["deployment_id"], ""),
            "state": run["state_name"],
        }

    running = [
        row(run) | {"since": _seconds(run.get("start_time")), "progress": progress.get(run["id"], "")}
        for run in now
        if run["state_type"] != "PAUSED"
    ]
    waiting = [row(run) | _pause(run) for run in now if run["state_type"] == "PAUSED"]
    waiting += [row(run) | _due(run) for run in _next(scheduled)]
    limits = [
        {"name": limit["name"], "slots": limit["limit"], "taken": limit["active_slots"]}
        for limit in _post(address, "v2/concurrency_limits/filter", {"limit": 200})
        if limit["name"].startswith("textmill-")
    ]
    pages = _post(address, "artifacts/latest/filter", {"artifacts": {"key": {"any_": [PAGE_KEY]}}})
    page = f"{services.ui_url('prefect')}/artifacts/artifact/{pages[0]['latest_id']}" if pages else None
    return {"running": running, "waiting": waiting, "limits": limits, "page": page}


def _scheduled(address: str) -> list[Row]:
    """All that is due some time, soonest first: a schedule of every minute alone has a hundred runs ahead."""
    found: list[Row] = []
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "sort": "EXPECTED_START_TIME_ASC"}
    while True:
        more = _post(address, "flow_runs/filter", {**wanted, "limit": PAGE, "offset": len(found)})
        found += more
        if len(more) < PAGE:
            return found


def _pause(run: Row) -> Row:
    until = (run["state"]["state_details"] or {}).get("pause_timeout")
    return {"why": "for a person: resume it in the Prefect UI", "at": _seconds(until)}


def _due(run: Row) -> Row:
    why = {
        "Late": "for a worker: it is late",
        "AwaitingConcurrencySlot": "for a run before it to end",
        "AwaitingRetry": "for its next try",
        "Resuming": "for a worker: it is resumed",
    }
    return {"why": why.get(run["state_name"], "for its time"), "at": _seconds(run["expected_start_time"])}


def _next(scheduled: list[Row]) -> list[Row]:
    """Without the later ones of a deployment that are only scheduled."""
    found, seen = [], set()
    for run in scheduled:
        if run["state_name"] == "Scheduled" and run["deployment_id"]:
            if run["deployment_id"] in seen:
                continue
            seen.add(run["deployment_id"])
        found.append(run)
    return found


def _names(address: str, kind: str, ids: set[str]) -> dict[str, str]:
    if not ids:
        return {}
    return {
        each["id"]: each["name"] for each in _post(address, f"{kind}/filter", {kind: {"id": {"any_": sorted(ids)}}})
    }


def _progress(address: str, ids: list[str]) -> dict[str, str]:
    """Of each flow run what the progress artifact says that was updated last."""
    if not ids:
        return {}
    asked = {"artifacts": {"type": {"any_": ["progress"]}, "flow_run_id": {"any_": ids}}, "sort": "UPDATED_DESC"}
    found: dict[str, str] = {}
    for artifact in _post(address, "artifacts/filter", asked):
        if not str(artifact["description"] or "").endswith(": done"):
            found.setdefault(artifact["flow_run_id"], artifact["description"] or "")
    return found


def _post(address: str, path: str, body: Mapping[str, Any]) -> list[Row]:
    status, content = access.ask("prefect", address, f"/{path}", json.dumps(body).encode(), TIMEOUT_SECONDS)
    found = json.loads(content) if status == 200 else None
    if not isinstance(found, list):
        raise ValueError(f"{path} answers {status}, and no list")
    return found


def _seconds(written: str | None) -> float | None:
    if written is None:
        return None
    moment = datetime.fromisoformat(written.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
