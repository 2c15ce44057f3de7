"""Functions for the workers of tests/tasks/test_pool.py."""

import faulthandler
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any


def square_slowly(n: int, seconds: float) -> tuple[int, int]:
    """The square of n, and who computed it."""
    time.sleep(seconds)
    return n * n, os.getpid()


def square_in_turn(n: int, collected: str) -> tuple[int, int]:
    """The square of n, and who computed it; of 0 when the file says that another one was collected."""
    while n == 0 and not Path(collected).exists():
        time.sleep(0.01)
    return n * n, os.getpid()


def fail_at(n: int, bad: int, log: str) -> int:
    """Raise for one item; others note their process and take for ever."""
    if n == bad:
        while Path(log).stat().st_size == 0:  # until the other worker is at work
            time.sleep(0.01)
        raise ValueError(f"line {n} is broken")
    with open(log, "a") as handle:
        handle.write(f"{os.getpid()}\n")
    time.sleep(3600)
    return n


def unpicklable(n: int) -> Any:
    """A result that cannot be sent back."""
    return lambda: n


def die(n: int) -> None:
    """What the system does to a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def read_without_threads(small: str, large: str) -> int:
    """Take all memory away but 4 MB, half of what a thread needs, and read two tables; the second one has no room."""
    import pyarrow as pa
    import pyarrow.dataset  # with which tables are read
    import pyarrow.parquet as pq

    faulthandler.dump_traceback_later(60, exit=True)  # in place of waiting for ever
    pa.set_memory_pool(pa.system_memory_pool())  # others hold a gigabyte of address space in store
    pq.ParquetFile(small).read(use_threads=False)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 4 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    assert pq.read_table(small).num_rows == 100
    return int(pq.read_table(large).num_rows)
