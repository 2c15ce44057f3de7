"""How each service is started: its program, its environment and its user. Passwords only in the environment."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from flows.config.addresses import shown
from flows.config.stack import PoolSection
from flows.servers import postgres, team
from flows.servers.team import Team
from tasks.machine import credentials, home
from tasks.machine.host import HOST

LOCAL_POOL = "textmill"
"""The work pool of the local stack, which prefect.yaml names."""


_HEED_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
"""A Prefect worker that is asked to end by SIGTERM sends itself SIGINT. Whoever is started in the background of a
script (`textmill up &`) ignores that, and so would all whom it starts: such a worker stays until it is killed."""


@dataclass(frozen=True)
class Launch:
    """One process to start."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    """Its working directory."""

    user: Mapping[str, Any] = field(default_factory=dict)
    """For `subprocess`, if it is to run as somebody else."""

    def start(self, log: Any) -> "subprocess.Popen[bytes]":
        """Start it in a session of its own, so that it outlives this process and its terminal."""
        # another user (PostgreSQL, where we are root) may not read our Python; it sets its signals itself
        deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN and not self.user
        return subprocess.Popen(
            [sys.executable, "-c", _HEED_SIGINT, *self.command] if deaf else self.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(self.environment),
            cwd=self.folder,
            start_new_session=True,
            **self.user,
        )


def launch(name: str, port: int, stack: Team | None) -> Launch:
    """How to start a service of this home, of a team's stack or of the local one.

    Raises:
        postgres.PostgresError, credentials.CredentialsError: what a team's server needs is not there.
    """
    environment, user, folder = _client_environment(), {}, home.services_path()
    if name == "prefect":
        environment |= _key_of_blocks()
    if stack is None:
        return Launch(local_command(name, port), environment, folder)
    if name == "postgres":
        secrets = credentials.for_servers(home.secrets_path())
        data = postgres.prepare(stack.data_folder(), secrets[credentials.POSTGRES])
        command, user, folder = postgres.command(data, port), postgres.as_user(), Path("/")
        # PostgreSQL needs no password, and it runs as another user: it gets neither ours nor our settings
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    elif name == "prefect":
        command = _prefect(stack.config.listen, port)
        environment |= _prefect_environment(stack, port)
    elif name == "mlflow":
        hosts = ",".join(shape for host in stack.hosts() for shape in (host, f"{host}:*"))
        destination = stack.config.artifacts or str(home.mlflow_path() / "artifacts")
        command = [*_mlflow(stack.config.listen, port), "--app-name", "basic-auth", "--allowed-hosts", hosts]
        command += ["--artifacts-destination", destination]
        environment |= _mlflow_environment(stack)
    else:
        command, variables = _team_worker(name, stack)
        environment |= variables
    return Launch(command, environment, folder, user)


def become(name: str) -> NoReturn:
    """Run a service of this home's stack in place of this process: for containers, systemd and the like.

    Raises:
        ServiceError: no such service here, or the database that a server needs does not answer.
    """
    from flows.servers import services

    team.choose(None)
    if name not in services.names():
        raise services.ServiceError(f"no service {name!r} in this stack: {', '.join(services.names())}")
    if not services.is_ours(name):
        named = shown(services.url(name))
        raise services.ServiceError(f"{name} is named by the environment ({named}): nothing to run here")
    if name in services.SERVERS and "postgres" in services.names():
        services.ensure_database()
    for folder in (home.services_path(), home.prefect_path(), home.mlflow_path() / "artifacts"):
        folder.mkdir(parents=True, exist_ok=True)
    port = home.DEFAULT_PORTS.get(name, 0)
    found = launch(name, port, team.read_team())
    os.chdir(found.folder)
    if found.user:
        os.setgroups(list(found.user["extra_groups"]))
        os.setgid(found.user["group"])
        os.setuid(found.user["user"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # for the reason of _HEED_SIGINT
    os.execve(found.command[0], found.command, dict(found.environment))


def fingerprint(name: str, port: int, stack: Team | None) -> str:
    """Changes with what a running service would have to be started anew for; passwords are no part of it."""
    if stack is None:
        return ""
    config = stack.config
    said: list[Any] = [config.model_dump(mode="json", include={"postgres"}), port, config.listen, stack.hosts()]
    if name.startswith("worker"):
        said = [*_team_worker(name, stack), config.store]
    elif name == "postgres":
        said = [str(stack.data_folder()), port]
    elif name == "mlflow":
        said.append(config.artifacts)
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:16]


def local_command(name: str, port: int) -> list[str]:
    """The local stack: SQLite, loopback, no password."""
    if name == "prefect":
        return _prefect(home.HOST, port)
    if name == "mlflow":
        folder = home.mlflow_path()
        stores = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        return [*_mlflow(home.HOST, port), *stores, "--artifacts-destination", str(folder / "artifacts")]
    return _worker(LOCAL_POOL)


def _prefect(listen: str, port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", listen, "--port", str(port)]


def _mlflow(listen: str, port: int) -> list[str]:
    return [sys.executable, "-m", "mlflow", "server", "--host", listen, "--port", str(port), "--workers", "1"]


def _worker(pool: str) -> list[str]:
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]


def _client_environment() -> dict[str, str]:
    # MLflow's job runners (for GenAI judges) would be five more processes.
    kept = {name: value for name, value in os.environ.items() if name not in credentials.SERVER_ONLY}
    return {**kept, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _key_of_blocks() -> dict[str, str]:
    name = credentials.PREFECT_BLOCKS
    key = os.environ.get(name) or credentials.read(home.secrets_path()).get(name)
    return {name: key} if key else {}


def _prefect_environment(stack: Team, port: int) -> dict[str, str]:
    secrets = credentials.for_servers(home.secrets_path())
    return {
        credentials.PREFECT_SERVER: secrets[credentials.PREFECT],
        credentials.POSTGRES: secrets[credentials.POSTGRES],
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"{_with_driver(stack.postgres_url(), 'asyncpg')}/prefect",
        # The page asks the host it came from, whatever name the browser knows that by.
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}:{port}" for host in stack.hosts()),
    }


def _with_driver(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)


def _mlflow_environment(stack: Team) -> dict[str, str]:
    secrets = credentials.for_servers(home.secrets_path())
    settings = home.services_path() / "mlflow-auth.ini"
    url = _with_driver(stack.postgres_url(), "psycopg2")
    database = f"{url}/mlflow_auth".replace("%", "%%")  # % begins a reference to another key
    # EDIT: whoever has a password may log into the experiment that all share; deleting is the admin's.
    settings.write_text(
        "[mlflow]\n"
        f"database_uri = {database}\n"
        "default_permission = EDIT\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"  # a slow hash once a minute, not once a request
    )
    found = {
        credentials.POSTGRES: secrets[credentials.POSTGRES],
        credentials.MLFLOW_KEY: secrets[credentials.MLFLOW_KEY],
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": secrets[credentials.MLFLOW_USER],
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets[credentials.MLFLOW_PASSWORD],
        "MLFLOW_BACKEND_STORE_URI": f"{url}/mlflow",
    }
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        found["MLFLOW_S3_ENDPOINT_URL"] = endpoint
    return found


def _team_worker(name: str, stack: Team) -> tuple[list[str], dict[str, str]]:
    """`worker-gpu-2`: the second worker of the pool `gpu`, and the environment that it has beside the common one."""
    _, pool, number = name.split("-")
    section: PoolSection = stack.config.pools()[pool]
    mark = f"{zlib.crc32(str(home.home()).encode()):08x}"[:4]  # two homes of one machine
    command = [*_worker(pool), "--limit", str(section.limit), "--name", f"{HOST}-{mark}-{pool}-{number}"]
    if pool == "gpu" and stack.devices:
        return command, {"CUDA_VISIBLE_DEVICES": stack.devices[int(number) - 1]}
    if pool == "cpu" and stack.devices:
        return command, {"CUDA_VISIBLE_DEVICES": ""}  # else its runs would share a GPU with those of the other pool
    return command, {}
