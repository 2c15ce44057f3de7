"""An exam is an artifact: what a model answered, item by item, keyed by model, task and protocol."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lm.evaluate.prompts import Template
from tasks.exams.config import AnyExam
from tasks.exams.training import trainings
from tasks.stage import Work, stage
from tasks.storage.files import file_sha256, read_json, write_json
from tasks.store import Artifact

EXAM = "exam.json"


class Content(BaseModel):
    """Files with the hashes of their content; where they lie does not shape the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]

    @classmethod
    def of(cls, paths: tuple[Path, ...]) -> "Content":
        """Fingerprint files. Raises FileNotFoundError naming the one that is not there."""
        return cls(paths=paths, sha256=tuple(map(file_sha256, paths)))

    def key_material(self) -> list[list[str]]:
        """Name and content of each."""
        return [[path.name, sha256] for path, sha256 in zip(self.paths, self.sha256, strict=True)]


class ExamRequest(BaseModel):
    """What is asked, of which files, and what is known of the model's training where that is asked about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exam: AnyExam
    files: Content | None = None
    template: Template | None = None
    mixed: tuple[bool, ...] = ()
    """Of each training of the model, the last first: whether it read a mixture."""
    trained: tuple[int | None, ...] = ()
    """Of each, the tokens of all its steps."""
    unknown: tuple[str, ...] = ()
    """What else it learned from, whose documents nobody knows: weights of outside."""
    device: str = "cpu"

    def task_material(self) -> dict[str, Any]:
        """What is asked and how, without who is asked: equal for all models that can be compared."""
        return {
            "exam": self.exam.model_dump(mode="json", exclude={"paths", "labelled", "template"}),
            "template": self.template.model_dump(mode="json") if self.template else None,
            "files": self.files.key_material() if self.files else None,
        }

    def key_material(self) -> dict[str, Any]:
        """With what is about the model, and on what kind of machine."""
        model = {"mixed": self.mixed, "trained": self.trained, "unknown": self.unknown}
        return {**self.task_material(), **model, "device": self.device}


@stage(version=5, libraries=("sacrebleu", "scikit-learn", "tokenizers", "torch"))
def exam(
    work: Work,
    config: ExamRequest,
    *,
    model: Artifact,
    labelled: list[Artifact],
    tokens: list[Artifact],
    split: list[Artifact],
    corpus: list[Artifact],
    mixture: list[Artifact],
) -> None:
    """Write decisions.parquet (a row for each item) and exam.json (figures, and what they mean).

    Args:
        labelled: the set that is asked, or none.
        tokens, split, corpus, mixture: of the model's trainings, for exams that look at what it read.
    """
    import torch

    from lm.evaluate.decisions import write_decisions
    from tasks.exams.kinds import RUN
    from tasks.exams.room import Room

    torch.set_num_threads(work.resources.threads)
    with work.graceful_stop() as should_stop:
        room = Room(
            work,
            config,
            model.path,
            labelled[0].path if labelled else None,
            trainings(tokens, split, corpus, mixture, config.mixed, config.trained),
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
