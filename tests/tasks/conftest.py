"""Fixtures of the stage machinery's tests: a store of its own for each, in this process and in others."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, where a driver with the same `tmp_path` also works."""
    return Store(tmp_path / "store")


@pytest.fixture
def run(store: Store) -> Iterator[Run]:
    """The current run of the test: one worker, no Prefect, no MLflow."""
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))) as run:
        yield run
    pool.shut_down()


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The names of the stage functions that were called so far, in this process or in drivers."""
    log = tmp_path / "calls"
    monkeypatch.setenv("STAGE_CALLS", str(log))
    return lambda: [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


@dataclass
class Drivers:
    """Starts `tests.tasks.driver` processes on one home and ends what is left of them."""

    home: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, action: str, **environment: str) -> subprocess.Popen[str]:
        """Start a driver in a session of its own; its output is collected."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.tasks.driver", action],
            cwd=ROOT,
            env=os.environ | {"TEXTMILL_HOME": str(self.home), "STAGE_CALLS": str(self.home / "calls")} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def finish(self, action: str, **environment: str) -> dict[str, Any]:
        """Run a driver to its end. Returns what it printed."""
        process = self.start(action, **environment)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return dict(json.loads(output))

    def calls(self, name: str) -> list[int]:
        """The process ids of the calls of a stage function so far."""
        log = self.home / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [int(pid) for called, pid in map(str.split, lines) if called == name]


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Drivers]:
    """Drivers on the home `tmp_path`."""
    drivers = Drivers(tmp_path)
    yield drivers
    for process in drivers.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; an unreaped orphan has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
