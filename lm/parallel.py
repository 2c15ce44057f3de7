"""How many processes share a pretraining, and how. Importable without torch."""

import socket
from typing import Literal

from pydantic import Field

from lm.config import StrictModel, TrainConfig
from lm.pretraining import Pretrainable

PORT = 29400
"""torchrun's own, where machines meet."""


class NotShareable(ValueError):
    """This training cannot be shared by so many processes, or not in this way; the message says what can."""


class ParallelConfig(StrictModel):
    """The processes of one pretraining. They change the order of sums at most, and with it the last bits."""

    processes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Processes on each machine that share each batch: on GPUs one for each of them. 1 on one machine:"
        " the training runs in the process of the pipeline. More: torchrun starts them.",
    )
    nodes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Machines, each with so many processes; on all but this one a command is to be run, which the log"
        " says when it is time: docs/howto/distributed.md.",
    )
    sharding: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="`ddp`: every process has the whole model. `fsdp`: FSDP2, each has a part of weights, gradients and"
        " moments, for models that do not fit; not with optimizer.method muon.",
    )
    rendezvous: str | None = Field(
        default=None,
        pattern=r"^[^:\s]+:[0-9]+$",
        description="host:port of this machine where the other `nodes` find it, such as 10.0.0.5:29400. null: port"
        " 29400 of this machine's own name.",
    )

    @property
    def ranks(self) -> int:
        """Processes on all machines together."""
        return self.processes * self.nodes

    def here(self) -> "ParallelConfig":
        """With the rendezvous that is meant where none was named: it is to be asked on the first machine."""
        if self.nodes == 1 or self.rendezvous is not None:
            return self
        return self.model_copy(update={"rendezvous": f"{socket.gethostname()}:{PORT}"})

    @classmethod
    def part_of(cls, section: "ParallelConfig") -> "ParallelConfig":
        """These settings alone, of a section of a configuration that has them among others."""
        return cls(**{name: getattr(section, name) for name in cls.model_fields})

    def least_batch(self, size: int) -> int:
        """The smallest batch of at least `size` that all processes have an equal share of."""
        return -(-size // self.ranks) * self.ranks

    def require_shareable(self, settings: Pretrainable, train: TrainConfig) -> None:
        """Raises NotShareable, naming what stands in the way, unless such a training can be shared like this."""
        if self.ranks == 1:
            return
        if train.batch % self.ranks:
            raise NotShareable(
                f"train.batch {train.batch} cannot be shared evenly by {self.ranks} processes: each reads as many"
                f" examples of a step; take a batch of {self.least_batch(train.batch)}, or another number of processes"
            )
        if self.sharding == "ddp":
            return
        method = (getattr(settings, "optimizer", None) or train.optimizer).method
        if method == "muon":
            raise NotShareable(
                "sharding fsdp: optimizer.method muon needs whole matrices, and a process has a part of each; use"
                " adamw, or sharding ddp"
            )
