"""What a machine gives to a run. Nothing of it changes a result."""

import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a variable: capitals, digits and _, such as HF_TOKEN")
    if name.startswith("PREFECT_"):
        raise ValueError(f"{name} is needed before Prefect can be asked: set it in the environment")
    return name


VariableName = Annotated[str, AfterValidator(_variable)]


class Resources(BaseModel):
    """What the machine gives. Nothing here changes a result, so nothing here is part of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(
        default=0, ge=0, description="Processes (or threads) for per-shard work; 0 means one per core."
    )
    runner: Literal["processes", "threads", "dask"] = Field(
        default="processes",
        description="Where per-shard work runs: processes of this machine; its threads (for debugging, and for work "
        "that is mostly compiled); or a Dask cluster, through Prefect's DaskTaskRunner (pip install -e '.[dask]').",
    )
    dask_address: str | None = Field(
        default=None,
        description="The scheduler of a running Dask cluster, such as tcp://10.0.0.5:8786; null means a cluster of "
        "`workers` processes on this machine.",
    )
    store: str | None = Field(
        default=None,
        description="A store shared by several machines, as an fsspec URL such as s3://bucket/prefix: the local store "
        "is then its cache. null: what TEXTMILL_STORE says. Credentials come from the environment, or from `secrets`.",
    )
    secrets: dict[VariableName, str] = Field(
        default={},
        description="Variables of the environment that the run gets from Prefect, each from the Secret block named: "
        "`AWS_SECRET_ACCESS_KEY: mill-store`. What the environment has already stays. Values are never written down.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Threads of torch and DuckDB; 0 means one per core. Trained weights are equal to the bit only at "
        "an equal thread count, which the manifest records.",
    )
    watts: float | None = Field(
        default=None,
        gt=0,
        description="What this machine draws while it works, in watts, by its owner's word. Cards of models state the "
        "energy of a training by it where the processor's own counters (RAPL) cannot be read.",
    )
    memory_limit: str = Field(default="2GB", description="DuckDB's memory limit; what does not fit is spilled to disk.")

    def resolved(self) -> "Resources":
        """The same with 0 replaced by the number of usable cores."""
        cores = usable_cores()
        return self.model_copy(update={"workers": self.workers or cores, "threads": self.threads or cores})


def usable_cores() -> int:
    """Cores that this process may run on (fewer than the machine has inside a container or under taskset)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
