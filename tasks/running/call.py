"""One use of a stage: its key, and its artifact, found under that key or built.

A build happens in a private directory that survives a kill, so that the function can go on where it stopped, and is
published by a rename.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel

from tasks.machine.host import HOST
from tasks.machine.termination import check_termination
from tasks.running.journal import Journal
from tasks.running.memory import enough_memory
from tasks.running.progress import told_to_prefect
from tasks.running.run import Run, StageRecord, flat
from tasks.running.sampler import sampled
from tasks.running.stage_in_prefect import show_in_prefect
from tasks.running.versions import environment, library_versions
from tasks.running.work import Work
from tasks.storage.disk import room_on_disk
from tasks.storage.sidecar import write_sidecar
from tasks.store import RUN_DIRECTORY, SCRATCH_DIRECTORY, Artifact, StoreError, artifact_key

if TYPE_CHECKING:
    from tasks.stage import Stage

logger = logging.getLogger("textmill.stage")

REBUILDS = 3  # of one input, before its disk is held to be broken
SHOWN_COUNTS = (
    "documents", "passed", "unmatched", "dropped", "exact", "near", "train", "test", "parameters", "tokens",
    "valid_bits_per_byte", "pretrained_bits_per_byte", "test_accuracy",
)  # fmt: skip
"""What the line of a finished stage says, of what it counted, in this order and at most three."""

Inputs = Mapping[str, Artifact | list[Artifact]]


@runtime_checkable
class Keyed(Protocol):
    """A config with fields that do not shape the result (absolute paths); `key_material` leaves them out."""

    def key_material(self) -> dict[str, Any]:
        """JSON-able data that determines the result."""
        ...


class Call:
    """One use of a stage: its config and its inputs, and so its key."""

    def __init__(self, stage: "Stage", config: BaseModel, inputs: Inputs, label: str, run: Run) -> None:
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
        """Find or build the artifact. Returns it and whether it was reused.

        Raises:
            DiskFull: there is no room for what is built, fetched or noted.
            OutOfMemory, WorkerDied: this process or one of its workers has too little memory.
            StoreError: an input is corrupt, and this run does not know how it was made.
        """
        check_termination()
        with room_on_disk(f"the stage {self.label}", self.run.store.root), enough_memory(self.label):
            return self._found_or_built()

    def _found_or_built(self) -> tuple[Artifact, bool]:
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
        run.store.need(partial, "inputs", ((a.stage, a.key) for _, a in each_input(self.inputs)))
        journal = Journal(partial / RUN_DIRECTORY)
        journal.start(name=self.label, parent=run.token, tags=self._tags(key), params=flat(self.config_json))
        for name, artifact in each_input(self.inputs):
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
                stack.callback(_add_stage_seconds, run, time.perf_counter())
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
                "parts_seconds": work.parts_seconds,
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
                # where sources lay, which is in no key: with it the stage can be called again (tasks/lineage/recipe.py)
                "request": self.config.model_dump(mode="json") if isinstance(self.config, Keyed) else None,
            },
        )
        artifact = run.store.publish(partial, self._manifest(key, work))
        if run.flow_run_id:
            show_in_prefect(run, self.label, work)
        return artifact

    def _verify_inputs(self) -> None:
        """Hash what is about to be read; an input found corrupt is rebuilt by the call that made it.

        Raises:
            StoreError: the input is corrupt and this run does not know how it was made.
        """
        for name, value in self.inputs.items():
            artifacts = value if isinstance(value, list) else [value]
            checked = [sound(self.run, artifact) for artifact in artifacts]
            self.inputs[name] = checked if isinstance(value, list) else checked[0]

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


def sound(run: Run, artifact: Artifact) -> Artifact:
    """The artifact, or what it was rebuilt as until nothing of it is corrupt: a rebuild takes parts as found.

    Raises:
        StoreError: it is corrupt and this run does not know how it was made.
    """
    for _ in range(REBUILDS):
        if run.store.verify(artifact):
            return artifact
        artifact = _rebuilt(run, artifact)
    if not run.store.verify(artifact):
        raise StoreError(
            f"{artifact.name} is corrupt however often it is rebuilt: is the disk of {artifact.path} broken?"
        )
    return artifact


def _rebuilt(run: Run, artifact: Artifact) -> Artifact:
    call = run.calls.get(artifact.key)
    if call is None:
        raise StoreError(f"{artifact.name} is corrupt and was set aside: run the flow that made it again")
    rebuilt, _ = call.execute()
    if rebuilt.digest != artifact.digest:
        logger.warning("%s was rebuilt with another digest; is its stage deterministic?", rebuilt.name)
    return rebuilt


def _digests(value: Artifact | list[Artifact]) -> str | list[str]:
    return [a.digest for a in value] if isinstance(value, list) else value.digest


def _as_list(value: Artifact | list[Artifact]) -> list[Artifact]:
    return value if isinstance(value, list) else [value]


def each_input(inputs: Inputs) -> Iterator[tuple[str, Artifact]]:
    """Every input by its name; of a list, one after the other."""
    for name, value in inputs.items():
        for artifact in _as_list(value):
            yield name, artifact


def _add_stage_seconds(run: Run, started: float) -> None:
    run.stage_seconds += time.perf_counter() - started


def _describe(counts: Mapping[str, Any]) -> str:
    figures = [name for name in SHOWN_COUNTS if name in counts] or list(counts)
    shown = [f"{name} {v:.3f}" if isinstance(v, float) else f"{v:,} {name}" for name in figures if (v := counts[name])]
    return " · ".join(shown[:3]).replace("_", " ")
