"""Whether a pipeline run is alive: by its process on the same machine, by its heartbeat on another one."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tasks.machine.beside import beside
from tasks.machine.host import HOST, process_runs
from tasks.running.journal import noted_stages
from tasks.storage.files import read_json
from tasks.storage.objects import ObjectError
from tasks.storage.shared import SharedStore
from tasks.store import Store

logger = logging.getLogger("textmill.heartbeat")

HEARTBEAT = "heartbeat"  # a file in the run's directory; its modification time counts
BEAT_SECONDS = 15.0
DEAD_SECONDS = 120.0  # many beats, and more than clocks differ
PROCESS = {"identity", "pid", "process_created"}  # of a record: which process runs it, and what


def read_run(directory: Path) -> dict[str, Any]:
    """A run's record with the time of its last heartbeat; empty when it was killed before it had one, or is damaged."""
    try:
        record = dict(read_json(directory / "run.json"))
        if record["state"] == "running" and not record.keys() >= PROCESS:
            raise ValueError("it does not say which process runs it")
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning("%s is damaged (%s): that run is passed over", directory / "run.json", error)
        return {}
    try:
        record["heartbeat"] = (directory / HEARTBEAT).stat().st_mtime
    except FileNotFoundError:
        record["heartbeat"] = record.get("started", 0.0)
    return record


def worked_seconds(record: Mapping[str, Any]) -> float:
    """How long a run's processes have worked until its end or last heartbeat, pauses between them left out."""
    began = record.get("attempt_started", record.get("started"))
    if began is None:
        return 0.0
    until = record.get("ended") or record["heartbeat"]
    return float(record.get("earlier_seconds", 0.0)) + max(0.0, until - began)


def is_alive(record: Mapping[str, Any]) -> bool:
    """Whether the process that a record names still runs.

    A process of another machine cannot be looked for: it is dead when its heartbeat is older than `DEAD_SECONDS`.
    """
    if record.get("state") != "running":
        return False
    if record.get("host", HOST) == HOST:
        return process_runs(record["pid"], record["process_created"])
    return time.time() - float(record["heartbeat"]) < DEAD_SECONDS


@contextmanager
def beating(store: Store, directory: Path) -> Iterator[None]:
    """Renew a run's heartbeat inside the block, here and in the store that it shares with other machines."""
    beat(store, directory)
    with beside(partial(_beat, store, directory), "heartbeat"):
        yield


def beat(store: Store, directory: Path) -> None:
    """One heartbeat. A shared store is told what the run has used so far, so that nothing of it is collected."""
    try:
        touch(directory)
    except OSError as error:  # a full disk: where the run has to write, it says so itself
        logger.warning("the heartbeat of %s was not written: %s", directory.name, error)
    if not isinstance(store, SharedStore):
        return
    record = read_run(directory)
    shown = ("flow", "state", "host", "pid", "process_created", "started")
    stages = dict.fromkeys(noted_stages(directory))
    told = {name: record[name] for name in shown if name in record}
    try:
        store.remote.write_run(directory.name, {**told, "heartbeat": time.time(), "stages": list(stages)})
    except ObjectError as error:  # the run goes on; where it has to write, it says so itself
        logger.warning("the shared store was not told that this run is alive: %s", error)


def touch(directory: Path) -> None:
    """Renew the heartbeat that stands in the run's own directory."""
    (directory / HEARTBEAT).touch()
    os.utime(directory / HEARTBEAT)


def _beat(store: Store, directory: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        beat(store, directory)
