"""A stage is a pure function from artifacts to an artifact; everything else about it is done here, once.

    @stage(version=1, libraries=("ftfy",))
    def normalize(work: Work, config: NormalizeConfig, *, corpus: Artifact) -> None:
        ...  writes files into work.directory

    clean = normalize(config, corpus=raw)        # an Artifact: built, or found in the store

The key of the result is the hash of stage, version, config, declared library versions and the inputs' digests.
An artifact that exists is reused, and the Prefect task shows `Cached`. A build happens in a private directory that
survives a kill, so that the function can go on where it stopped, and is published by a rename.
"""

import contextvars
import importlib.metadata
import logging
import os
import platform
import signal
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from lm.train.non_finite import NonFiniteError
from tasks.disk import DiskFull, room_on_disk
from tasks.host import HOST, processor
from tasks.journal import Journal
from tasks.progress import StageProgress, told_to_prefect
from tasks.run import Resources, Run, StageRecord, current_run, flat
from tasks.sampler import sampled
from tasks.sidecar import sidecar as sidecar
from tasks.sidecar import write_sidecar
from tasks.store import RUN_DIRECTORY, SCRATCH_DIRECTORY, Artifact, Store, StoreError, artifact_key
from tasks.termination import check_termination

logger = logging.getLogger("textmill.stage")


@runtime_checkable
class Keyed(Protocol):
    """A config with fields that do not shape the result (absolute paths); `key_material` leaves them out."""

    def key_material(self) -> dict[str, Any]:
        """JSON-able data that determines the result."""
        ...


class NoConfig(BaseModel):
    """Of a stage that has no settings: its inputs decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)


PREFECT_PAUSE_SECONDS = 120.0
REBUILDS = 3  # of one input, before its disk is held to be broken
SHOWN_COUNTS = (
    "documents", "passed", "dropped", "exact", "near", "train", "test", "parameters", "tokens",
    "valid_bits_per_byte", "pretrained_bits_per_byte", "test_accuracy",
)  # fmt: skip
"""What the line of a finished stage says, of what it counted, in this order and at most three."""

Inputs = Mapping[str, "Artifact | list[Artifact]"]
STAGES: dict[str, "Stage"] = {}


@dataclass
class Work:
    """What a stage function is given: where to write, with what, and whom to tell."""

    directory: Path
    scratch: Path  # survives a kill, is dropped when the artifact is published
    store: Store
    resources: Resources
    progress: StageProgress
    journal: Journal
    counts: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, str]] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    tables: list[tuple[str, list[dict[str, Any]], str]] = field(default_factory=list)
    markdown: list[tuple[str, str]] = field(default_factory=list)
    flow_context: contextvars.Context | None = None  # where the batches for a Dask cluster are submitted
    workers: dict[str, dict[str, float]] = field(default_factory=dict)  # of a Dask cluster: batches, seconds, memory
    environment: dict[str, Any] = field(default_factory=dict)  # of this build, beside what is always noted
    digest: str | None = None  # set by stages whose content has an order-free digest of its own
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def published(self) -> Path:
        """Where the artifact will be once this build is published."""
        stage, _, key = self.directory.name.rpartition("-")
        return self.store.artifacts / stage / key

    def table(self, name: str, rows: list[dict[str, Any]], description: str) -> None:
        """Show rows as a table artifact in Prefect when the stage ends."""
        self.tables.append((name, rows, description))

    @contextmanager
    def graceful_stop(self) -> Iterator[Callable[[], bool]]:
        """Turn SIGTERM and Ctrl-C into a flag inside the block; yields `should_stop`.

        For loops that leave a checkpoint. A second signal, of either kind, is not caught. When the block ends after a
        signal, the former handler gets it, so that Prefect records the run as cancelled or crashed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self.stop.is_set
            return
        received: list[int] = []
        former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def note(number: int, frame: object) -> None:
            received.append(number)
            self.stop.set()
            restore()
            # not the logger: the signal may have come in the middle of a write to the same stream
            os.write(2, f"\n{signal.Signals(number).name}: stopping after a checkpoint\n".encode())

        def restore() -> None:
            for number, handler in former.items():
                signal.signal(number, handler)

        for number in former:
            signal.signal(number, note)
        try:
            yield self.stop.is_set
        finally:
            restore()
            if received:
                logger.warning("stopped by %s; run it again and it goes on", signal.Signals(received[0]).name)
                signal.raise_signal(received[0])


