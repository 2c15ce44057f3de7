"""Commands that start, stop, back up and restore the servers. Each imports what it needs when it runs."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.cli import printing
from flows.cli.common import app, err, local
from flows.cli.printing import out
from tasks.machine import home


@app.command()
def up(
    stack: Annotated[
        str | None, typer.Option(help="team, local or a YAML file; kept until another is named.", show_default=False)
    ] = None,
) -> None:
    """Start the Prefect server, the MLflow server and a worker, and deploy everything in prefect.yaml."""
    from flows.servers.deploy import up as start_all
    from flows.servers.team import choose

    _say_made_up(choose(stack))
    with err.status("starting servers, workers and deployments"):
        services = start_all()
    printing.show_services(services)
    for pool in pools_without_a_worker():
        err.print(f"[yellow]warning:[/] no worker serves the pool {pool}; {escape(ADVICE)}")
    _send_journals()


@app.command()
def down() -> None:
    """Stop what `up` or `run` started, and nothing else."""
    from flows.servers.processes import STOP_TIMEOUT
    from flows.servers.services import down as stop_all
    from flows.servers.services import log_file

    ended = stop_all()
    out.print(f"stopped: {', '.join(ended)}" if ended else "nothing was running")
    for name, how in ended.items():
        if how == "killed":
            err.print(
                f"[yellow]warning:[/] {name}, or what it had started, did not end within {STOP_TIMEOUT:.0f} s and was "
                f"killed; its log: {log_file(name)}"
            )


@app.command()
def deploy() -> None:
    """Tell a Prefect server of work pools, deployments and automations; starts nothing."""
    from flows.servers import services
    from flows.servers.deploy import register
    from flows.servers.team import choose

    choose(None)
    services.ensure("prefect")
    register()
    out.print(f"deployed on {services.ui_url('prefect')}: work pools {', '.join(services.work_pools())}")


@app.command(
    "prefect", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False
)
def prefect_itself(context: typer.Context) -> None:
    """Prefect's own command line, asking the server that this home uses: `textmill prefect deployment ls`."""
    from flows.servers import services

    home.configure_environment()
    if context.args and not services.is_up("prefect"):
        raise services.ServiceError("no Prefect server answers: `textmill up` starts one")
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *context.args])


@app.command()
def service(name: Annotated[str, typer.Argument(help="prefect, mlflow, worker-cpu-1 ...")]) -> None:
    """Run one service of the stack in the foreground: for containers, systemd and the like."""
    from flows.servers.launch import become

    become(name)


@app.command()
def backup(
    folder: Annotated[
        Path,
        typer.Argument(parser=local, help="A folder to write; an earlier backup there is brought up to date."),
    ],
    objects: Annotated[bool, typer.Option("--objects", help="Also copy artifacts and store.")] = False,
) -> None:
    """Dump the databases of the team's stack, and copy what they speak of; the servers may run."""
    from flows.servers.backup import backup as write

    written = write(folder, objects)
    out.print(f"{folder}: databases {', '.join(written.databases)}; {written.objects} objects copied", markup=False)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `textmill backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Drop what the databases hold now.")] = False,
    stack: Annotated[str | None, typer.Option(help="On an empty machine: its stack, as `up` takes it.")] = None,
) -> None:
    """Put a backup back: databases, and the objects that are missing; Prefect and MLflow must be down."""
    from flows.servers.backup import prepare
    from flows.servers.backup import restore as put_back

    _say_made_up(prepare(folder, stack))
    done = put_back(folder, replace)
    out.print(f"restored: databases {', '.join(done.databases)}; {done.objects} objects copied back")
    out.print("next: textmill up")


def _say_made_up(passwords: list[str]) -> None:
    if passwords:
        out.print(f"made up and written to {home.secrets_path()}: {', '.join(passwords)}", markup=False)


ADVICE = "start one with TEXTMILL_CPU_WORKERS or TEXTMILL_GPU_WORKERS (or set `gpu: null`: all goes to the pool cpu)"


def pools_without_a_worker() -> list[str]:
    """Of a team's pools, those that no live worker of any machine polls: their flow runs would wait."""
    from flows.servers import services

    if not home.team_note().exists():
        return []
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = {pool: client.read_work_pool(pool).status for pool in services.work_pools()}
    mine = {name.split("-")[1] for name in services.names() if name.startswith("worker-")}
    return [pool for pool, status in found.items() if pool not in mine and (status is None or status.value != "READY")]


def _send_journals() -> None:
    """What MLflow could not be sent while it was away."""
    from mlflow import MlflowClient

    from tasks.store import Store
    from tasks.tracking.shipper import ship_all

    ship_all(Store(home.store_path()), MlflowClient())
