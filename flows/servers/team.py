"""The stack of a home: noted by `up --stack`, read by everything that starts, stops or looks at its services."""

import os
from dataclasses import dataclass
from pathlib import Path

from flows.config.loading import parse
from flows.config.stack import LOCAL, StackConfig, load_stack
from flows.servers import postgres
from tasks.machine import credentials, home
from tasks.machine.host import HOST
from tasks.storage.files import read_json, write_json

SERVERS = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}
"""The servers that flows talk to, and the variables by which the user names one that runs elsewhere."""


@dataclass(frozen=True)
class Team:
    """A team's stack on this machine."""

    config: StackConfig
    devices: tuple[str, ...]
    """The GPUs that workers of the pool `gpu` have, one each; empty: they see what the machine has."""

    def has_servers(self) -> bool:
        """Whether any server is this home's: if not, this machine has workers only, and needs no database."""
        return any(home.is_managed(variable) for variable in SERVERS.values())

    def services(self) -> tuple[str, ...]:
        """Names in the order of starting."""
        pools = self.config.pools().items()
        workers = [f"worker-{pool}-{n}" for pool, section in pools for n in range(1, int(section.workers) + 1)]
        return (*(("postgres",) if self.has_servers() else ()), *SERVERS, *workers)

    def data_folder(self) -> Path:
        """Where our own PostgreSQL has its files."""
        named = self.config.postgres.data
        return Path(named).expanduser().absolute() if named else home.home() / "postgres"

    def postgres_url(self) -> str:
        """Without a database and without a password."""
        if self.config.postgres.url is not None:
            return self.config.postgres.url
        port = home.remembered_ports().get("postgres", home.DEFAULT_PORTS["postgres"])
        return f"postgresql://{postgres.ROLE}@{postgres.HOST}:{port}"

    def hosts(self) -> list[str]:
        """The names under which the servers may be asked."""
        own = [] if self.config.listen in ("0.0.0.0", "::") else [self.config.listen]
        return list(dict.fromkeys([*own, "localhost", "127.0.0.1", HOST, *self.config.allowed_hosts]))


def read_team() -> Team | None:
    """The team's stack of this home; None: it has the local one. Raises ConfigError for a note of another version."""
    try:
        found = read_json(home.team_note())
    except FileNotFoundError:
        return None
    return Team(parse(found["config"], str(home.team_note()), StackConfig), tuple(found["devices"]))


def choose(stack: str | None) -> list[str]:
    """Note the stack of this home: a name, a file, or `local`; None: TEXTMILL_STACK, or as it was.

    A team's passwords that nobody has set are made up. Returns the names of those.

    Raises:
        ConfigError, CredentialsError: a configuration or passwords that cannot be used.
    """
    stack = stack or os.environ.get("TEXTMILL_STACK") or None
    home.configure_environment()
    if stack is None:
        return []
    if stack == LOCAL:
        home.team_note().unlink(missing_ok=True)
        return []
    config = load_stack(stack)
    devices: tuple[str, ...] = ()
    if config.gpu is not None and config.gpu.workers == "gpus":
        devices = visible_gpus()
        gpu = config.gpu.model_copy(update={"workers": len(devices)})
        config = config.model_copy(update={"gpu": gpu})
    team = Team(config, devices)
    made: list[str] = []
    if team.has_servers():
        made = credentials.complete(home.secrets_path())
        credentials.for_servers(home.secrets_path())
    reached = home.HOST if config.listen in ("0.0.0.0", "::") else config.listen
    note = {
        "config": config.model_dump(mode="json"),
        "devices": devices,
        "host": reached,
        "environment": {"TEXTMILL_STORE": config.store} if config.store else {},
    }
    home.services_path().mkdir(parents=True, exist_ok=True)
    write_json(home.team_note(), note)
    home.configure_environment()
    return made


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))