@dataclass(frozen=True)
class Stage:
    """A stage function with its name, its version and the libraries that shape its output."""

    name: str
    version: int
    libraries: tuple[str, ...]
    build: Callable[..., None]

    def __call__(self, config: BaseModel, *, label: str | None = None, **inputs: Artifact | list[Artifact]) -> Artifact:
        """The artifact of this stage for a config and inputs: found in the store, or built.

        Args:
            config: part of the key; every `auto` in it is already resolved.
            label: what people see when a stage occurs several times in a flow ("finetune seed 1").
        """
        run = current_run()
        call = Call(self, config, inputs, label or self.name, run)
        if run.plan is not None:
            return _plan(call)
        return _through_prefect(call) if run.flow_run_id else call.execute()[0]

    def known(self, config: BaseModel, **inputs: Artifact | list[Artifact]) -> Artifact | None:
        """The artifact of this stage for a config and inputs if the store has it; nothing is built."""
        run = current_run()
        return run.store.find(self.name, Call(self, config, inputs, self.name, run).key())


def stage(version: int, libraries: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Stage]:
    """Make a stage of a function `(work, config, *, inputs...) -> None`.

    Args:
        version: raise it whenever the same inputs give another output; a test compares output digests.
        libraries: what `library_versions` knows whose version is part of the key, because its output is part of the
            result.
    """

    def decorate(function: Callable[..., None]) -> Stage:
        made = Stage(function.__name__, version, libraries, function)
        before = STAGES.get(made.name)
        if before is not None and before.build.__module__ != function.__module__:
            raise ValueError(
                f"two stages are called {made.name}: in {before.build.__module__} and {function.__module__}"
            )
        STAGES[made.name] = made
        return made

    return decorate


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of distributions, and of "unicode": the tables of characters that this Python has."""
    return {
        name: unicodedata.unidata_version if name == "unicode" else importlib.metadata.version(name) for name in names
    }


class Call:
    """One use of a stage: its config and its inputs, and so its key."""

    def __init__(self, stage: Stage, config: BaseModel, inputs: Inputs, label: str, run: Run) -> None:
        self.stage = stage
        self.config = config
        self.inputs = dict(inputs)
        self.label = label
        self.run = run
        self.config_json = config.key_material() if isinstance(config, Keyed) else config.model_dump(mode="json")
        self.versions = library_versions(stage.libraries)

    def key(self) -> str:
        """The key, from the inputs as they are now."""
        digests = {name: _digests(value) for name, value in self.inputs.items()}
        return artifact_key(self.stage.name, self.stage.version, self.config_json, self.versions, digests)

    def execute(self) -> tuple[Artifact, bool]:
        """Find or build the artifact. Returns it and whether it was reused."""
        check_termination()
        run, name = self.run, self.stage.name
        started = time.perf_counter()
        key = self.key()
        found = run.store.find(name, key)
        if found is None:
            self._verify_inputs()
            if self.key() != key:  # an input was rebuilt and came out different
                return self.execute()
            with run.store.build_lock(key, waiting=self.label):
                found = run.store.find(name, key)  # whoever held the lock may have built it
                if found is None:
                    with room_on_disk(f"the stage {self.label}", run.store.root):
                        artifact = self._build(key)
                    return self._done(artifact, "built", time.perf_counter() - started), False
        return self._done(found, "cached", time.perf_counter() - started), True

    def _done(self, artifact: Artifact, state: str, seconds: float) -> Artifact:
        run = self.run
        run.calls[artifact.key] = self
        run.note(StageRecord(self.stage.name, self.label, artifact, state, seconds))
        mark = "[dim]cached[/]" if state == "cached" else f"[green]{seconds:7.1f} s[/]"
        run.display.line(f"{self.label:<28} {mark:>20}  {_describe(artifact.counts())}")
        return artifact

    def _build(self, key: str) -> Artifact:
        run = self.run
        partial = run.store.partial_directory(self.stage.name, key)
        finished = run.store.finished_partial(partial)
        if finished is not None:
            return run.store.adopt(partial, finished)
        (partial / "manifest.json").unlink(missing_ok=True)
        (partial / SCRATCH_DIRECTORY).mkdir(exist_ok=True)
        run.store.need(partial, "inputs", ((a.stage, a.key) for _, a in _each(self.inputs)))
        journal = Journal(partial / RUN_DIRECTORY)
        journal.start(name=self.label, parent=run.token, tags=self._tags(key), params=flat(self.config_json))
        for name, artifact in _each(self.inputs):
            journal.write(
                "input", name=name, digest=artifact.digest, source=str(artifact.path), context=self.stage.name
            )
        run.announce(self.stage.name, key)
        status = "FAILED"
        try:
            with ExitStack() as stack:
                progress = stack.enter_context(run.display.stage(self.label))
                if run.flow_run_id:
                    stack.enter_context(told_to_prefect(progress, run.flow_run_id))
                usage = stack.enter_context(sampled(journal))
                work = Work(partial, partial / SCRATCH_DIRECTORY, run.store, run.resources, progress, journal)
                work.flow_context = run.flow_context
                stack.callback(lambda: _add_stage_seconds(run, usage_started))
                usage_started = time.perf_counter()
                self.stage.build(work, self.config, **self.inputs)
            status = "FINISHED"
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            # a disk too full for the end of a failed build must not hide why it failed
            with nullcontext() if status == "FINISHED" else suppress(OSError):
                if status == "FINISHED":
                    journal.metrics({k: v for k, v in work.counts.items() if isinstance(v, int | float)}, step=0)
                journal.write("end", status=status)
                journal.close()
        write_sidecar(
            partial,
            {
                "seconds": usage.seconds,
                "cpu_seconds": usage.cpu_seconds,
                "energy_joules": usage.energy_joules,
                "peak_process_bytes": usage.peak_process_bytes,
                "peak_total_bytes": usage.peak_total_bytes,
                "host": HOST,
                "created": time.time(),
                "resources": run.resources.model_dump(),
                "workers": work.workers,
                "run": run.token,
                "flow_run": run.flow_run_id,
                # where sources lay, which is in no key: with it the stage can be called again (tasks/recipe.py)
                "request": self.config.model_dump(mode="json") if isinstance(self.config, Keyed) else None,
            },
        )
        artifact = run.store.publish(partial, self._manifest(key, work))
        if run.flow_run_id:
            _show_in_prefect(run, self.label, work)
        return artifact

    def _verify_inputs(self) -> None:
        """Hash what is about to be read; an input found corrupt is rebuilt by the call that made it.

        Raises:
            StoreError: the input is corrupt and this run does not know how it was made.
        """
        for name, value in self.inputs.items():
            artifacts = value if isinstance(value, list) else [value]
            sound = [self._sound(artifact) for artifact in artifacts]
            self.inputs[name] = sound if isinstance(value, list) else sound[0]

    def _sound(self, artifact: Artifact) -> Artifact:
        """The artifact, or what it was rebuilt as until nothing of it is corrupt: a rebuild takes parts as found."""
        for _ in range(REBUILDS):
            if self.run.store.verify(artifact):
                return artifact
            artifact = self._rebuilt(artifact)
        if not self.run.store.verify(artifact):
            raise StoreError(
                f"{artifact.name} is corrupt however often it is rebuilt: is the disk of {artifact.path} broken?"
            )
        return artifact

    def _rebuilt(self, artifact: Artifact) -> Artifact:
        call = self.run.calls.get(artifact.key)
        if call is None:
            raise StoreError(f"{artifact.name} is corrupt and was set aside: run the flow that made it again")
        rebuilt, _ = call.execute()
        if rebuilt.digest != artifact.digest:
            logger.warning("%s was rebuilt with another digest; is its stage deterministic?", rebuilt.name)
        return rebuilt

    def _tags(self, key: str) -> dict[str, str]:
        return {**self.run.tags, "textmill.stage": self.stage.name, "textmill.artifact": key}

    def _manifest(self, key: str, work: Work) -> dict[str, Any]:
        return {
            "stage": self.stage.name,
            "version": self.stage.version,
            "key": key,
            "digest": work.digest,
            "config": self.config_json,
            "libraries": self.versions,
            "inputs": {
                name: [{"stage": a.stage, "key": a.key, "digest": a.digest} for a in _as_list(value)]
                for name, value in self.inputs.items()
            },
            "parts": work.parts,
            "shards": work.shards,
            "counts": work.counts,
            "environment": environment(self.run.resources) | work.environment,
        }


def environment(resources: Resources) -> dict[str, Any]:
    """What the manifest records about the machine and the code, beside what is in the key."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor(),
        "system": platform.system(),
        "threads": resources.threads,
        "packages": dict(_packages()),
    }


