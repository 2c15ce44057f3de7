"""The average of a run's last checkpoints (Vaswani et al. 2017, section 6.1: the last 5, written every 10 minutes).

Which checkpoints are averaged must follow from the configuration alone: those at the last multiples of an interval in
steps, and the last step. Those that a kill or the clock caused do not count. They are kept beside the run's own, which
prunes by another rule.
"""

import logging
import os
import shutil
from pathlib import Path

import torch
from torch import Tensor

from lm.train.averaged_steps import averaged_steps
from lm.train.checkpoint import CorruptCheckpoint, list_checkpoints, verify
from lm.train.checkpoint_files import fsync
from lm.weights import read_weights

log = logging.getLogger(__name__)

KEPT = "averaged"


class LastCheckpoints:
    """Keeps the weights of the last `count` checkpoints of a run of `steps`, `interval` steps apart.

    `keep` is the trainer's `on_checkpoint` and may be called from the thread that writes; `average` only after the run.
    The trainer must be told `checkpoint_interval=interval`. Raises ValueError if the run is too short to have so many.
    """

    def __init__(self, directory: Path, steps: int, count: int, interval: int) -> None:
        self.wanted = averaged_steps(steps, count, interval)
        self.directory = directory
        self.folder = directory / KEPT
        # A kill between a checkpoint and `keep` must not lose it. What is kept was good when it was copied and stays.
        for step, path in list_checkpoints(directory):
            if self._file(step).exists():
                continue
            try:
                self.keep(step, path)
            except CorruptCheckpoint as error:
                log.warning("checkpoint of step %d not kept for the average: %s", step, error)

    def keep(self, step: int, path: Path) -> None:
        """Take note of a checkpoint, a copy of its weights if it is one of those wanted. Raises CorruptCheckpoint for
        one that is wanted and damaged."""
        if step not in self.wanted:
            return
        verify(path)
        self.folder.mkdir(exist_ok=True)
        partial = self.folder / ".tmp"
        shutil.copyfile(path / "model.safetensors", partial)
        fsync(partial)
        os.replace(partial, self._file(step))
        fsync(self.folder)

    def average(self) -> dict[str, Tensor]:
        """The mean of each weight, summed in fp64 from the oldest on. Raises FileNotFoundError naming one that is
        missing."""
        mean: dict[str, Tensor] = {}
        dtypes: dict[str, torch.dtype] = {}
        for step in self.wanted:
            if not self._file(step).exists():
                raise FileNotFoundError(f"{self._file(step)}: the checkpoint of step {step} is needed for the average")
            for name, tensor in read_weights(self._file(step)).items():
                dtypes[name] = tensor.dtype
                mean[name] = mean[name] + tensor.double() if name in mean else tensor.double()
        return {name: (total / len(self.wanted)).to(dtypes[name]) for name, total in mean.items()}

    def _file(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.safetensors"
