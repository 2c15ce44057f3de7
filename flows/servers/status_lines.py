"""What the status says of each run, as lines of words: for the terminal and for the page in Prefect."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from flows.figures import duration, energy, size, when

Line = tuple[str, ...]


def lines_of_runs(found: Mapping[str, Any], running: bool) -> list[Line]:
    """Of what runs: flow, run, since, at. Of what ran: flow, state, started and what it cost.

    What runs is known from our own records, and from Prefect for other machines.
    """
    if not running:
        return [_ended(run) for run in found["runs"] if run["state"] != "running"]
    prefect = {run["id"]: run for run in (found["prefect"] or {}).get("running", [])}
    for run in found["runs"]:
        if run["state"] != "running":  # it ends at this moment, or died unnoticed
            for id in run["flow_runs"]:
                prefect.pop(id, None)
    lines = []
    for run in found["runs"]:
        if run["state"] != "running":
            continue
        known = [prefect.pop(id) for id in run["flow_runs"] if id in prefect]
        lines.append((run["flow"], run["token"], _ago(run["started"]), _at(run["now"], known)))
    return lines + [
        (run["flow"], run["name"], _ago(run["since"]), run["progress"] or run["state"]) for run in prefect.values()
    ]


def lines_of_waiting(waiting: Sequence[Mapping[str, Any]]) -> list[Line]:
    """flow (and deployment), state, for what it waits, and when it is due, or until when it waits."""
    return [
        (
            "/".join(part for part in (run["flow"], run["deployment"]) if part),
            run["state"],
            run["why"],
            "" if run["at"] is None else ("until " if run["why"].startswith("for a person") else "") + when(run["at"]),
        )
        for run in waiting
    ]


def amounts(cost: Mapping[str, Any]) -> str:
    """Bytes as people read them; - for what is not known."""
    return "-" if cost["bytes"] is None else size(cost["bytes"])


def _ended(run: Mapping[str, Any]) -> Line:
    cost = run["cost"]
    return (
        " ".join(dict.fromkeys([run["flow"], run["name"]])).strip(),
        run["state"],
        when(run["started"]),
        str(cost["built"]),
        str(cost["reused"]),
        duration(run["seconds"]),
        duration(cost["cpu_seconds"]),
        energy(cost["energy_joules"]),
        amounts(cost),
        duration(cost["saved_seconds"]),
    )


def _at(now: Mapping[str, Any] | None, prefect: Sequence[Mapping[str, Any]]) -> str:
    """Where a run is: the progress that Prefect shows, or the stage with its last figures."""
    shown = next((run["progress"] for run in prefect if run["progress"]), "")
    if now is None:
        return shown or "between stages"
    figures = ", ".join(f"{name} {value:.4g}" for name, value in list(now.get("figures", {}).items())[:2])
    step = f"step {now['step']:,}" if now.get("step") else ""
    return shown or " · ".join(part for part in (now["stage"], step, figures) if part)


def _ago(since: float | None) -> str:
    return "-" if since is None else duration(max(0.0, time.time() - since))
