"""Where everything of one Textmill installation lives, and the environment that says so.

`TEXTMILL_HOME` names the folder; without it, it is `.textmill` beside the nearest `prefect.yaml` of Textmill
above the working directory, or `.textmill` in the working directory itself:

    store/      artifacts, keyed by content          (tasks/store.py)
    prefect/    PREFECT_HOME: SQLite file, profiles
    mlflow/     mlflow.db and artifacts/
    services/   ports.json, pid files and logs       (flows/servers/services.py)
                team.json, secrets.env               (flows/servers/team.py, tasks/machine/credentials.py)

`configure_environment()` must run before Prefect or MLflow is imported: both read their settings from the
environment at import. This module and tasks/machine/credentials.py therefore import the standard library only.
"""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.machine import credentials

HOST = "127.0.0.1"
PULL_STEP = "flows.servers.deploy.enter_checkout"
DEFAULT_PORTS = {"prefect": 4200, "mlflow": 5000, "postgres": 5432}

_MANAGED = "TEXTMILL_MANAGED"
"""Environment variable: which home set which of the variables that depend on a home (JSON)."""

_FIXED = {
    # Nothing phones home. MLflow wants the word `true`, so that one value serves Prefect and MLflow.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    # MLflow's defaults (7 retries of 120 s) would hold a run for minutes when its server is away.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Prefect's default (5 retries, 2 s doubling) would hold every stage's end for a minute when its server is away.
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Without git on the machine MLflow's GitPython prints a page of warnings.
    "GIT_PYTHON_REFRESH": "quiet",
    # Flow runs that ended long ago leave the server's database with their logs and artifacts, as events do after a
    # week: it stays as large as what a month leaves. What was trained is on record in the store and in MLflow.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 86_400),
    # A dead run is noticed after three missed beats (flows/servers/automations.py: 90 s); 30 s is the least allowed.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # By default a server that starts forgets the heartbeats that were due more than a minute ago: a run that died while
    # it was away would never be noticed. 30 days (ISO 8601), so that a backup's server does not forget them either.
    "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P30D",
    # By default who holds a deployment's place stands in the server's memory: after a restart Prefect would end every
    # deployed run when it renews its lease, within four minutes.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "textmill,flows,tasks,data_quality,lm",
}


def home() -> Path:
    """The absolute folder of this installation. It need not exist yet."""
    named = os.environ.get("TEXTMILL_HOME")
    if named:
        return Path(named).expanduser().absolute()
    return (checkout_above(Path.cwd()) or Path.cwd()) / ".textmill"


def checkout_above(folder: Path) -> Path | None:
    """The nearest folder, this one or above, whose `prefect.yaml` is ours: it names our pull step."""
    for candidate in (folder, *folder.parents):
        with suppress(OSError):
            if PULL_STEP in (candidate / "prefect.yaml").read_text(encoding="utf-8", errors="replace"):
                return candidate
    return None


def store_path() -> Path:
    """Finished and partial artifacts."""
    return home() / "store"


def store_url() -> str | None:
    """The store shared with other machines (`TEXTMILL_STORE`), of which the local one is then the cache."""
    return os.environ.get("TEXTMILL_STORE") or None


def prefect_path() -> Path:
    """PREFECT_HOME: the Prefect server's SQLite file and the client's profiles."""
    return home() / "prefect"


def mlflow_path() -> Path:
    """The MLflow server's `mlflow.db` and `artifacts/`."""
    return home() / "mlflow"


def services_path() -> Path:
    """Ports, pid files, locks and logs of the background services."""
    return home() / "services"


def team_note() -> Path:
    """What `textmill up --stack team` chose; without this file the home is one person's (flows/servers/team.py)."""
    return services_path() / "team.json"


def secrets_path() -> Path:
    """The file of the team's passwords: `TEXTMILL_SECRETS`, or `secrets.env` beside the pid files."""
    named = os.environ.get("TEXTMILL_SECRETS")
    return Path(named).expanduser() if named else services_path() / "secrets.env"


