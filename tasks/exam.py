"""An exam is an artifact: what a model answered, item by item, keyed by model, task and protocol."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lm.evaluate.prompts import Template
from tasks.adopt import MODEL_FILES, SPELLING_FILE
from tasks.exam_config import AnyExam
from tasks.files import read_json, write_json
from tasks.stage import Work, stage
from tasks.store import Artifact

EXAM = "exam.json"
OWN_FILES = ("vectors.safetensors", "words.json")
"""Of model folders that have no tensors of torch."""


class Content(BaseModel):
    """Files with the hashes of their content; where they lie does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]

    @classmethod
    def of(cls, paths: tuple[Path, ...]) -> "Content":
        """Fingerprint files. Raises FileNotFoundError naming the one that is not there."""
        return cls(paths=paths, sha256=tuple(map(file_hash, paths)))

    @classmethod
    def of_model(cls, folder: Path) -> "Content":
        """Of what makes a model folder: its own files, those below `arrays` of an n-gram included, in order of name."""
        named = {*MODEL_FILES, SPELLING_FILE, *OWN_FILES}
        found = sorted(
            path for path in folder.iterdir() if path.name in named or path.suffix in (".npy", ".safetensors")
        )
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"{folder / 'config.json'}: no model there")
        return cls.of(tuple(found))

    @classmethod
    def of_labelled(cls, folder: Path) -> "Content":
        """Of a labelled set: its description and its splits."""
        if not (folder / "task.json").exists():
            raise FileNotFoundError(f"{folder / 'task.json'}: not there: {folder} is no labelled set")
        return cls.of(tuple(sorted([folder / "task.json", *folder.glob("*.parquet")])))

    def key_material(self) -> list[list[str]]:
        """Name and content of each."""
        return [[path.name, sha256] for path, sha256 in zip(self.paths, self.sha256, strict=True)]

    @property
    def folder(self) -> Path:
        """Where the first lies."""
        return self.paths[0].parent


class ExamRequest(BaseModel):
    """What is asked, of which files; a model or a labelled set that is no artifact is a folder here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exam: AnyExam
    files: Content | None = None
    template: Template | None = None
    model_folder: Content | None = None
    labelled_folder: Content | None = None
    device: str = "cpu"

    def task_material(self) -> dict[str, Any]:
        """What is asked and how, without who is asked: equal for all models that can be compared."""
        protocol = self.exam.model_dump(mode="json", exclude={"paths", "labelled", "template"})
        contents = {"files": self.files, "labelled": self.labelled_folder}
        return {
            "exam": protocol,
            "template": self.template.model_dump(mode="json") if self.template else None,
            **{name: content.key_material() if content else None for name, content in contents.items()},
        }

    def key_material(self) -> dict[str, Any]:
        """With who is asked, and on what kind of machine."""
        model = self.model_folder.key_material() if self.model_folder else None
        return {**self.task_material(), "model": model, "device": self.device}


def file_hash(path: Path) -> str:
    """SHA-256 of a file. Raises FileNotFoundError naming it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@stage(version=1, libraries=("tokenizers", "torch"))
def exam(
    work: Work,
    config: ExamRequest,
    *,
    model: list[Artifact],
    labelled: list[Artifact],
    tokens: list[Artifact],
    split: list[Artifact],
    corpus: list[Artifact],
) -> None:
    """Write decisions.parquet (a row for each item) and exam.json (figures, and what they mean).

    Args:
        model, labelled: one artifact each, or none where the request has a folder.
        tokens, split, corpus: of the model's training, for exams that look at it.
    """
    import torch

    from lm.evaluate.decisions import write_decisions
    from tasks.exam_kinds import RUN
    from tasks.exam_room import Room

    torch.set_num_threads(work.resources.threads)
    folder = model[0].path if model else _of(config.model_folder)
    with work.graceful_stop() as should_stop:
        room = Room(
            work,
            config,
            folder,
            labelled[0].path if labelled else (config.labelled_folder.folder if config.labelled_folder else None),
            tokens[0] if tokens else None,
            split[0] if split else None,
            corpus[0] if corpus else None,
            should_stop,
        )
        table, figures, definition = RUN[config.exam.kind](room)
    write_decisions(table, work.directory)
    described = {
        "name": config.exam.name,
        "exam": config.exam.kind,
        "model_kind": room.kind,
        "items": table.num_rows,
        "figures": figures,
        "definition": definition,
    }
    write_json(work.directory / EXAM, described)
    work.counts["items"] = table.num_rows
    work.counts |= {f"{config.exam.name}/{name}": each["value"] for name, each in figures.items()}
    rows = [{"figure": name, **each} for name, each in figures.items()]
    work.table(config.exam.name, rows, f"{config.exam.name}: what {room.kind} answered")


def read_exam(artifact: Artifact) -> dict[str, Any]:
    """name, exam (its kind), model_kind, items, figures and definition of an exam artifact."""
    return dict(read_json(artifact.file(EXAM)))


def _of(content: Content | None) -> Path:
    if content is None:
        raise ValueError("there is neither a model artifact nor a model folder to ask")
    return content.folder
