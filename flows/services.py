"""The background services of this home: a Prefect server, an MLflow server and a process worker.

Each is a plain child process in a session of its own, with a log and a pid file under
`<home>/services/`. A pid file also holds the start time of its process, so that a process that got the
pid later is never taken for ours. Servers listen on 127.0.0.1 only.

A server whose address the user has set (PREFECT_API_URL, MLFLOW_TRACKING_URI) is used, never started or
stopped. Nothing here imports Prefect or MLflow: `ensure()` belongs before those imports.
"""

import contextlib
import fcntl
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from flows.processes import Record, end_tree, listens, tree_rss
from tasks import home
from tasks.host import started

SERVERS = ("prefect", "mlflow")
SERVICES = (*SERVERS, "worker")
WORK_POOL = "textmill"

START_TIMEOUT = 180.0
"""Seconds for a server to answer; a new database on two busy cores takes up to 40."""

_URL_VARIABLE = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}
_OWN_CHILDREN: list[subprocess.Popen[bytes]] = []  # kept, or their deletion would warn that they still run


class ServiceError(RuntimeError):
    """A service could not be started or does not answer; the message says where its log is."""


def ensure(*services: str, wait: bool = True, timeout: float = START_TIMEOUT) -> None:
    """Start what does not answer of the named services, all at once.

    Args:
        services: of "prefect", "mlflow" and "worker"; the two servers if none is named.
        wait: return only when every one answers. Without it a server may still be starting.
        timeout: seconds to wait for one service.

    Raises:
        ServiceError: a service ended, or did not answer in time, or an address that the user has set
            does not answer.
    """
    home.configure_environment()
    names = services or SERVERS
    for name in names:
        if _is_ours(name):
            _start_if_needed(name)
        elif wait and not _answers(name, url(name)):
            raise ServiceError(
                f"{_URL_VARIABLE[name]}={url(name)} is set, but no {name} server answers there: "
                "start it, or unset the variable to use Textmill's own"
            )
    if wait:
        for name in filter(_is_ours, names):
            _wait_until_up(name, timeout)


def down() -> list[str]:
    """End every service that this home has started, and its children. Returns the names of those ended."""
    ended = []
    with _start_lock():
        for name in reversed(SERVICES):  # the worker first: its flow runs still report to the servers
            record = _read_record(name)
            process = record.process() if record else None
            if process is not None:
                end_tree(process)
                ended.append(name)
            _pid_file(name).unlink(missing_ok=True)
    return ended


def status() -> dict[str, dict[str, object]]:
    """For each service: `state`, `running` (it can be used), `url`, `pid`, `rss_bytes` (whole tree) and `log`.

    The state is "running", "starting" (the process lives but does not answer yet), "stopped", or, for an
    address that the user has set, "external" or "unreachable".
    """
    home.configure_environment()
    return {name: _status_of(name) for name in SERVICES}


def is_up(service: str) -> bool:
    """Whether a service can be used now: one of ours that runs, or one that the user named and that answers."""
    home.configure_environment()
    return bool(_status_of(service)["running"])


def url(service: str) -> str:
    """The address of a service in the environment ("" for the worker, which has none)."""
    return os.environ.get(_URL_VARIABLE.get(service, ""), "")


def ui_url(service: str) -> str:
    """The address to open in a browser."""
    return url(service).removesuffix("/api")


def log_file(service: str) -> Path:
    """Where a service's output goes."""
    return home.services_path() / f"{service}.log"


def _status_of(name: str) -> dict[str, object]:
    record = _read_record(name)
    process = record.process() if record else None
    if not _is_ours(name):
        state = "external" if _answers(name, url(name)) else "unreachable"
    elif process is None:
        state = "stopped"
    else:
        state = "running" if _answers(name, url(name)) else "starting"
    return {
        "state": state,
        "running": state in ("running", "external"),
        "url": ui_url(name) or None,
        "pid": process.pid if process else None,
        "rss_bytes": tree_rss(process) if process else None,
        "log": str(log_file(name)),
    }


