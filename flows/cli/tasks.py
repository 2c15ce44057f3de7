"""Commands for labelled sets. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, Overrides, app, overrides, show_result

tasks = typer.Typer(no_args_is_help=True, help="Tasks to tune models on: their labelled sets.")
app.add_typer(tasks, name="task")


@tasks.command()
def check(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/tasks/sst-2.yaml.", show_default=False)],
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Read a task's labelled set and say what is wrong with it: duplicates, leaks, contradictions, labels."""
    from flows.config.task import load_task
    from flows.task_sets import check_task, show_findings

    show_result(check_task(load_task(config, overrides(set_)), quiet=as_json), as_json, show_findings)


@tasks.command("ls")
def list_tasks(as_json: Json = False) -> None:
    """List the tasks that are shipped: name, language, form, metrics, where on the hub."""
    from flows.config.loading import CONFIGS
    from flows.config.task import load_task

    rows = []
    for path in sorted((CONFIGS / "tasks").glob("*.yaml")):
        config = load_task(path)
        where = None if config.hub is None else " ".join(filter(None, (config.hub.id, config.hub.config)))
        rows.append(
            {
                "name": config.name,
                "language": config.language,
                "form": config.ask.form,
                "metrics": config.task().metrics,
                "hub": where,
                "config": str(path),
            }
        )
    show_result(rows, as_json, _show_tasks)


def _show_tasks(rows: list[dict[str, object]]) -> None:
    for row in rows:
        metrics = ", ".join(map(str, row["metrics"]))  # type: ignore[call-overload]
        print(f"{row['name']:<20} {row['language']:<4} {row['form']:<20} {metrics:<28} {row['hub'] or ''}")
