"""The training loop of word vectors: chunks in order, checkpoints, and exact resume.

The state of a run is the number of chunks done, the arrays, and what has been summed since the last report. All that is
random in chunk n follows from (seed, n). With several threads a round of chunks is shared among them, and the loop
looks up between rounds.
"""

import logging
import math
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from lm.stop import Interrupted, ShouldStop, never
from lm.train.checkpoint import Checkpoint, latest_checkpoint, prune_checkpoints, save_checkpoint
from lm.train.hooks import Hooks
from lm.train.identity import ResumeError
from lm.train.non_finite import NonFiniteError

log = logging.getLogger(__name__)

ROUND = 8  # chunks for each thread between two looks up
REPORTS = 100  # of the loss, in a whole run

Figures = tuple[float, int]
"""The sum of the losses of a chunk, and over how many predictions."""


@dataclass
class RunState:
    """Everything a checkpoint says besides arrays."""

    step: int = 0
    items: int = 0
    loss: float = 0.0
    predictions: int = 0
    epoch_loss: float = 0.0
    epoch_predictions: int = 0
    epochs: list[float] = field(default_factory=list)
    at_rest: list[float] = field(default_factory=list)


@dataclass
class ChunkRun:
    """`epochs` passes over `chunks` chunks; `train(n)` trains `arrays` in place on chunk n of chunks * epochs.

    sizes: words (or records) of each chunk of an epoch; identity: what must be equal for a checkpoint to be of this
    run, by name; rate(n): the learning rate where chunk n begins, for the reports; at_rest: what the loss is without
    training, asked at the end of each epoch.
    """

    train: Callable[[int], Figures]
    arrays: Mapping[str, np.ndarray]
    sizes: np.ndarray
    epochs: int
    identity: dict[str, Any]
    directory: Path
    rate: Callable[[int], float]
    at_rest: Callable[[], Figures] | None = None
    threads: int = 1
    hooks: Hooks = field(default_factory=Hooks)
    should_stop: ShouldStop = never
    checkpoint_seconds: float = 60.0
    checkpoint_interval: int = 0

    def run(self) -> RunState:
        """Train to the end, from the newest good checkpoint in `directory` if there is one.

        Raises Interrupted (with a checkpoint written) when asked to stop, ResumeError if the checkpoint is of another
        run, NonFiniteError if the loss is infinite or not a number.
        """
        self.state, self.saved = RunState(), 0
        if checkpoint := latest_checkpoint(self.directory):
            self._restore(checkpoint)
        steps = len(self.sizes) * self.epochs
        interval = max(1, steps // REPORTS)
        self.saved_at, window = time.monotonic(), (time.perf_counter(), self.state.items)
        with ThreadPoolExecutor(self.threads) as pool:
            while self.state.step < steps:
                if self.should_stop():
                    self._save()
                    raise Interrupted(f"asked to stop while training, after chunk {self.state.step} of {steps}")
                before = self.state.step
                self._round(pool, steps)
                step = self.state.step
                if step // interval > before // interval or step == steps:
                    now = time.perf_counter()
                    window = self._report(window, now)
                self.hooks.on_progress(step, steps)
                every = self.checkpoint_interval
                due = every > 0 and step // every > self.saved // every
                due |= 0 < self.checkpoint_seconds <= time.monotonic() - self.saved_at
                if due and step < steps:
                    self._save()
        if self.saved < steps:
            self._save()
        return self.state

    def _round(self, pool: ThreadPoolExecutor, steps: int) -> None:
        """One chunk; or several for each thread, to the end of the epoch at most."""
        state, begin = self.state, self.state.step
        epoch_end = (begin // len(self.sizes) + 1) * len(self.sizes)
        if self.threads == 1:
            figures = [self.train(begin)]
        else:
            figures = list(pool.map(self.train, range(begin, min(epoch_end, begin + ROUND * self.threads))))
        for loss, predictions in figures:
            if not math.isfinite(loss):
                raise NonFiniteError(
                    f"chunk {state.step}: loss {loss} is not finite. The last checkpoint is good: lower the"
                    " learning rate."
                )
            state.loss, state.predictions = state.loss + loss, state.predictions + predictions
            state.epoch_loss += loss
            state.epoch_predictions += predictions
            state.items += int(self.sizes[state.step % len(self.sizes)])
            state.step += 1
        if state.step == epoch_end:
            state.epochs.append(state.epoch_loss / max(1, state.epoch_predictions))
            state.epoch_loss, state.epoch_predictions = 0.0, 0
            if self.at_rest is not None:
                loss, predictions = self.at_rest()
                state.at_rest.append(loss / max(1, predictions))

    def _report(self, window: tuple[float, int], now: float) -> tuple[float, int]:
        state = self.state
        figures = {
            "loss": state.loss / max(1, state.predictions),
            "learning_rate": self.rate(state.step - 1),
            "tokens": float(state.items),
            "tokens_per_second": (state.items - window[1]) / max(now - window[0], 1e-9),
        }
        if state.at_rest:
            figures["loss_at_rest"] = state.at_rest[-1]
        self.hooks.on_metrics(state.step, figures)
        state.loss, state.predictions = 0.0, 0
        return now, state.items

    def _environment(self) -> dict[str, Any]:
        """What must be equal for the bits to be equal; a difference is logged, not refused."""
        return {"numpy": np.__version__, "numba": numba.__version__, "machine": platform.machine()}

    def _save(self) -> None:
        tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        state = {**asdict(self.state), "identity": self.identity, "environment": self._environment()}
        path = save_checkpoint(self.directory, self.state.step, tensors, {}, state)
        self.saved, self.saved_at = self.state.step, time.monotonic()
        prune_checkpoints(self.directory, keep_last=1)
        self.hooks.on_checkpoint(self.state.step, path)

    def _restore(self, checkpoint: Checkpoint) -> None:
        saved = dict(checkpoint.state)
        identity, environment = saved.pop("identity"), saved.pop("environment")
        keys = [key for key in {**identity, **self.identity} if identity.get(key) != self.identity.get(key)]
        if keys:
            changed = "; ".join(f"{key} was {identity.get(key)!r}, is {self.identity.get(key)!r}" for key in keys)
            raise ResumeError(f"{checkpoint.path} is of another run ({changed}): use another directory")
        if environment != self._environment():
            log.warning("resuming where the last bits may differ: %s, now %s", environment, self._environment())
        for name, array in self.arrays.items():
            array[...] = checkpoint.model[name].numpy()
        self.state = RunState(**saved)
        self.saved = self.state.step
        log.info("resumed from %s", checkpoint.path)
