"""What each step reads: made by the training process itself, or ahead of it by processes of their own.

The batches of step n are a function of n (`lm.order`), so that neither how many processes make them nor when changes a
bit. They pay where making a batch takes long beside a step: masks and pairs are drawn in Python, a GPU waits for them.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import torch

from lm.order import Order
from lm.stop import ShouldStop, check, never
from lm.train.objective import Batch, Examples

AHEAD = 2  # steps that each process is ahead of the training
START_METHOD = "spawn"
"""Not a fork: the training process has threads, and perhaps a GPU."""

_steps: "Steps | None" = None  # of this worker process


class WorkerDied(RuntimeError):
    """A process that made batches ended without an answer."""


@dataclass(frozen=True)
class Reading:
    """What one step reads: the numbers of all its examples, int64 [batch], and those of this rank in micro-batches."""

    chosen: np.ndarray
    parts: list[Batch]


@dataclass(frozen=True)
class Steps:
    """What the steps of a training read, each by its number; of `ranks` processes that share a batch, the `rank`-th."""

    examples: Examples
    order: Order
    batch: int
    micro_batch: int
    seed: int
    rank: int = 0
    ranks: int = 1

    def __getitem__(self, step: int) -> Reading:
        chosen = self.order(step * self.batch, self.batch, len(self.examples), self.seed)
        share = np.split(chosen, self.ranks)[self.rank]
        parts = [share[i : i + self.micro_batch] for i in range(0, len(share), self.micro_batch)]
        try:
            return Reading(chosen, [self.examples.batch(part) for part in parts])
        except Exception as error:
            error.add_note(f"while the batch of step {step} was made{self._whence(chosen)}")
            raise

    def _whence(self, chosen: np.ndarray) -> str:
        """Which of the examples alone fails too, and where its text is from if they can say (`where`)."""
        for number in chosen:
            try:
                self.examples.batch(np.array([number]))
            except Exception:  # noqa: BLE001 the same as in the batch: that one goes on
                where = getattr(self.examples, "where", None)
                with suppress(OSError):
                    return f": example {number}" + (f", from {where(int(number))}" if where else "")
        return f" from examples {', '.join(map(str, chosen[:10]))}" + (", ..." if len(chosen) > 10 else "")


def readings(
    steps: Steps, first: int, end: int, workers: int, should_stop: ShouldStop = never
) -> Generator[Reading, None, None]:
    """What steps first .. end - 1 read, in order. 0 `workers`: each is made when it is asked for. Else so many
    processes are up to two steps each ahead; they start with the first that is asked for, end with the iterator (close
    it), and die with this process however it ends.

    Raises what making a batch raises, with a note on where its text is from, and WorkerDied if a process was killed;
    Interrupted if that is since all are to stop.
    """
    if not workers:
        yield from (steps[step] for step in range(first, end))
        return
    context = multiprocessing.get_context(START_METHOD)
    pool = ProcessPoolExecutor(min(workers, end - first), context, _start, (steps,))
    ahead = range(first, min(first + AHEAD * workers, end))
    try:
        waiting = _sent(pool, ahead)
        for step in range(first, end):
            chosen, parts = waiting.popleft().result()
            if step + len(ahead) < end:
                waiting.append(pool.submit(_made, step + len(ahead)))
            yield Reading(chosen, [{name: torch.from_numpy(array) for name, array in part.items()} for part in parts])
    except BrokenProcessPool as error:
        check(should_stop, "training")  # a signal to all processes of a group ends these, and asks that one to stop
        raise WorkerDied(
            "a process that makes batches ended. What it wrote says why; if it wrote nothing it was killed, usually by"
            f" the system for want of memory: use fewer of them than train.data_workers {workers}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _sent(pool: ProcessPoolExecutor, steps: range) -> deque[Future[Any]]:
    """The first of the work; with it the processes start, and what they read is sent to them."""
    try:
        return deque(pool.submit(_made, step) for step in steps)
    except Exception as error:
        error.add_note("train.data_workers sends the examples to other processes; with 0 they stay in this one")
        raise


def _start(steps: Steps) -> None:
    """A worker leaves signals to the training process, and dies with it."""
    global _steps
    _steps = steps
    os.setsid()  # what a terminal, or torchrun, sends to all that the training process started is for that one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _made(step: int) -> tuple[np.ndarray, list[Mapping[str, np.ndarray]]]:
    """As arrays: tensors would be sent by a file in shared memory each, of which a process may have so many open."""
    assert _steps is not None
    reading = _steps[step]
    return reading.chosen, [{name: tensor.numpy() for name, tensor in part.items()} for part in reading.parts]
