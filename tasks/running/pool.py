"""Per-shard work on this machine: in a pool of spawned processes that never outlives its parent, or in threads.

The pool is kept between stages (a spawned worker costs about a second of imports) and imports no Prefect.
"""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from typing import Any

from tasks.machine.arrow import start_arrow_threads

FEW = 100  # light items that threads do sooner than processes that have to be started (a second or two each)

_pool: ProcessPoolExecutor | None = None
_pool_workers = 0


class WorkerDied(RuntimeError):
    """A worker process ended without an answer."""


def map_in_processes(
    function: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    workers: int,
    on_done: Callable[[int, Any], None],
    light: bool = False,
) -> None:
    """Call `function(*item)` for every item in at most `workers` processes; `on_done(index, result)` as each ends.

    With one worker (or one item) the work is done in this process, and so is that of a few `light` items, of a tenth of
    a second each, if the pool would have to be started for them: in threads. On any exception, Ctrl-C and termination
    included, what has not started is cancelled and the workers are killed before the exception goes on. It carries
    a note that says which item it was.

    Args:
        function: module-level, so that a spawned process can import it.

    Raises:
        WorkerDied: a worker was killed, usually by the system for want of memory.
    """
    if workers == 1 or len(items) == 1:
        _one_by_one(function, items, on_done)
        return
    if light and _pool is None and len(items) <= FEW:
        map_in_threads(function, items, workers, on_done)
        return
    try:
        _all(_shared_pool(workers), function, items, workers, on_done)
    except BrokenProcessPool as error:
        shut_down()
        raise WorkerDied(
            f"a worker process of {function.__name__} was killed, usually by the system for want of memory: "
            f"use fewer workers than {workers} (--set resources.workers=1)"
        ) from error
    except BaseException:
        shut_down()
        raise


def map_in_threads(
    function: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    workers: int,
    on_done: Callable[[int, Any], None],
    light: bool = False,
) -> None:
    """The same in threads of this process: nothing is pickled, a debugger sees all, numba's kernels run side by side.

    A thread cannot be killed: after an exception or a signal, what has not started is cancelled and what runs is
    waited for.
    """
    if workers == 1 or len(items) == 1:
        _one_by_one(function, items, on_done)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="part")
    try:
        _all(pool, function, items, workers, on_done)
    finally:
        pool.shutdown(cancel_futures=True)


def map_locally(runner: str) -> Callable[..., None]:
    """Where a stage's work on files of its own goes: threads if `resources.runner` says so, else processes.

    Not Dask: such files are on this machine, and are no artifacts yet.
    """
    return map_in_threads if runner == "threads" else map_in_processes


def _one_by_one(
    function: Callable[..., Any], items: Sequence[tuple[Any, ...]], on_done: Callable[[int, Any], None]
) -> None:
    for index, item in enumerate(items):
        with naming(function, item):
            result = function(*item)
        on_done(index, result)


def _all(
    pool: Executor,
    function: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    workers: int,
    on_done: Callable[[int, Any], None],
) -> None:
    waiting: dict[Future[Any], int] = {}
    position = 0
    while waiting or position < len(items):
        while position < len(items) and len(waiting) < 2 * workers:
            waiting[pool.submit(function, *items[position])] = position
            position += 1
        # a timeout, so that a signal that came meanwhile is acted on
        done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            index = waiting.pop(future)
            with naming(function, items[index]):
                result = future.result()
            on_done(index, result)


@contextmanager
def naming(function: Callable[..., Any], item: tuple[Any, ...]) -> Iterator[None]:
    """Add to an exception which item it came from."""
    try:
        yield
    except Exception as error:
        arguments = ", ".join(str(argument)[:200] for argument in item)
        error.add_note(f"in {function.__name__}({arguments})")
        raise


def shut_down() -> None:
    """Kill the workers of the shared pool, if there are any."""
    global _pool
    if _pool is None:
        return
    processes = list((_pool._processes or {}).values())
    _pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    _pool = None


def _shared_pool(workers: int) -> ProcessPoolExecutor:
    global _pool, _pool_workers
    if _pool is not None and (_pool_workers != workers or _pool._broken):  # an idle worker may have been killed
        shut_down()
    if _pool is None:
        _pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
        _pool_workers = workers
        atexit.unregister(shut_down)
        atexit.register(shut_down)
    return _pool


def _start_worker() -> None:
    """Workers leave signals to the parent and die with it, even when it is killed with SIGKILL.

    Each computes in one thread, Arrow's included: there are as many workers as cores are to be used.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait_for_any([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
    start_arrow_threads(1)
