"""The background services of this home: a Prefect server, an MLflow server and a process worker; in a team's home
(flows/servers/team.py) PostgreSQL behind them, and the workers of each pool.

Each is a plain child process in a session of its own, with a log and a pid file under
`<home>/services/`. A pid file also holds the start time of its process, so that a process that got the
pid later is never taken for ours. Servers listen on 127.0.0.1, unless a team's stack says otherwise.

A server whose address the user has set (PREFECT_API_URL, MLFLOW_TRACKING_URI) is used, never started or
stopped. Nothing here imports Prefect or MLflow: `ensure()` belongs before those imports.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psutil

from flows.config.addresses import shown
from flows.servers import access, postgres
from flows.servers.launch import LOCAL_POOL, fingerprint, launch
from flows.servers.pid_files import ServiceError as ServiceError
from flows.servers.pid_files import rank, read_record, recorded, remove_record, write_record
from flows.servers.processes import Ended, Record, end_trees, listens, tree_rss
from flows.servers.team import SERVERS as _URL_VARIABLE
from flows.servers.team import read_team
from tasks.machine import home
from tasks.machine.host import started

SERVERS = ("prefect", "mlflow")
SERVICES = (*SERVERS, "worker")
"""Of the local stack."""

START_TIMEOUT = 180.0
"""Seconds for a server to answer; a new database on two busy cores takes up to 40."""

_OWN_CHILDREN: list[subprocess.Popen[bytes]] = []  # kept, or their deletion would warn that they still run


def ensure(*services: str, wait: bool = True, timeout: float = START_TIMEOUT) -> None:
    """Start what does not answer of the named services, all at once.

    Args:
        services: of `names()`; the two servers if none is named.
        wait: return only when every one answers. Without it a server may still be starting.
        timeout: seconds to wait for one service.

    Raises:
        ServiceError: a service ended, or did not answer in time, or an address that the user has set
            does not answer, or refuses the password.
    """
    home.configure_environment()
    wanted = [name for name in services or SERVERS if name != "postgres"]
    if any(name in SERVERS and is_ours(name) for name in wanted) and "postgres" in names():
        ensure_database(timeout)
    for name in wanted:
        if is_ours(name):
            _start_if_needed(name)
        elif wait:
            _check_external(name)
    if wait:
        for name in filter(is_ours, wanted):
            _wait_until_up(name, timeout)


def ensure_database(timeout: float = START_TIMEOUT) -> None:
    """Start a team's PostgreSQL unless it is another's, and create the databases. Raises ServiceError."""
    if is_ours("postgres"):
        _start_if_needed("postgres")
        _wait_until_up("postgres", timeout)
    postgres.create_databases(url("postgres"))


def down(*services: str) -> dict[str, Ended]:
    """End every service that this home has started (or those named), and its children: all workers at once, whose flow
    runs still report to the servers, then these, then PostgreSQL. Each of the three takes `END_SECONDS` at most.

    Returns:
        Those that ran: whether each ended when it was asked or had to be killed.

    Raises:
        ServiceError: a process stays even so; its pid file is kept.
    """
    ended: dict[str, Ended] = {}
    with _start_lock():
        ranks: dict[int, list[str]] = {}
        for name in services or recorded():
            ranks.setdefault(rank(name), []).append(name)
        for _, names in sorted(ranks.items()):
            records = {name: read_record(name) for name in names}
            processes = {name: record.process() for name, record in records.items() if record}
            running = [(name, process) for name, process in processes.items() if process is not None]
            ended |= _end(running)
            for name in names:
                if ended.get(name) != "stays":
                    remove_record(name)
    _check_gone(ended)
    return ended


def end_others() -> dict[str, Ended]:
    """End what an earlier `up` of this home started and its stack does not have now: a pool's worker, or all."""
    others = [name for name in recorded() if name not in names()]
    return down(*others) if others else {}


def names() -> tuple[str, ...]:
    """The services of this home's stack, in the order in which they start."""
    team = read_team()
    return SERVICES if team is None else team.services()


def work_pools() -> tuple[str, ...]:
    """The work pools of this home's stack."""
    team = read_team()
    return (LOCAL_POOL,) if team is None else tuple(team.config.pools())


def status() -> dict[str, dict[str, object]]:
    """For each service: `state`, `running` (it can be used), `url`, `pid`, `rss_bytes` (whole tree) and `log`.

    The state is "running", "starting" (the process lives but does not answer yet), "stopped", or, for an
    address that the user has set, "external" or "unreachable".
    """
    home.configure_environment()
    return {name: _status_of(name) for name in names()}


def is_up(service: str) -> bool:
    """Whether a service can be used now: one of ours that runs, or one that the user named and that answers."""
    home.configure_environment()
    return bool(_status_of(service)["running"])


def url(service: str) -> str:
    """The address of a service in the environment ("" for a worker, which has none)."""
    if service == "postgres":
        team = read_team()
        return team.postgres_url() if team else ""
    return os.environ.get(_URL_VARIABLE.get(service, ""), "")


def ui_url(service: str) -> str:
    """The address to open in a browser, as it may be shown."""
    return shown(url(service)).removesuffix("/api")


