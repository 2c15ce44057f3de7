"""Tiny stages for the tests of the machinery, importable by the processes that the tests start and kill."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.running.parts import Part, build_parts
from tasks.stage import Work, stage
from tasks.store import Artifact


class NumbersConfig(BaseModel):
    """How many numbers, and how slowly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = 4
    factor: int = 1


@stage(version=1)
def numbers(work: Work, config: NumbersConfig) -> None:
    """Write the numbers, one shard each."""
    _log_call("numbers")
    for i in range(config.count):
        path = work.directory / f"{i:05d}.json"
        path.write_text(json.dumps({"n": i * config.factor}))
        work.shards.append({"path": path.name, "digest": f"d{i * config.factor}", "counts": {"numbers": 1}})
    work.counts["numbers"] = config.count


@stage(version=1)
def squares(work: Work, config: NumbersConfig, *, source: Artifact) -> None:
    """Square each shard in a process pool."""
    _log_call("squares")
    shards = source.shards()
    parts = [Part({"shard": s.digest}, (str(s.path),)) for s in shards]
    build_parts(work, "squares.shard", 1, square_shard, parts)


def square_shard(directory: Path, path: str) -> dict[str, Any]:
    """One shard of `squares`; takes SQUARE_SECONDS, and is held from the number HELD_FROM on, where HELD_IN is imported
    if that names a module. DIE_ONCE kills a Dask worker at 5, unless that file exists.
    """
    _log_call("square_shard")
    time.sleep(float(os.environ.get("SQUARE_SECONDS", "0")))
    n = json.loads(Path(path).read_text())["n"]
    if n >= int(os.environ.get("HELD_FROM", "0")) and os.environ.get("HELD_IN", "sys") in sys.modules:
        _wait_until_released()
    died = os.environ.get("DIE_ONCE")
    if n == 5 and died and "distributed" in sys.modules and not Path(died).exists():
        Path(died).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (directory / "square.json").write_text(json.dumps({"n": n * n}))
    return {
        "counts": {"squares": 1},
        "shards": [{"path": "square.json", "digest": f"s{n * n}"}],
        "digest": None,
    }


@stage(version=1)
def total(work: Work, config: NumbersConfig, *, source: Artifact) -> None:
    """Add all shards up."""
    _log_call("total")
    value = sum(json.loads(s.path.read_text())["n"] for s in source.shards())
    (work.directory / "total.json").write_text(json.dumps({"total": value}))
    work.counts["total"] = value


@stage(version=1)
def slow(work: Work, config: NumbersConfig) -> None:
    """One file; takes as long as SLOW_SECONDS says, and is held."""
    _log_call("slow")
    time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
    _wait_until_released()
    (work.directory / "slow.json").write_text(json.dumps({"n": config.count}))


@stage(version=1)
def patient(work: Work, config: NumbersConfig) -> None:
    """Like a training: runs until it is told to stop, then leaves a checkpoint; goes on from it and ends."""
    checkpoint = work.scratch / "checkpoint"
    resumed = checkpoint.exists()
    with work.graceful_stop() as should_stop:
        _log_call("patient")
        while not resumed and not should_stop():
            time.sleep(0.01)
        while "STUBBORN" in os.environ:
            time.sleep(0.01)
        checkpoint.write_text("step 3")
    (work.directory / "result.json").write_text(json.dumps({"resumed": resumed}))


def _wait_until_released() -> None:
    """HELD_UNTIL names a file of the test's: before it is there the work is not over, however late the test is."""
    released = os.environ.get("HELD_UNTIL")
    while released and not Path(released).exists():
        time.sleep(0.01)


def _log_call(name: str) -> None:
    log = os.environ.get("STAGE_CALLS")
    if log:
        with open(log, "a") as handle:
            handle.write(f"{name} {os.getpid()}\n")
