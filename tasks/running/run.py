"""One pipeline run: what its stages share, and its record on disk.

`runs/<token>/` holds run.json (who runs it: host, process, Prefect flow run, state), the journal of its MLflow parent
run, and stages.jsonl (what it built or reused: the roots of garbage collection). A run that died is found by its
identity, the hash of flow and config, and the next one with the same identity takes its token, and so its MLflow
parent, over.
"""

import contextvars
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.machine.host import HOST, started
from tasks.machine.resources import Resources as Resources
from tasks.machine.resources import usable_cores as usable_cores
from tasks.running import cluster
from tasks.running.cost import run_cost
from tasks.running.heartbeat import beat, beating, is_alive, read_run, touch, worked_seconds
from tasks.running.journal import Journal, note_stage, read_notes
from tasks.running.progress import Display
from tasks.running.secret_blocks import take_secrets
from tasks.storage.disk import room_on_disk
from tasks.storage.files import canonical_json, read_json, write_json
from tasks.storage.shared import open_store
from tasks.store import Artifact, Store

if TYPE_CHECKING:
    from tasks.running.call import Call

logger = logging.getLogger("textmill.run")

SHIPPER_WAIT_SECONDS = 35.0
KILLED_SHIPPER_WAIT_SECONDS = 5.0  # who pressed Ctrl-C waits; a worker sends SIGKILL after 30 s


@dataclass
class StageRecord:
    """What became of one stage of a run."""

    stage: str
    label: str
    artifact: Artifact
    state: str  # "cached" | "built"
    seconds: float


@dataclass
class Run:
    """What every stage call of a pipeline run shares."""

    store: Store
    resources: Resources
    display: Display
    directory: Path | None = None  # runs/<token>; None outside a pipeline (notebooks, tests)
    flow_run_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    plan: "Plan | None" = None
    follow: bool = True  # whether a shipper follows the run; else its journals wait for the next one, or `textmill up`
    records: list[StageRecord] = field(default_factory=list)
    calls: dict[str, "Call"] = field(default_factory=dict)
    stage_seconds: float = 0.0
    flow_context: contextvars.Context | None = None  # of the Prefect flow run, outside of any stage's task
    prefect_away_until: float = 0.0  # monotonic; nothing is shown to a server that did not answer just now
    _shipper: "subprocess.Popen[bytes] | None" = None

    @property
    def token(self) -> str | None:
        """The run's name in the store."""
        return self.directory.name if self.directory else None

    def note(self, record: StageRecord) -> None:
        """Remember what became of a stage, for the summary and as a root of garbage collection."""
        self.records.append(record)
        if self.directory is not None:
            note_stage(self.directory, record.stage, record.artifact.key, record.state)

    def reused(self, artifact: Artifact, label: str) -> None:
        """Note an artifact that a flow took by its alias, without asking its stage."""
        if self.plan is not None:
            self.plan.steps.append({"stage": artifact.stage, "label": label, "state": "reuse"})
            return
        self.note(StageRecord(artifact.stage, label, artifact, "cached", 0.0))
        self.display.line(f"{label:<28} {'[dim]cached[/]':>20}  {artifact.name}")

    def announce(self, stage: str, key: str) -> None:
        """Tell the shipper that a stage's journal now exists; starts the shipper at the first."""
        if self.directory is None:
            return
        note_stage(self.directory, stage, key, "started")
        if self._shipper is None and self.follow:
            self._shipper = self._start_shipper(subprocess.PIPE)

    def ship_in_background(self) -> None:
        """Let MLflow hear of a run that built nothing, and what earlier runs could not send, without waiting."""
        self._start_shipper(subprocess.DEVNULL)

    def _start_shipper(self, stdin: int) -> "subprocess.Popen[bytes]":
        """A shipper follows this run until its standard input ends."""
        assert self.directory is not None
        checkout = str(Path(__file__).parents[2])  # so that it is found from any working directory
        with (self.directory / "shipper.err").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tasks.tracking.shipper", str(self.store.root), str(self.directory)],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([checkout, os.environ.get("PYTHONPATH", "")])},
                start_new_session=True,  # Ctrl-C in the terminal is for the pipeline; the shipper ends after it
            )

    def finish_shipping(self, wait_seconds: float = SHIPPER_WAIT_SECONDS) -> bool:
        """Let the shipper send the rest, within a bound. Returns False when something remains for the next run."""
        if self._shipper is None:
            return True
        assert self._shipper.stdin is not None
        self._shipper.stdin.close()
        try:
            sent = self._shipper.wait(timeout=wait_seconds) == 0
        except subprocess.TimeoutExpired:
            self._shipper.kill()
            self._shipper.wait()
            sent = False
        self._shipper = None
        if not sent:
            logger.warning("MLflow did not take everything; the next run, or `textmill up`, sends the rest")
        return sent


