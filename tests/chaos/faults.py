"""What a process is made to suffer before it begins: each fault by its name, with what it is given."""

import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tasks.running import pool

_BEFORE: dict[str, Callable[..., Any]] = {}
"""What was replaced in this process."""


def clock_jumps(seed: int, largest: float = 7200.0) -> None:
    """The wall clock is set forth or back by up to `largest` seconds, again and again, while monotonic time goes on.

    `time.time` and `time.time_ns` of this process, and the boot time from which psutil derives start times: that one
    follows the clock on Linux.
    """
    import psutil
    import psutil._pslinux as system

    draw, offset = random.Random(seed), [0.0]
    real, real_ns, real_boot = time.time, time.time_ns, system.boot_time

    def jump() -> None:
        while True:
            offset[0] = draw.uniform(-largest, largest)
            time.sleep(draw.uniform(0.01, 0.3))

    time.time = lambda: real() + offset[0]
    time.time_ns = lambda: real_ns() + int(offset[0] * 1e9)
    system.boot_time = psutil.boot_time = lambda: real_boot() + offset[0]
    offset[0] = draw.uniform(-largest, largest)
    threading.Thread(target=jump, daemon=True, name="clock").start()


def flaky_store(seed: int, rate: float = 0.2, slowest: float = 0.005) -> None:
    """`flaky://` URLs name a store that misbehaves (tests/chaos/flaky.py); retries do not pause."""
    from tests.chaos import flaky

    flaky.register(seed, rate, slowest)
    import tasks.storage.objects

    tasks.storage.objects.PAUSE_SECONDS = 0.0


def little_memory(megabytes: int) -> None:
    """So much address space beyond what the process has, as `ulimit -v` gives it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def little_memory_in_workers(megabytes: int) -> None:
    """The same for each worker of the pool, beyond what it has as it starts; this process has as much as it wants."""
    pool._start_worker = partial(_start_small_worker, megabytes)  # type: ignore[assignment]


def _start_small_worker(megabytes: int) -> None:
    pool._start_worker()  # of the worker, where nothing was replaced
    little_memory(megabytes)


def all_in_the_pool(seconds: float = 0.0) -> None:
    """A few light parts go to the pool as well, as the many of a large corpus do; each takes so much longer."""
    from tasks.running import parts

    pool.FEW = parts.FEW_FOR_TASKS = 0
    os.environ["PART_SECONDS"] = str(seconds)
    _BEFORE["build_part"] = parts.build_part
    parts.build_part = build_part_slowly


def build_part_slowly(*given: Any) -> Any:
    """In place of `build_part`, here and in the workers."""
    from tasks.running import parts

    time.sleep(float(os.environ["PART_SECONDS"]))
    return _BEFORE.get("build_part", parts.build_part)(*given)


def slow_shards(seconds: float) -> None:
    """Shards of the tiny stages take so long."""
    os.environ["SQUARE_SECONDS"] = str(seconds)


def environment(**variables: str) -> None:
    """Variables of this process."""
    os.environ.update(variables)


def machine(name: str, lease_seconds: float) -> None:
    """This process runs on a machine of that name. Others see of it what is on a shared store; a lease that nobody
    renews lasts so long."""
    from tasks.machine import host
    from tasks.storage.lease import leased

    here = host.HOST
    for module in list(sys.modules.values()):
        if module.__name__.startswith("tasks.") and vars(module).get("HOST") == here:
            vars(module)["HOST"] = name
    leased.__wrapped__.__defaults__ = (lease_seconds,)  # type: ignore[attr-defined]


FAULTS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        *(clock_jumps, flaky_store, slow_shards, environment, machine),
        *(little_memory, little_memory_in_workers, all_in_the_pool),
    )
}


def suffer(faults: dict[str, dict[str, Any]]) -> None:
    """Let this process suffer every fault that is named."""
    for name, arguments in faults.items():
        FAULTS[name](**arguments)
