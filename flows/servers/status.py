"""What runs, what waits, what was reused, what it cost: from our own records, and from a Prefect server."""

from pathlib import Path
from typing import Any

from flows.servers import services
from flows.servers.status_prefect import prefect_now
from tasks.machine import home
from tasks.running.cost import run_cost, store_size
from tasks.running.heartbeat import is_alive, read_run, worked_seconds
from tasks.running.journal import read_events, read_notes
from tasks.store import RUN_DIRECTORY, Store

SHOWN_RUNS = 10
TAIL_BYTES = 8192


def status(with_services: bool = True) -> dict[str, Any]:
    """Everything that `textmill status` shows. Imports neither Prefect nor MLflow.

    Returns:
        home. services (left out without `with_services`: they are asked one by one). store: path, artifacts, bytes.
        runs: of the newest, newest first: token, flow, state ("dead": its process is gone), host, started, seconds (of
        all its processes, without the pauses between them), stages, cost (tasks/running/cost.py), and of one that runs
        `now`: stage, seconds and last figures.
        prefect: what `prefect_now` says; null without a server.
    """
    store = Store(home.store_path())
    found: dict[str, Any] = {"home": str(home.home())}
    home.configure_environment()
    answers = True
    if with_services:
        found["services"] = services.status()
        answers = bool(found["services"]["prefect"]["running"])  # else another home's may have the port
    return found | {
        "prefect": prefect_now() if answers else None,
        "runs": [_run(store, directory, record) for directory, record in _newest(store)],
        "store": {"path": str(store.root), **store_size(store)},
    }


def _newest(store: Store) -> list[tuple[Path, dict[str, Any]]]:
    """Directories and records of the newest runs, newest first; without a record that is damaged or not there yet."""
    folders = (path for path in sorted(store.runs.iterdir(), reverse=True) if path.is_dir())
    runs = [(path, record) for path in folders if (record := read_run(path))]
    # one that was begun long ago and still runs, or was taken over, is shown too
    return [run for at, run in enumerate(runs) if at < SHOWN_RUNS or is_alive(run[1])]


def _run(store: Store, directory: Path, record: dict[str, Any]) -> dict[str, Any]:
    alive = is_alive(record)
    state = "dead" if record["state"] == "running" and not alive else record["state"]
    events = list(read_notes(directory))
    cost = None if alive else record.get("cost")  # of a run that was killed nobody wrote it down
    return {
        "token": directory.name,
        "flow": record["flow"],
        "name": str(record.get("config", {}).get("name", "")),
        "state": state,
        "host": record["host"],
        "flow_runs": record["flow_runs"],
        "started": record["started"],
        "seconds": worked_seconds(record),
        "stages": len({event["key"] for event in events}),
        "cost": cost or run_cost(store, events),
        "now": _now(store, events) if alive else None,
    }


def _now(store: Store, events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The stage that was begun last and is not done, since when (seconds since 1970), and its newest metrics."""
    done = {event["key"] for event in events if event["state"] != "started"}
    begun = [event for event in events if event["state"] == "started" and event["key"] not in done]
    if not begun:
        return None
    stage, key = begun[-1]["stage"], begun[-1]["key"]
    journal = store.partial / f"{stage}-{key}" / RUN_DIRECTORY / "journal.jsonl"
    return {"stage": stage, "key": key, "since": begun[-1].get("time"), **_last_metrics(journal)}


def _last_metrics(journal: Path) -> dict[str, Any]:
    """`step` and `figures` of the end of a journal, without those of the machine."""
    try:
        size = journal.stat().st_size
    except FileNotFoundError:
        return {}
    figures: dict[str, float] = {}
    step = None
    for _, event in read_events(journal, _line_after(journal, max(0, size - TAIL_BYTES))):
        if event["event"] == "metric" and not event["key"].startswith("system/"):
            figures[event["key"]], step = event["value"], event["step"]
    return {"step": step, "figures": figures}


def _line_after(path: Path, offset: int) -> int:
    """The offset of the first line that begins at `offset` or later."""
    if offset == 0:
        return 0
    with path.open("rb") as handle:
        handle.seek(offset)
        handle.readline()
        return handle.tell()