@cache
def _packages() -> Mapping[str, str]:
    found = {}
    for name in ("duckdb", "numpy", "pyarrow", "textmill", "tokenizers", "torch"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an uninstalled checkout has no distribution of its own
    return found


def _through_prefect(call: Call) -> Artifact:
    """Run a call as a Prefect task that shows `Cached` when the store had the artifact.

    Prefect's own caching is off: the store alone decides, and a returned state named `Cached` only shows it.
    """
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Completed, Failed

    def build(inputs: dict[str, Any]) -> Any:
        try:
            artifact, reused = call.execute()
        except (NonFiniteError, DiskFull) as error:  # said in full; of what is raised Prefect prints all the traceback
            return Failed(message=str(error), data=error)
        if reused:
            return Completed(name="Cached", message=f"reused {artifact.name}", data=artifact)
        return Completed(message=f"built {artifact.name}", data=artifact)

    name = call.stage.name.replace("_", " ")
    prefect_task = task(
        name=name, task_run_name=call.label.replace("_", " "), cache_policy=NO_CACHE, persist_result=False
    )(build)
    call.run.flow_context = contextvars.copy_context()
    state = prefect_task(call.inputs, return_state=True)
    return state.result()


def _show_in_prefect(run: Run, label: str, work: Work) -> None:
    """Publish the stage's tables and markdown; a server that is away is logged, and left alone for a while."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    from tasks import prefect_text
    from tasks.progress import artifact_slug

    if time.monotonic() < run.prefect_away_until:
        return
    counts = [{"what": name.replace("_", " "), "count": value} for name, value in work.counts.items()]
    try:
        if counts:
            create_table_artifact(counts, key=artifact_slug(f"{label}-counts"), description=f"What {label} counted")
        for name, rows, description in work.tables:
            key, said = artifact_slug(f"{label}-{name}"), prefect_text.cell(description)
            create_table_artifact(prefect_text.rows(rows), key=key, description=said)
        for name, text in work.markdown:
            create_markdown_artifact(prefect_text.page(text), key=artifact_slug(f"{label}-{name}"))
    except Exception as error:  # noqa: BLE001
        run.prefect_away_until = time.monotonic() + PREFECT_PAUSE_SECONDS
        logger.warning("Prefect did not take the artifacts of %s (%s)", label, type(error).__name__)


def _plan(call: Call) -> Artifact:
    """What a dry run does at a call: look, say, and hand on a reference whose digest may be unknown."""
    run = call.run
    assert run.plan is not None
    known = all(artifact.digest for _, artifact in _each(call.inputs))
    found = run.store.find(call.stage.name, call.key()) if known else None
    step: dict[str, Any] = {
        "stage": call.stage.name,
        "label": call.label,
        "state": "reuse" if found else "build",
    }
    if found is None:
        previous = run.store.newest(call.stage.name)
        if previous is not None:
            past = sidecar(previous)
            size = sum(entry["bytes"] for entry in previous.manifest()["files"])
            step |= {"seconds": past["seconds"], "memory": past["peak_process_bytes"], "disk": size}
            step["estimated_from"] = previous.name
        if not known:
            step["note"] = "unless its inputs come out as before"
    run.plan.steps.append(step)
    return found or Artifact(call.stage.name, "", "", Path())


def _digests(value: Artifact | list[Artifact]) -> str | list[str]:
    return [a.digest for a in value] if isinstance(value, list) else value.digest


def _as_list(value: Artifact | list[Artifact]) -> list[Artifact]:
    return value if isinstance(value, list) else [value]


def _each(inputs: Inputs) -> Iterator[tuple[str, Artifact]]:
    for name, value in inputs.items():
        for artifact in _as_list(value):
            yield name, artifact


def _add_stage_seconds(run: Run, started: float) -> None:
    run.stage_seconds += time.perf_counter() - started


def _describe(counts: Mapping[str, Any]) -> str:
    figures = [name for name in SHOWN_COUNTS if name in counts] or list(counts)
    shown = [f"{name} {v:.3f}" if isinstance(v, float) else f"{v:,} {name}" for name in figures if (v := counts[name])]
    return " · ".join(shown[:3]).replace("_", " ")
