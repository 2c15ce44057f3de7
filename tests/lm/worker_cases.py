"""What `tests.lm.test_batches` asks of processes that make batches, where a fork is safe (`tests.lm.fork_server`)."""

import multiprocessing
import os
import signal
from contextlib import closing

import numpy as np
import torch

from lm.order import examples_at
from lm.stop import Interrupted
from lm.train import batches
from lm.train.batches import Steps, WorkerDied, readings


class Numbers:
    """Example n is [n, n]; one of them is bad, and one kills whoever makes it unless that is the process `spared`."""

    fingerprint = "numbers"

    def __init__(self, bad: int | None = None, deadly: int | None = None) -> None:
        self.bad, self.deadly, self.spared = bad, deadly, os.getpid()

    def __len__(self) -> int:
        return 10

    def where(self, number: int) -> str:
        return f"line {number + 1} of numbers.txt"

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        if self.deadly in indices and os.getpid() != self.spared:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.bad in indices:
            raise KeyError(f"no number {self.bad}")
        maker = torch.full((len(indices),), os.getpid())
        return {"n": torch.from_numpy(np.stack([indices, indices], 1)), "maker": maker}


def steps(**numbers: int | None) -> Steps:
    return Steps(Numbers(**numbers), examples_at, batch=4, micro_batch=3, seed=7)


def readings_of(workers: int, first: int, end: int) -> dict[str, object]:
    """What the steps read, whether it is what they are to read, how many processes made it, and what they left."""
    found = list(readings(steps(), first, end, workers))
    expected = [steps()[n] for n in range(first, end)]
    same = [
        np.array_equal(a.chosen, b.chosen)
        and [len(part["n"]) for part in a.parts] == [3, 1]
        and all(
            torch.equal(x["n"], y["n"]) and x["n"].dtype == y["n"].dtype for x, y in zip(a.parts, b.parts, strict=True)
        )
        for a, b in zip(found, expected, strict=True)
    ]
    makers = {int(part["maker"][0]) for reading in found for part in reading.parts}
    left = len(multiprocessing.active_children())
    return {"steps": len(found), "same": all(same), "here": os.getpid() in makers, "makers": len(makers), "left": left}


def broken_off(workers: int) -> int:
    """Processes left once only the first of many steps was read."""
    with closing(readings(steps(), 0, 1000, workers)) as read:
        next(read)
    return len(multiprocessing.active_children())


def bad_example(workers: int) -> dict[str, object]:
    """What comes out if one example cannot be made."""
    try:
        list(readings(steps(bad=5), 0, 5, workers))
    except KeyError as error:
        left = len(multiprocessing.active_children())
        return {"args": error.args, "notes": error.__notes__, "cause": str(error.__cause__), "left": left}
    raise AssertionError("nothing came out")


def cannot_be_sent() -> str:
    """What is said if the examples cannot be pickled, in the way that users start processes."""
    unsendable = steps()
    unsendable.examples.where = lambda number: ""  # type: ignore[attr-defined]
    batches.START_METHOD = "spawn"
    try:
        next(readings(unsendable, 0, 5, 1))
    except (AttributeError, TypeError) as error:
        return str(error.__notes__[0])
    raise AssertionError("it was sent")


def killed_worker(stopping: bool) -> str:
    """What comes out if a process is killed, and whether all are to stop."""
    try:
        list(readings(steps(deadly=5), 0, 5, 2, lambda: stopping))
    except (WorkerDied, Interrupted) as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing came out")
