"""Per-shard work on a Dask cluster, through Prefect's DaskTaskRunner: batches as task runs of the stage's flow run.

Scheduling, retries on another worker and the transport are Dask's; task runs, names and logs in the UI are Prefect's.
What is done here is to cut the work into batches. A task on this way costs 0.1 to 0.35 s (start of the task run, its
states told to the server, its logs), so a batch has to be some ten seconds of work; how much that is, is measured on
the batches that have ended.

The runner is started inside a stage's task rather than given to the flow: which one it is, is a value of the config,
and a stage that is found in the store starts no cluster. It is kept until the pipeline run ends.
"""

import atexit
import contextvars
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from data_quality.errors import UsageError
from tasks.machine.arrow import start_arrow_threads
from tasks.machine.host import HOST
from tasks.running.pool import WorkerDied, naming

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

    from tasks.machine.resources import Resources

logger = logging.getLogger("textmill.cluster")

BATCH_SECONDS = 12.0  # a task's cost is then 1 to 3 %
LAST_SECONDS = 5.0  # batches get smaller towards the end, so that the workers end together, but not smaller than this
START_SECONDS = 60.0  # for the first worker of a cluster to appear
MALLOC = {"MALLOC_TRIM_THRESHOLD_": 256 << 20, "MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_ARENA_MAX": 1}
"""glibc's settings for local workers: as Dask starts them, they give memory back whenever 64 KiB are free and fetch it
again, and the same work takes a quarter longer (docs/results/data-quality.md). Bytes, bytes, a number. Where workers
are started by hand, these belong into their environment."""
POLL_SECONDS = 0.5  # a signal that came meanwhile is acted on

_runner: "DaskTaskRunner | None" = None
_settings: tuple[str | None, int] = (None, 0)


class Batch:
    """Calls that one task makes. A plain class: Prefect looks into tuples and models for futures, not into this."""

    def __init__(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> None:
        self.function = function
        self.items = list(items)


def map_in_batches(
    function: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    weights: Sequence[int],
    resources: "Resources",
    label: str,
    on_done: Callable[[int, Any], None],
    flow_context: contextvars.Context | None,
) -> dict[str, dict[str, float]]:
    """Call `function(*item)` for every item on the cluster; `on_done(index, result)` as the batches end.

    A worker that dies loses its batch, which Dask gives to another one (four times at most). What the function has
    already published is found there and not made again.

    Args:
        function: module-level; the workers import it.
        weights: relative cost of each item.
        label: what the items are, for the names of the task runs.
        flow_context: the context of the flow run, outside of the stage's task: a task run that is submitted inside
            another one carries that one along, and a stage's holds what cannot be sent (the terminal).

    Returns:
        For each worker (`host.process`): batches, seconds of work, its largest resident size in bytes, and when its
        first batch began and its last one ended (seconds since the epoch, by its own clock).

    Raises:
        WorkerDied: several workers in turn died of one batch, or the cluster is gone.
        UsageError: there is no flow run, the extra is not installed, or the cluster has no worker.
    """
    if not items:
        return {}
    if flow_context is None:
        raise UsageError("resources.runner: dask works inside a Prefect flow run only; use processes or threads")
    runner = _started(resources)
    running: dict[Any, tuple[int, int]] = {}  # future: its items from, to
    workers: dict[str, dict[str, float]] = {}

    def submit(task: Any, parameters: dict[str, Any]) -> Any:
        return flow_context.run(lambda: runner.submit(task, parameters))

    try:
        _run(runner, submit, function, items, weights, label, on_done, running, workers)
    except BaseException:
        if _runner is not None:
            runner.client.cancel([future.wrapped_future for future in running])
        shut_down()
        raise
    return workers


def shut_down() -> None:
    """End the local cluster, or the connection to a remote one, if there is any."""
    global _runner
    if _runner is not None:
        runner, _runner = _runner, None
        runner.__exit__(None, None, None)


def batch_end(weights: Sequence[int], start: int, seconds_per_weight: float | None, slots: int) -> int:
    """Where the batch that begins at `start` ends: one item until the speed is known, then so many seconds of work."""
    if seconds_per_weight is None:
        return start + 1
    fair = seconds_per_weight * sum(weights[start:]) / slots
    seconds = min(BATCH_SECONDS, max(fair, LAST_SECONDS))
    end, filled = start + 1, seconds_per_weight * weights[start]
    while end < len(weights) and filled + seconds_per_weight * weights[end] / 2 < seconds:
        filled += seconds_per_weight * weights[end]
        end += 1
    return end


def run_batch(name: str, batch: Batch) -> dict[str, Any]:
    """In a worker: make the calls of a batch in order."""
    started = time.perf_counter()
    start_arrow_threads()
    results = []
    for item in batch.items:
        with naming(batch.function, item):
            results.append(batch.function(*item))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "results": results,
        "worker": f"{HOST}.{os.getpid()}",
        "seconds": time.perf_counter() - started,
        "ended": time.time(),
        "peak_bytes": peak,
    }


