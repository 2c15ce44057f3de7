"""One process of a shared pretraining, as torchrun starts it:  python -m lm.launch.worker FOLDER.

Standard input is a pipe from the process that started torchrun: a byte asks for a checkpoint and the end, and the end
of the pipe says that nobody is left who would wait for this one.
"""

import logging
import os
import select
import signal
import sys
import threading
from pathlib import Path

import torch
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import Store

from lm.launch.events import LogLines, Teller
from lm.launch.failure import leave_error
from lm.launch.job import EVENTS, RESULT, Job, read_given, read_job, write_whole
from lm.pretrain import pretrain
from lm.stop import Interrupted
from lm.train.distributed import Replicas, Sharded, join
from lm.train.hooks import Hooks

LOOK_SECONDS = 0.5
GRACE_SECONDS = 3.0
"""For a rank to see by itself that another failed; on a GPU it may wait for it instead."""


class Stop:
    """Whether this rank was asked to stop: by a signal, or through the pipe."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._asked.set())

    def __call__(self) -> bool:
        return self._asked.is_set()

    def follow(self, pipe: int, job: Job) -> None:
        """Heed the pipe, and the failures of other ranks, from a thread."""
        threading.Thread(target=self._follow, args=(pipe, job), daemon=True, name="launcher-watch").start()

    def _follow(self, pipe: int, job: Job) -> None:
        while True:
            if select.select([pipe], [], [], LOOK_SECONDS)[0]:
                if not os.read(pipe, 1):
                    os._exit(1)
                self._asked.set()
            elif job.errors():
                threading.Event().wait(GRACE_SECONDS)
                os._exit(1)


def run(job: Job, rank: int, local_rank: int, store: Store | None, stop: Stop) -> None:
    """Take part as one rank; the main one leaves the result. Raises as `lm.pretrain.pretrain` does."""
    parallel = job.parallel
    given = read_given(job.folder, stop)
    device = given.config.device
    assert device != "auto"
    torch.set_num_threads(max(1, job.threads // parallel.processes))
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    teller = Teller(job.folder / EVENTS) if rank == 0 else None
    if teller is not None:
        logging.getLogger("lm").addHandler(LogLines(teller))
        logging.getLogger("lm").setLevel(logging.INFO)
    join(rank, parallel.ranks, device, store)
    ranks = Replicas() if parallel.sharding == "ddp" else Sharded()
    try:
        hooks = teller.hooks() if teller else Hooks()
        result = pretrain(given, job.checkpoints, job.out_dir, hooks, ranks)
    except Interrupted as stopped:
        if teller is not None:
            teller.tell("interrupted", str(stopped))
        return
    if rank == 0:
        write_whole(job.folder / RESULT, result)


def main() -> None:
    """Be the rank that torchrun's environment says."""
    job = read_job(Path(sys.argv[1]))
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    stop = Stop()
    try:
        stop.follow(sys.stdin.fileno(), job)
        store = None
        if job.parallel.nodes == 1:
            store = FileStore(str(job.store), job.parallel.ranks)
        run(job, rank, local_rank, store, stop)
    except BaseException as error:  # noqa: BLE001 whatever it is, it is to be read by people, and the others must not wait
        leave_error(job, rank, error)
        sys.stdout.flush()
        sys.excepthook(type(error), error, error.__traceback__)
        os._exit(1)  # at once: ending in order would wait for ranks that wait for this one
    sys.stdout.flush()
    os._exit(0)  # likewise; all is written


if __name__ == "__main__":
    main()
