"""What the processes of a shared pretraining are told: a folder of JSON and arrays that each of them reads."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lm.config import TrainConfig
from lm.launch.index_files import read_index, write_index
from lm.parallel import ParallelConfig
from lm.pretraining import Pretrainable, Pretraining
from lm.recipes.recipe import Given
from lm.stop import ShouldStop, never

JOB, RESULT, EVENTS, LOG = "job.json", "result.json", "events.jsonl", "log.txt"


@dataclass(frozen=True)
class Job:
    """One attempt of a pretraining. Its folder, and all that it names, lies where every machine sees it at one path."""

    folder: Path
    parallel: ParallelConfig
    checkpoints: Path
    out_dir: Path
    threads: int
    """Of torch, for all processes of a machine together."""

    @property
    def store(self) -> Path:
        """Where processes of a single machine find each other: a file, so that nothing listens for it."""
        return self.folder / "store"

    def error(self, rank: int) -> Path:
        """What a rank leaves that failed."""
        return self.folder / f"error-{rank:05d}.json"

    def errors(self) -> list[Path]:
        """What ranks left so far."""
        return list(self.folder.glob("error-*.json"))


def write_job(job: Job, given: Given) -> None:
    """Write the folder. Raises ValueError if the settings would not come back as they are."""
    job.folder.mkdir(parents=True)
    for name in ("train", "valid"):
        write_index(getattr(given, name), job.folder / name)
    said = {
        "settings": {"kind": given.settings.model.kind, **given.settings.model_dump(mode="json")},
        "config": given.config.model_dump(mode="json"),
        "parallel": job.parallel.model_dump(mode="json"),
        "tokenizer_dir": str(given.tokenizer_dir.absolute()),
        "init_from": _absolute(given.init_from),
        "similar_words": _absolute(given.similar_words),
        "checkpoints": str(job.checkpoints.absolute()),
        "out_dir": str(job.out_dir.absolute()),
        "threads": job.threads,
    }
    (job.folder / JOB).write_text(json.dumps(said, indent=1))
    if _settings(_said(job.folder)) != (given.settings, given.config):
        raise ValueError("the settings of this training do not survive being written down")


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _path(said: str | None) -> Path | None:
    return None if said is None else Path(said)


def _said(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / JOB).read_text())
    return said


def _settings(said: dict[str, Any]) -> tuple[Pretrainable, TrainConfig]:
    return TypeAdapter(Pretraining).validate_python(said["settings"]), TrainConfig.model_validate(said["config"])


def read_job(folder: Path) -> Job:
    """The job that a folder describes."""
    said = _said(folder)
    paths = (Path(said["checkpoints"]), Path(said["out_dir"]))
    return Job(folder, ParallelConfig.model_validate(said["parallel"]), *paths, said["threads"])


def read_given(folder: Path, should_stop: ShouldStop = never) -> Given:
    """What is pretrained."""
    said = _said(folder)
    return Given(
        *_settings(said),
        read_index(folder / "train"),
        read_index(folder / "valid"),
        Path(said["tokenizer_dir"]),
        _path(said["init_from"]),
        should_stop,
        _path(said["similar_words"]),
    )


def write_whole(path: Path, said: dict[str, Any]) -> None:
    """A JSON file that is whole or not there."""
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(said, indent=1))
    os.replace(partial, path)
