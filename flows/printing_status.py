"""What `textmill status` prints for people, and the same lines for the page in Prefect."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from flows.printing import out, show_services, size, when

Line = tuple[str, ...]


def show_status(found: dict[str, Any]) -> None:
    """Servers, what runs, what waits, the last runs with their cost, and the store."""
    show_services(found["services"])
    _show("runs now", ("flow", "run", "since", "at"), lines_of_runs(found, running=True), "nothing")
    prefect = found["prefect"]
    if prefect is None:
        out.print("\n  waits: no Prefect server answers, so nothing is known of schedules and approvals")
    else:
        _show("waits", ("flow", "state", "waits", "when"), lines_of_waiting(prefect["waiting"]), "nothing")
        for limit in prefect["limits"]:
            out.print(f"\n  {limit['name']}: {limit['taken']:g} of {limit['slots']} taken", markup=False)
        if prefect["page"]:
            out.print(f"\n  in the Prefect UI: {prefect['page']}", markup=False)
    head = ("flow", "state", "started", "built", "reused", "time", "CPU", "energy", "stored", "spared")
    _show("last runs", head, lines_of_runs(found, running=False), "none")
    store = found["store"]
    out.print(f"\n  {store['artifacts']:,} artifacts, {amounts(store)} in {store['path']}", markup=False)


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


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min, 2.5 h; - for what is not known."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def energy(joules: float | None) -> str:
    """Watt-hours; - where the machine does not count."""
    return "-" if joules is None else f"{joules / 3600:.1f} Wh"


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


def _show(title: str, head: Line, lines: Sequence[Line], none: str) -> None:
    if not lines:
        out.print(f"\n  {title}: {none}")
        return
    out.print(f"\n  [bold]{title}[/]")
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        out.print(f"    {escape(cells)}" if line is not head else f"    [dim]{escape(cells)}[/]")
