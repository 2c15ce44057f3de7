"""A stage is a pure function from artifacts to an artifact; everything else about it is done once, for all.

    @stage(version=1, libraries=("ftfy",))
    def normalize(work: Work, config: NormalizeConfig, *, corpus: Artifact) -> None:
        ...  writes files into work.directory

    clean = normalize(config, corpus=raw)        # an Artifact: built, or found in the store

The key of the result is the hash of stage, version, config, declared library versions and the inputs' digests.
An artifact that exists is reused, and the Prefect task shows `Cached` (tasks/running/call.py,
tasks/running/stage_in_prefect.py). What the function is given is in tasks/running/work.py.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.running.call import SHOWN_COUNTS as SHOWN_COUNTS
from tasks.running.call import Call as Call
from tasks.running.call import Keyed as Keyed
from tasks.running.call import each_input, sound
from tasks.running.run import current_run
from tasks.running.stage_in_prefect import through_prefect
from tasks.running.versions import library_versions as library_versions
from tasks.running.work import Work as Work
from tasks.storage.artifact import Artifact, StoreError
from tasks.storage.files import file_sha256
from tasks.storage.sidecar import sidecar as sidecar

logger = logging.getLogger("textmill.stage")

STAGES: dict[str, "Stage"] = {}


class NoConfig(BaseModel):
    """Of a stage that has no settings: its inputs decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        return through_prefect(call) if run.flow_run_id else call.execute()[0]

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


def sound_file(artifact: Artifact, name: str) -> Path:
    """A file of an artifact by which a flow decides something: hashed first, as the inputs of a stage are.

    A damaged artifact is set aside and rebuilt. A dry run rebuilds nothing and takes the file as it is.

    Raises:
        StoreError: there is no such file, or it is damaged and this run does not know how it was made.
    """
    run = current_run()
    if run.plan is None and not _as_recorded(artifact, name):
        artifact = sound(run, artifact)
    return artifact.file(name)


def _as_recorded(artifact: Artifact, name: str) -> bool:
    """Whether a file has the hash that the manifest says; False, too, where either cannot be read."""
    try:
        recorded = {entry["path"]: entry["sha256"] for entry in artifact.manifest()["files"]}
        return file_sha256(artifact.path / name) == recorded.get(name)
    except (OSError, ValueError, KeyError):
        return False


def _plan(call: Call) -> Artifact:
    """What a dry run does at a call: look, say, and hand on a reference whose digest may be unknown."""
    run = call.run
    assert run.plan is not None
    known = all(artifact.digest for _, artifact in each_input(call.inputs))
    found = run.store.find(call.stage.name, call.key()) if known else None
    step: dict[str, Any] = {
        "stage": call.stage.name,
        "label": call.label,
        "state": "reuse" if found else "build",
    }
    if found is None:
        previous = run.store.newest(call.stage.name)
        if previous is not None:
            step |= _estimate(previous)
        if not known:
            step["note"] = "unless its inputs come out as before"
    run.plan.steps.append(step)
    return found or Artifact(call.stage.name, "", "", Path())


def _estimate(previous: Artifact) -> dict[str, Any]:
    """What a build took the last time, in seconds and bytes; nothing when that is not known."""
    try:
        past, manifest = sidecar(previous), previous.manifest()
    except (StoreError, FileNotFoundError) as error:
        logger.warning("no estimate from %s: %s", previous.name, error)
        return {}
    return {
        "seconds": past["seconds"],
        "memory": past["peak_process_bytes"],
        "disk": sum(entry["bytes"] for entry in manifest["files"]),
        "estimated_from": previous.name,
    }