def _is_ours(name: str) -> bool:
    return name not in _URL_VARIABLE or home.is_managed(_URL_VARIABLE[name])


def _command(name: str, port: int) -> list[str]:
    python = [sys.executable, "-m"]
    if name == "prefect":
        return [*python, "prefect", "server", "start", "--host", home.HOST, "--port", str(port)]
    if name == "mlflow":
        folder = home.mlflow_path()
        return [
            *[*python, "mlflow", "server", "--host", home.HOST, "--port", str(port), "--workers", "1"],
            *["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"],
            *["--artifacts-destination", str(folder / "artifacts")],
        ]
    return [*python, "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process"]


def _start_if_needed(name: str) -> None:
    record = _read_record(name)
    if record and record.process() and record.url == url(name) and _in_place(name, record):
        return
    with _start_lock():
        record = _read_record(name)
        process = record.process() if record else None
        if record and process:
            if _in_place(name, record):  # another process was faster; its address may be another
                _use_url(name, record.url)
                return
            end_tree(process)
        _start(name)


def _in_place(name: str, record: Record) -> bool:
    """False if home or checkout was moved: the process has files open that are no longer there."""
    return record.home == str(home.home()) and (name != "worker" or record.checkout == _checkout())


def _checkout() -> str:
    return os.environ.get("TEXTMILL_CHECKOUT", "")


def _start(name: str) -> None:
    """Start one service and note its pid. The lock is held."""
    port = 0
    if name in SERVERS:
        port = urlsplit(url(name)).port or home.DEFAULT_PORTS[name]
        if not home.port_is_free(port):
            port = home.free_port(name)
        home.remember_port(name, port)
        _use_url(name, home.prefect_url(port) if name == "prefect" else home.mlflow_url(port))
    home.prefect_path().mkdir(parents=True, exist_ok=True)
    (home.mlflow_path() / "artifacts").mkdir(parents=True, exist_ok=True)
    # MLflow's job runners (for GenAI judges) would be five more processes.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log_file(name).open("ab") as log:
        child = subprocess.Popen(
            _command(name, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=home.services_path(),
            start_new_session=True,
        )
    _OWN_CHILDREN.append(child)
    record = Record(child.pid, started(child.pid), url(name), str(home.home()), _checkout())
    draft = _pid_file(name).with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(record)))
    os.replace(draft, _pid_file(name))


def _wait_until_up(name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        record = _read_record(name)
        process = record.process() if record else None
        if process is None:
            raise ServiceError(f"the {name} service has ended; its log {log_file(name)} ends:\n{_tail(name)}")
        # The port may have been taken by a stranger at the last moment: it must be ours that answers.
        port = urlsplit(url(name)).port
        if _answers(name, url(name)) and (port is None or listens(process, port)):
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


def _answers(name: str, address: str) -> bool:
    """One request to a server's health route. The worker has none: a living process is all there is."""
    if name not in SERVERS:
        return True
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return name == "mlflow"  # a tracking URI without a server: a file or a database
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=5)
    try:
        connection.request("GET", parts.path.rstrip("/") + "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _pid_file(name: str) -> Path:
    return home.services_path() / f"{name}.pid"


def _read_record(name: str) -> Record | None:
    try:
        text = _pid_file(name).read_text()
    except FileNotFoundError:
        return None
    try:
        record = Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ServiceError(
            f"{_pid_file(name)} is damaged ({error}): end the {name} process by hand and remove the file"
        ) from error
    # In a copy of a home the record speaks of the original's process, which is none of ours.
    is_copy = record.home != str(home.home()) and (Path(record.home) / "services" / f"{name}.pid").exists()
    return None if is_copy else record


def _tail(name: str, lines: int = 15) -> str:
    return "\n".join(log_file(name).read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def _start_lock() -> Iterator[IO[str]]:
    """One process at a time starts or ends services of this home. The kernel frees it with its holder."""
    home.services_path().mkdir(parents=True, exist_ok=True)
    with (home.services_path() / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