def log_file(service: str) -> Path:
    """Where a service's output goes."""
    return home.services_path() / f"{service}.log"


def _status_of(name: str) -> dict[str, object]:
    record = read_record(name)
    process = record.process() if record else None
    if not is_ours(name):
        state = "external" if access.answers(name, url(name)) else "unreachable"
    elif process is None:
        state = "stopped"
    else:
        state = "running" if access.answers(name, url(name)) else "starting"
    return {
        "state": state,
        "running": state in ("running", "external"),
        "url": ui_url(name) or None,
        "pid": process.pid if process else None,
        "rss_bytes": tree_rss(process) if process else None,
        "log": str(log_file(name)),
    }


def is_ours(name: str) -> bool:
    """Whether this home starts a service; if not, the user has named one that runs elsewhere."""
    if name == "postgres":
        team = read_team()
        return team is not None and team.config.postgres.url is None
    return name not in _URL_VARIABLE or home.is_managed(_URL_VARIABLE[name])


def _check_external(name: str) -> None:
    if not access.answers(name, url(name)):
        raise ServiceError(
            f"{_URL_VARIABLE[name]}={shown(url(name))} is set, but no {name} server answers there: "
            "start it, or unset the variable to use Textmill's own"
        )
    if access.is_refused(name, url(name)):
        raise ServiceError(f"the {name} server at {shown(url(name))} refuses us: {access.ADVICE[name]}")


def _start_if_needed(name: str) -> None:
    record = read_record(name)
    if record and record.process() and record.url == url(name) and _in_place(name, record):
        return
    with _start_lock():
        record = read_record(name)
        process = record.process() if record else None
        if record and process:
            if _in_place(name, record):  # another process was faster; its address may be another
                _use_url(name, record.url)
                return
            _check_gone(_end([(name, process)]))
        _start(name)


def _end(running: list[tuple[str, psutil.Process]]) -> dict[str, Ended]:
    # to PostgreSQL SIGTERM means: wait until the last client has left
    signals = [signal.SIGINT if name == "postgres" else signal.SIGTERM for name, _ in running]
    how = end_trees(list(zip([process for _, process in running], signals, strict=True)))
    return dict(zip([name for name, _ in running], how, strict=True))


def _check_gone(ended: dict[str, Ended]) -> None:
    stay = [name for name, how in ended.items() if how == "stays"]
    if stay:
        raise ServiceError(
            f"{', '.join(stay)} did not end upon SIGKILL either: it waits in the kernel, for a disk or a network file "
            "system (`ps -o stat,wchan:30,cmd`), and ends when that answers"
        )


def _in_place(name: str, record: Record) -> bool:
    """False if home or checkout was moved (it has files open that are no longer there), or the stack has changed."""
    if record.home != str(home.home()) or (name.startswith("worker") and record.checkout != _checkout()):
        return False
    return record.stack == fingerprint(name, urlsplit(record.url).port or 0, read_team())


def _checkout() -> str:
    return os.environ.get("TEXTMILL_CHECKOUT", "")


def _start(name: str) -> None:
    """Start one service and note its pid. The lock is held. Raises PostgresError as `launch` does."""
    port = 0
    if name in home.DEFAULT_PORTS:
        port = urlsplit(url(name)).port or home.DEFAULT_PORTS[name]
        if not home.port_is_free(port, postgres.HOST if name == "postgres" else ""):
            port = home.free_port(name)
        home.remember_port(name, port)
        if name != "postgres":
            _use_url(name, home.prefect_url(port) if name == "prefect" else home.mlflow_url(port))
    home.prefect_path().mkdir(parents=True, exist_ok=True)
    (home.mlflow_path() / "artifacts").mkdir(parents=True, exist_ok=True)
    team = read_team()
    with log_file(name).open("ab") as log:
        child = launch(name, port, team).start(log)
    _OWN_CHILDREN.append(child)
    record = Record(
        child.pid, started(child.pid), url(name), str(home.home()), _checkout(), fingerprint(name, port, team)
    )
    write_record(name, record)


def _wait_until_up(name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        record = read_record(name)
        process = record.process() if record else None
        if process is None:
            raise ServiceError(f"the {name} service has ended; its log {log_file(name)} ends:\n{_tail(name)}")
        # The port may have been taken by a stranger at the last moment: it must be ours that answers.
        port = urlsplit(url(name)).port
        if access.answers(name, url(name)) and (port is None or listens(process, port)):
            return
        if time.monotonic() > deadline:
            raise ServiceError(f"the {name} service does not answer after {timeout:.0f} s: {log_file(name)}")
        time.sleep(0.1)


def _use_url(name: str, value: str) -> None:
    variable = _URL_VARIABLE.get(name)
    if variable is None or os.environ.get(variable) == value:
        return
    os.environ[variable] = value
    if name == "prefect" and "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def _tail(name: str, lines: int = 15) -> str:
    return "\n".join(log_file(name).read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def _start_lock() -> Iterator[IO[str]]:
    """One process at a time starts or ends services of this home. The kernel frees it with its holder."""
    home.services_path().mkdir(parents=True, exist_ok=True)
    with (home.services_path() / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
