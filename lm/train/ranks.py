"""What the trainer asks of the processes ("ranks") that share a training. `Alone` is the answer of a single one; those
of several, which talk to each other, are in `lm.train.distributed`.

Rank r of n reads the r-th n-th of each batch. All have the same step number, the same figures and, together, one set of
weights; the first rank ("main") alone evaluates, samples, writes and tells.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from lm.train.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from lm.train.objective import Batch, Losses, Objective
from lm.train.shards import read_parts
from lm.train.writing import Beside, copied

Found = TypeVar("Found")
LossesOf = Callable[[Batch], Losses]
Tensors = dict[str, Tensor]


class Alone:
    """One process."""

    rank, count = 0, 1

    def __init__(self) -> None:
        self._writer = Beside()

    def wrap(self, model: nn.Module, objective: Objective) -> LossesOf:
        """Make `model`, already on its device, one of several; returns what gives the losses of a micro-batch."""
        return partial(objective.losses, model)

    def accumulating(self, more: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a micro-batch: whether more of the same step follow."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients those of this rank's share of the step's loss; behind a step's last micro-batch they are
        the sums over all ranks."""
        loss.backward()

    def total(self, figures: dict[str, float]) -> dict[str, float]:
        """Each figure summed over the ranks, whose names must be the same."""
        return figures

    def agree(self, wish: bool) -> bool:
        """Whether any rank wishes so."""
        return wish

    def told(self, find: Callable[[], Found]) -> Found:
        """What `find` (of what JSON can say) finds on the main rank. `Interrupted` there is raised on all. Another
        error is raised there, and the others, who must not wait for an answer, raise that it failed."""
        return find()

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[nn.Module]:
        """The whole model as a plain module, to be used on the main rank alone; in the mode (train, eval) it has."""
        yield model

    def save(
        self,
        directory: Path,
        step: int,
        model: Tensors,
        optimizer: Tensors,
        state: dict[str, Any],
        published: Callable[[Path], None],
    ) -> None:
        """Write a checkpoint, whole or not at all, beside the training: returns once the tensors are copied and the
        checkpoint before is durable. `published` hears of each that is, on the main rank, in the writing thread.

        Until then weights and moments are in memory once more (AdamW in fp32: 12 bytes a parameter).
        """
        self._writer.wait()
        weights, moments = copied(model), copied(optimizer)
        self._writer.start(lambda: published(save_checkpoint(directory, step, weights, moments, state)))

    def finish(self) -> None:
        """Return once every checkpoint is durable. Raises what went wrong with one."""
        self._writer.wait()

    def leave(self) -> None:
        """On the way out with an error: what this process alone was writing is finished."""
        self._writer.settle()

    def newest(self, directory: Path) -> Checkpoint | None:
        """The newest good checkpoint (`latest_checkpoint`), what belongs to this rank of it."""
        return latest_checkpoint(directory)

    def load(self, path: Path) -> Checkpoint:
        """What belongs to this rank of a checkpoint that the main rank has verified."""
        return read_parts(path)
