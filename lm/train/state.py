"""Where a run stands, and how it ended."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter


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
    losses: list[float] = field(default_factory=list)
    """Of the last good steps, where spikes are looked for (lm/train/guard.py); so are `grad_norms`."""
    grad_norms: list[float] = field(default_factory=list)
    mishaps: list[dict[str, Any]] = field(default_factory=list)
    """Bad steps and what was done about each (`Mishap.record`)."""

    @classmethod
    def noted(cls, saved: dict[str, Any], steps: int) -> "RunState":
        """As a checkpoint of a run of so many steps says it. Raises ValueError or TypeError for what is no such
        state, or stands outside the run."""
        TypeAdapter(cls).validate_python(saved)
        state = cls(**saved)
        if not 0 <= state.step <= steps:
            raise ValueError(f"it stands at step {state.step} of {steps}")
        return state


@dataclass(frozen=True)
class TrainResult:
    """How a finished run ended; the model itself was trained in place."""

    step: int
    tokens: int
    best_step: int | None
    best_value: float | None
    resumed_from: int | None
    checkpoint: Path
    mishaps: tuple[dict[str, Any], ...] = ()

    def figures(self) -> dict[str, Any]:
        """What a result file says of it; of mishaps only if there were any."""
        return {name: value for name, value in asdict(self).items() if name != "mishaps" or value}
