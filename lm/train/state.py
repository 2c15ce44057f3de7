"""Where a run stands, and how it ended."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class RunState:
    """Everything a checkpoint says besides tensors."""

    step: int = 0
    tokens: int = 0
    evaluated: int = -1
    sampled: int = -1
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    observed: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TrainResult:
    """How a finished run ended; the model itself was trained in place."""

    step: int
    tokens: int
    best_step: int | None
    best_value: float | None
    resumed_from: int | None
    checkpoint: Path
