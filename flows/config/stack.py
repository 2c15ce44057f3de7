"""What `textmill up --stack` starts: one YAML file, and environment variables for what differs by machine."""

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from flows.config.addresses import shown
from flows.config.loading import CONFIGS, override, parse, read
from lm.config import StrictModel
from tasks.machine import home

LOCAL = "local"
"""The name of the stack that needs no file: SQLite, no password, one worker, loopback."""

VARIABLES = {
    "TEXTMILL_LISTEN": "listen",
    "TEXTMILL_ALLOWED_HOSTS": "allowed_hosts",
    "TEXTMILL_POSTGRES_URL": "postgres.url",
    "TEXTMILL_POSTGRES_DATA": "postgres.data",
    "TEXTMILL_STORE": "store",
    "TEXTMILL_ARTIFACTS": "artifacts",
    "TEXTMILL_CPU_WORKERS": "cpu.workers",
    "TEXTMILL_GPU_WORKERS": "gpu.workers",
}
"""Environment variables, and the keys that they replace; a value is YAML (`[a.example, b.example]`, `null`)."""


class PostgresSection(StrictModel):
    """The PostgreSQL behind Prefect and MLflow: one that runs already, or else one of this home."""

    url: str | None = Field(
        default=None,
        description="A server that runs already, as postgresql://user@host:5432; the password comes from PGPASSWORD. "
        "null: one is started here from the installed programs, on 127.0.0.1.",
    )
    data: str | None = Field(
        default=None, description="The folder of the own server's data; null: postgres/ in this home."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.password is not None:
            raise ValueError("a password belongs into PGPASSWORD, not into the address")
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
            raise ValueError("write postgresql://user@host:port")
        if parts.path.strip("/") or parts.query:
            raise ValueError("no database and no options: the databases are prefect, mlflow and mlflow_auth")
        return f"postgresql://{parts.netloc}"


class PoolSection(StrictModel):
    """The workers that this machine gives to one kind of work."""

    workers: int | Literal["gpus"] = Field(
        default=1, description="Worker processes; `gpus`: one for each GPU of this machine, which only that one sees."
    )
    limit: int = Field(default=1, ge=1, description="Flow runs that one worker has at once.")

    @field_validator("workers")
    @classmethod
    def _counted(cls, workers: int | Literal["gpus"]) -> int | Literal["gpus"]:
        if workers != "gpus" and workers < 0:
            raise ValueError("must be 0 or more")
        return workers


class StackConfig(StrictModel):
    """Servers and workers of a team. On a machine that finds the servers elsewhere (PREFECT_API_URL,
    MLFLOW_TRACKING_URI), only workers are started."""

    listen: str = Field(default="127.0.0.1", description="The address that Prefect and MLflow listen on.")
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Further names and addresses under which MLflow is asked; any other `Host` header is refused.",
    )
    postgres: PostgresSection = Field(
        default=PostgresSection(), description="The databases; needed only where the servers are."
    )
    store: str | None = Field(
        default=None, description="The store of all machines, as an fsspec URL such as s3://bucket/store; null: local."
    )
    artifacts: str | None = Field(
        default=None,
        description="Where MLflow's server keeps files, as a URL that MLflow knows such as s3://bucket/mlflow; null: "
        "mlflow/artifacts in this home.",
    )
    cpu: PoolSection = Field(
        default=PoolSection(limit=2), description="Where deployments without the tag `gpu` run; by default `limit: 2`."
    )
    gpu: PoolSection | None = Field(
        default=PoolSection(workers="gpus"),
        description="Where deployments with the tag `gpu` run, by default with `workers: gpus`; null: with all others.",
    )

    @field_validator("store", "artifacts")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        if url is not None and shown(url) != url:
            raise ValueError("credentials belong into the environment, not into the address")
        return url

    @model_validator(mode="after")
    def _some_address(self) -> Self:
        if not self.listen or any(sign in self.listen for sign in "/ "):
            raise ValueError("listen: an address such as 127.0.0.1 or 10.0.0.2, without port or scheme")
        return self

    def pools(self) -> dict[str, PoolSection]:
        """The work pools by name."""
        return {"cpu": self.cpu} if self.gpu is None else {"cpu": self.cpu, "gpu": self.gpu}


def load_stack(name: str) -> StackConfig:
    """The stack of a name (`team`: configs/stack/team.yaml) or of a file, with what the environment says in place.

    Raises:
        ConfigError: no such file, an unknown key or a value that cannot be used.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / "stack" / f"{name}.yaml"
    raw = read(path)
    said = []
    for variable, key in VARIABLES.items():
        value = os.environ.get(variable)
        if value and not home.is_managed(variable):  # not what this home's stack has set itself
            override(raw, key, value)
            said.append(variable)
    return parse(raw, " and ".join([str(path), *said]), StackConfig)
