"""What becomes of a bad step: a loss or gradient that is not finite, or far above those before it, is never learned
from. The run stops there, skips the step, or goes back to a snapshot and leaves the data since then out.

Whatever is done is a function of the steps before, so that a run that was killed decides the same again. With several
ranks `judge` must be asked the loss and the norm of the whole step, which are equal on all.

References: skipping a step whose loss or gradient norm is more than 6 standard deviations above the mean of the last
128: AI2's OLMo-core, `SkipStepOptimizer`, and OLMo 2 (2025), section 3. Going back and leaving the batches out: PaLM
(Chowdhery et al. 2022), section 5.1.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lm.config import GuardConfig
from lm.train.checkpoint import CorruptCheckpoint, list_checkpoints, verify
from lm.train.non_finite import NonFiniteError
from lm.train.state import RunState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mishap:
    """A bad step: what was wrong, in words, and what is to be done (`stop`, `skip`, `roll_back`)."""

    step: int
    action: str
    what: str
    loss: float
    grad_norm: float

    def record(self, to: int | None = None) -> dict[str, float | str]:
        """As the checkpoint and the result hold it; `to`: the step whose weights were taken again."""
        figures = {"loss": self.loss, "grad_norm": self.grad_norm}
        shown = {name: value if math.isfinite(value) else str(value) for name, value in figures.items()}
        return {
            "step": self.step,
            "action": self.action,
            "what": self.what,
            **shown,
            **({} if to is None else {"to": to}),
        }


def judge(config: GuardConfig, state: RunState, loss: float, grad_norm: float) -> Mishap | None:
    """What is wrong with the step that `state` stands at, if anything; a good step is remembered in `state`."""
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {grad_norm} (loss {loss:.4f})"
        return Mishap(state.step, _limited(config, state, config.non_finite), f"{what} is not finite", loss, grad_norm)
    if config.spike == "ignore":
        return None
    for name, value, before in (("loss", loss, state.losses), ("gradient norm", grad_norm, state.grad_norms)):
        if (limit := spike_limit(before, config)) is not None and value > limit:
            what = f"{name} {value:.4f} is a spike: {config.sigmas:g} standard deviations above the mean of the last "
            what += f"{len(before)} good steps are {limit:.4f}"
            return Mishap(state.step, _limited(config, state, config.spike), what, loss, grad_norm)
    state.losses = [*state.losses, loss][-config.window :]
    state.grad_norms = [*state.grad_norms, grad_norm][-config.window :]
    return None


def spike_limit(before: Sequence[float], config: GuardConfig) -> float | None:
    """What a value must not exceed after those of the last good steps; None while they are fewer than half a window."""
    if len(before) < max(2, config.window // 2):
        return None
    mean = math.fsum(before) / len(before)
    variance = math.fsum((value - mean) ** 2 for value in before) / (len(before) - 1)
    return mean + config.sigmas * math.sqrt(variance)


def _limited(config: GuardConfig, state: RunState, action: str) -> str:
    return "stop" if len(state.mishaps) >= config.limit else action


def stopped(mishap: Mishap, examples: np.ndarray, before: int) -> NonFiniteError:
    """The error of a run that stops: it names the step and its examples, so that the batch can be looked at.

    Args:
        before: how many bad steps were put right before.
    """
    shown = ", ".join(map(str, examples[:16])) + (", ..." if len(examples) > 16 else "")
    after = f" after {before} bad steps (train.guard.limit)" if before else ""
    return NonFiniteError(
        f"step {mishap.step}: {mishap.what}; nothing was updated{after}. Examples of this step: [{shown}]. The last "
        "checkpoint is good: lower the learning rate, warm up longer or look at these examples; train.guard can skip "
        "such a step or roll back"
    )


def snapshots_needed(config: GuardConfig, step: int) -> set[int]:
    """The steps whose snapshots `snapshot_before` may ask for from `step` on; none if nothing is rolled back."""
    if not config.rolls_back:
        return set()
    last = step - step % config.snapshot_interval
    return {last, last - config.snapshot_interval}


def snapshot_before(config: GuardConfig, directory: Path, step: int) -> int:
    """The step of the newest good checkpoint at a multiple of the interval that is half of one before the bad step, or
    more.

    The steps right before a spike may have begun it. Where there is none (damaged, or of a run that had no guard
    before), another checkpoint that is so old; else the newest of all.

    Raises:
        NonFiniteError: there is none.
    """
    interval = config.snapshot_interval
    listed = [(at, path) for at, path in list_checkpoints(directory) if at <= step]
    listed.sort(key=lambda found: (found[0] <= max(0, step - interval // 2), found[0] % interval == 0, found[0]))
    for at, path in reversed(listed):
        try:
            verify(path)
            return at
        except CorruptCheckpoint as error:
            log.warning("passed over on the way back: %s", error)
    raise NonFiniteError(f"step {step} is bad, and {directory} has no good checkpoint to roll back to")
