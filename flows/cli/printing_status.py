"""What `textmill status` prints for people; its lines are made in flows/servers/status_lines.py."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from flows.cli.printing import out, show_services
from flows.servers.status_lines import Line, amounts, lines_of_runs, lines_of_waiting


def show_status(found: dict[str, Any]) -> None:
    """Servers, what runs, what waits, the last runs with their cost, and the store."""
    show_services(found["services"])
    _show("runs now", ("flow", "run", "since", "at"), lines_of_runs(found, running=True), "nothing")
    prefect = found["prefect"]
    if prefect is None:
        up = found["services"]["prefect"]["running"]
        why = "the Prefect server did not answer in time" if up else "no Prefect server answers"
        out.print(f"\n  waits: {why}, so nothing is known of schedules and approvals")
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


def _show(title: str, head: Line, lines: Sequence[Line], none: str) -> None:
    if not lines:
        out.print(f"\n  {title}: {none}")
        return
    out.print(f"\n  [bold]{title}[/]")
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        out.print(f"    {escape(cells)}" if line is not head else f"    [dim]{escape(cells)}[/]")