@dataclass
class Plan:
    """What a dry run would do: a list of (label, state, estimate) in order."""

    steps: list[dict[str, Any]] = field(default_factory=list)


_current: contextvars.ContextVar[Run | None] = contextvars.ContextVar("textmill_run", default=None)


def current_run() -> Run:
    """The run that this code is part of; outside of any, one that only has the default store."""
    run = _current.get()
    if run is None:
        run = Run(open_store(), Resources().resolved(), Display(quiet=True))
        _current.set(run)
    return run


@contextmanager
def use_run(run: Run) -> Iterator[Run]:
    """Make `run` the current one inside the block."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


@contextmanager
def pipeline_run(
    flow: str,
    config: Mapping[str, Any],
    resources: Resources,
    *,
    store: Store | None = None,
    display: Display | None = None,
    flow_run_id: str | None = None,
    flow_run_name: str | None = None,
    follow: bool = True,
) -> Iterator[Run]:
    """Open the record of a pipeline run, reusing that of a dead run with the same flow and config.

    Args:
        flow: the flow's name.
        config: its whole configuration as JSON-able data.
        flow_run_id: the Prefect flow run, when there is one.
        follow: whether MLflow is told while it runs.
    """
    take_secrets(resources.secrets)
    store = store or open_store(resources.store)
    identity = hashlib.sha256(canonical_json([flow, config])).hexdigest()[:16]
    with store.lock(f"run-{identity}"):  # two processes must not take over the same dead run
        directory = _unfinished(store, identity) or _new_directory(store, identity)
        for left in directory.glob(".*.tmp"):  # of a process that was killed while it wrote
            left.unlink()
        record = read_run(directory)
        record = {
            "flow": flow,
            "identity": identity,
            "config": dict(config),
            "state": "running",
            "host": HOST,
            "pid": os.getpid(),
            "process_created": started(),
            "flow_runs": [*record.get("flow_runs", []), *([flow_run_id] if flow_run_id else [])],
            "started": record.get("started", time.time()),
            "attempt_started": time.time(),
            "earlier_seconds": worked_seconds(record),
        }
        with room_on_disk("the record of the run", directory):
            touch(directory)  # first: a record without a fresh heartbeat looks dead to other machines
            write_json(directory / "run.json", record)
    tags = {"textmill.run": directory.name, "textmill.flow": flow}
    if flow_run_id:
        tags["textmill.prefect_flow_run"] = flow_run_id
    with room_on_disk("the journal of the run", directory):
        journal = Journal(directory)
        journal.start(name=flow_run_name or flow, tags=tags, params=flat(config), parent=None)
    run = Run(store, resources.resolved(), display or Display(), directory, flow_run_id, tags, follow=follow)
    state = "failed"
    try:
        with use_run(run), beating(store, directory):
            yield run
        state = "finished"
    except BaseException as error:
        state = "failed" if isinstance(error, Exception) else "killed"
        raise
    finally:
        try:
            journal.write("end", status={"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}[state])
            journal.close()
            ended = {**record, "state": state, "ended": time.time(), "cost": run_cost(store, read_notes(directory))}
            write_json(directory / "run.json", ended)
        except OSError as error:  # a full disk must neither hide how the run ended nor leave processes behind
            logger.warning("the end of run %s is not on record (%s); it counts as killed", directory.name, error)
        cluster.shut_down()
        run.finish_shipping(KILLED_SHIPPER_WAIT_SECONDS if state == "killed" else SHIPPER_WAIT_SECONDS)
        beat(store, directory)


def note_stopped(run: Run, error: BaseException) -> None:
    """Take back that a run ended well: a person's answer, behind it in its flow, was not waited for to the end.

    The same command goes on with it, as with any that was stopped.
    """
    if run.directory is None:
        return
    path, state = run.directory / "run.json", "failed" if isinstance(error, Exception) else "killed"
    try:
        write_json(path, {**read_json(path), "state": state})
    except OSError as failed:  # as at the end of a run; and hours later the record may be collected
        logger.warning("that run %s was stopped is not on record (%s)", run.directory.name, failed)
    else:
        beat(run.store, run.directory)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as dotted keys, the form of MLflow's params."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value if isinstance(value, str | int | float | bool) else json.dumps(value)
    return out


def _unfinished(store: Store, identity: str) -> Path | None:
    for path in sorted(store.runs.glob(f"*-{identity}"), reverse=True):
        record = read_run(path)
        if record.get("state") == "finished":
            return None  # the newest one ended well: this is a new run
        if record and not is_alive(record):
            return path
    return None


def _new_directory(store: Store, identity: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    path = store.runs / f"{stamp}-{identity}"
    path.mkdir(parents=True)
    return path