def host() -> str:
    """The address at which this home's servers are reached: loopback, unless its team stack listens elsewhere."""
    return str(_team().get("host", HOST))


def port_is_free(port: int, address: str = "") -> bool:
    """Whether a server could listen on this port of an address (default: this home's) now."""
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT after a stopped server is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address or host(), port))
        except OSError:
            return False
        return True


def free_port(service: str) -> int:
    """The usual port of a service (4200, 5000, 5432) if nobody listens there, else one that the system offers."""
    address = HOST if service == "postgres" else host()  # the database of a team listens on loopback only
    if port_is_free(DEFAULT_PORTS[service], address):
        return DEFAULT_PORTS[service]
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def remembered_ports() -> dict[str, int]:
    """The ports that this home's servers were last started on: `{"prefect": 4200, ...}`, or empty."""
    path = services_path() / "ports.json"
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    try:
        return {service: int(port) for service, port in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): stop the servers and remove it") from error


def remember_port(service: str, port: int) -> None:
    """Note the port of a service, for the processes that come after this one."""
    path = services_path() / "ports.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({**remembered_ports(), service: port}))
    os.replace(draft, path)


def is_managed(variable: str) -> bool:
    """True if this home chose the variable's value; False if the user did (or nobody)."""
    home_of, names = _managed()
    return home_of == str(home()) and variable in names


def configure_environment() -> None:
    """Set every variable that Prefect, MLflow and datasets need, before they are imported.

    What the user has set stays. What an earlier call set for *another* home (a parent process with its
    own TEXTMILL_HOME) is replaced. Child processes inherit the result, so that they find the same home
    whatever their working directory. Reads a few small files, writes nothing.

    Raises:
        credentials.CredentialsError: the team's passwords stand in a file that others can read.
    """
    for variable, value in _FIXED.items():
        os.environ.setdefault(variable, value)
    here = str(home())
    home_of, managed = _managed()
    if home_of != here:
        for variable in managed:
            os.environ.pop(variable, None)
        managed = []
    ports = remembered_ports()
    chosen = {
        "PREFECT_HOME": lambda: str(prefect_path()),
        "PREFECT_API_URL": lambda: prefect_url(ports.get("prefect") or free_port("prefect")),
        "MLFLOW_TRACKING_URI": lambda: mlflow_url(ports.get("mlflow") or free_port("mlflow")),
    }
    remembered = {"PREFECT_API_URL": "prefect" in ports, "MLFLOW_TRACKING_URI": "mlflow" in ports}
    for variable, value_of in chosen.items():
        if variable not in os.environ:
            managed = [*managed, variable]
            os.environ[variable] = value_of()
        elif variable in managed and remembered.get(variable):
            os.environ[variable] = value_of()
    if "TEXTMILL_SECRETS" in os.environ and not secrets_path().is_file():
        raise credentials.CredentialsError(f"TEXTMILL_SECRETS={secrets_path()}: no such file")
    # of a team: its store, and the passwords of its servers
    given = {**_team().get("environment", {}), **credentials.for_clients(credentials.read(secrets_path()))}
    for variable, value in given.items():
        if variable not in os.environ:
            managed = [*managed, variable]
        if variable in managed:
            os.environ[variable] = value
    os.environ["TEXTMILL_HOME"] = here
    os.environ[_MANAGED] = json.dumps({"home": here, "names": managed})


def prefect_url(port: int) -> str:
    """The API address of this home's Prefect server; its UI is the same without `/api`."""
    return f"http://{host()}:{port}/api"


def mlflow_url(port: int) -> str:
    """The address of this home's MLflow server, for clients and for the browser."""
    return f"http://{host()}:{port}"


def _team() -> dict[str, Any]:
    try:
        return dict(json.loads(team_note().read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{team_note()} is damaged ({error}): `textmill up --stack team` writes it anew") from error


def _managed() -> tuple[str, list[str]]:
    record = json.loads(os.environ.get(_MANAGED) or '{"home": "", "names": []}')
    return record["home"], record["names"]