def _run(
    runner: "DaskTaskRunner",
    submit: Callable[..., Any],
    function: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    weights: Sequence[int],
    label: str,
    on_done: Callable[[int, Any], None],
    running: dict[Any, tuple[int, int]],
    workers: dict[str, dict[str, float]],
) -> None:
    import distributed
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    prefect_task = task(
        name=label, task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, log_prints=False
    )(run_batch)
    position, done_weight, done_seconds = 0, 0.0, 0.0
    while running or position < len(items):
        slots = max(1, sum(runner.client.nthreads().values()))
        speed = done_seconds / done_weight if done_weight else None
        while position < len(items) and len(running) < (slots if speed is None else 2 * slots):
            end = batch_end(weights, position, speed, slots)
            name = f"{label} {position + 1}" + (f"-{end}" if end > position + 1 else "") + f" of {len(items)}"
            batch = Batch(function, items[position:end])
            running[submit(prefect_task, {"name": name, "batch": batch})] = (position, end)
            position = end
        waiting = {future.wrapped_future: future for future in running}
        try:
            with runner.client.as_current():
                ended = distributed.wait(list(waiting), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED").done
        except distributed.TimeoutError:
            continue
        for future in (waiting[wrapped] for wrapped in ended):
            start, end = running.pop(future)
            answer = _result(future)
            # the latest count most: a worker's first batch also loads libraries
            done_weight = done_weight / 2 + sum(weights[start:end])
            done_seconds = done_seconds / 2 + answer["seconds"]
            _note_worker(workers, answer)
            for index, result in zip(range(start, end), answer["results"], strict=True):
                on_done(index, result)


def _note_worker(workers: dict[str, dict[str, float]], answer: dict[str, Any]) -> None:
    ended, seconds = answer["ended"], answer["seconds"]
    new = {"batches": 0, "seconds": 0.0, "peak_bytes": 0, "first_started": ended - seconds, "last_ended": ended}
    worker = workers.setdefault(answer["worker"], new)
    worker["batches"] += 1
    worker["seconds"] += seconds
    worker["peak_bytes"] = max(worker["peak_bytes"], answer["peak_bytes"])
    worker["first_started"] = min(worker["first_started"], ended - seconds)
    worker["last_ended"] = max(worker["last_ended"], ended)


def _result(future: Any) -> dict[str, Any]:
    import distributed
    from distributed.scheduler import KilledWorker

    try:
        return dict(future.result())
    except KilledWorker as error:
        raise WorkerDied(
            f"several Dask workers in turn died of one batch, usually for want of memory: {error}"
        ) from error
    except distributed.CancelledError as error:
        raise WorkerDied("the Dask scheduler is gone: run it again, what is finished is kept") from error


def _started(resources: "Resources") -> "DaskTaskRunner":
    """The runner, started at the first use; a local cluster that has died is replaced."""
    global _runner, _settings
    try:
        import dask
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError(f"resources.runner: dask needs pip install -e '.[dask]' ({error})") from error

    settings = (resources.dask_address, resources.workers)
    if _runner is not None and (_settings != settings or _runner.client.status != "running"):
        shut_down()
    if _runner is None:
        if resources.dask_address:
            runner = DaskTaskRunner(address=resources.dask_address)
        else:
            # one thread a worker, as in the pool: the work is Python's
            runner = DaskTaskRunner(
                cluster_kwargs={
                    "n_workers": resources.workers,
                    "threads_per_worker": 1,
                    "dashboard_address": "127.0.0.1:0",
                }
            )
        runner.__enter__()
        _runner, _settings = runner, settings
        atexit.unregister(shut_down)
        atexit.register(shut_down)
        try:
            environment = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **MALLOC}
            with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}):
                runner.client.wait_for_workers(1, timeout=START_SECONDS)
        except (OSError, TimeoutError) as error:
            shut_down()
            where = resources.dask_address or "the local Dask cluster"
            raise UsageError(f"{where} has no worker after {START_SECONDS:.0f} s ({error})") from error
    return _runner
