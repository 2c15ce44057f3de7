"""Servers that go away and come back while a flow runs: a home of its own, with what is needed to say how it ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil

from tests.s3 import free_port

ROOT = Path(__file__).parents[2]
DRIVER = [sys.executable, "-m", "tests.tasks.flow_driver"]
PATIENCE = 600.0
ENSURE = "import sys; from flows.servers import services; services.ensure(*sys.argv[1:])"
DOWN = "from flows.servers import services; services.down()"


class ServedHome:
    """A home with servers of its own, in processes of their own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "TEXTMILL_"))}
        self.environment = {
            **inherited,
            "TEXTMILL_HOME": str(folder),
            "STORE": str(folder / "store"),
            "STAGE_CALLS": str(folder / "calls"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            **variables,
        }

    def ensure(self, *servers: str) -> None:
        """Start what does not answer, and wait for it."""
        self.choose_ports()
        self._python(ENSURE, *servers)

    def choose_ports(self) -> None:
        """Those that the system offers: another home that starts now would take the usual ones at the same moment."""
        ports = self.folder / "services" / "ports.json"
        if not ports.exists():
            ports.parent.mkdir(parents=True, exist_ok=True)
            ports.write_text(json.dumps({server: free_port() for server in ("prefect", "mlflow", "postgres")}))

    def down(self) -> None:
        """End all of it."""
        self._python(DOWN)

    def kill(self, server: str) -> None:
        """SIGKILL to a server and its children, as an outage would."""
        record = json.loads((self.folder / "services" / f"{server}.pid").read_text())
        process = psutil.Process(record["pid"])
        members = [*process.children(recursive=True), process]
        for member in members:
            with suppress(psutil.NoSuchProcess):  # PostgreSQL's come and go
                member.send_signal(signal.SIGKILL)
        # until the system's first process has looked: PostgreSQL takes a dead one that is still listed for a live one
        psutil.wait_procs(members, timeout=PATIENCE)

    def start(self, *command: str, output: IO[str] | None = None, **variables: str) -> "subprocess.Popen[str]":
        """A process of this home. What it prints goes to `output`, by default a pipe that somebody reads."""
        return subprocess.Popen(
            [*command],
            cwd=ROOT,
            env=self.environment | variables,
            text=True,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, *command: str, **variables: str) -> str:
        """What one prints that has to end well."""
        process = self.start(*command, **variables)
        output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise RuntimeError(output[-4000:])
        return output

    def reconciled(self) -> dict[str, Any]:
        """What `tests.tasks.flow_driver reconcile` says: dead runs, and the states of all flow runs and tasks."""
        return answered(self.finish(*DRIVER, "reconcile"))

    def calls(self) -> list[str]:
        """The stage functions that were called so far."""
        log = self.folder / "calls"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def _python(self, code: str, *arguments: str) -> None:
        self.finish(sys.executable, "-c", code, *arguments)


def answered(output: str) -> dict[str, Any]:
    """The last JSON object that a process has printed on a line; libraries say things before and after it."""
    return dict(json.loads([line for line in output.splitlines() if line.startswith("{")][-1]))


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Poll until it holds; the process must go on meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(process.communicate()[0][-4000:])
        time.sleep(0.05)


def left_running(states: Mapping[str, Any]) -> list[str]:
    """Flow runs and tasks that no process works on and that say they run."""
    found = []
    for number, state in enumerate(states["states"]):
        found += [f"flow run {number}"] if state["flow"] in ("Running", "Pending", "Cancelling") else []
        found += [f"task {name} of {number}" for name, of in state["tasks"].items() if of in ("Running", "Pending")]
    return found
