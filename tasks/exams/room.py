"""Who sits an exam, and what is at hand there: the model, a labelled set, files, the model's training documents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lm.labelled.cut import point
from lm.labelled.read_config import ReadConfig
from lm.labelled.records import has_columns, read_records
from lm.labelled.streams import lines, whole_text
from tasks.exams.training import Training, all_ids
from tasks.stage import Work
from tasks.storage.files import read_json

if TYPE_CHECKING:
    import pyarrow as pa

    from lm.labelled.folder import LabelledSet, Split
    from lm.text_model import TextModel
    from lm.vectors.neighbours import WordVectors
    from tasks.exam import ExamRequest

Result = tuple["pa.Table", dict[str, Any], dict[str, Any]]
"""Decisions, figures by name, definition."""
Item = TypeVar("Item")


@dataclass
class Room:
    """Who is asked what, and with what at hand."""

    work: Work
    request: "ExamRequest"
    folder: Path
    labelled: Path | None
    trainings: list[Training]
    should_stop: Callable[[], bool]

    @property
    def kind(self) -> str:
        """Of the model: what its config.json says."""
        return str(read_json(self.folder / "config.json").get("kind", "gpt"))

    @property
    def exam(self) -> Any:
        """The exam's configuration."""
        return self.request.exam

    def model(self) -> "TextModel":
        """Raises ValueError for a model that cannot be asked for texts."""
        from lm.text_model import open_model

        return open_model(self.folder, self.request.device)

    def vectors(self) -> "WordVectors":
        """Raises ValueError for a model without word vectors."""
        from lm.vectors.artifact import load_vectors

        return load_vectors(self.folder)

    def examples(self) -> "LabelledSet":
        """The labelled set."""
        from lm.labelled.folder import LabelledSet

        assert self.labelled is not None
        return LabelledSet(self.labelled)

    def paths(self) -> tuple[Path, ...]:
        """The files."""
        assert self.request.files is not None
        return self.request.files.paths

    def texts(self) -> list[tuple[str, str]]:
        """(id, text) of each text of the files, each id once."""
        whole = getattr(self.exam, "whole", False)
        return numbered([each for path in self.paths() for each in read_texts(path, whole)])

    def training_ids(self) -> set[str]:
        """Of the documents that the model has read."""
        return all_ids(self.trainings)

    def what_was_read(self) -> dict[str, Any]:
        """For the definition of an exam that asks about it."""
        unknown = {"not known": f"what {', '.join(self.request.unknown)} learned from"} if self.request.unknown else {}
        passes = [round(found, 3) for each in self.trainings if (found := each.passes()) is not None]
        read = {"passes over them": passes} if passes else {}
        return {"training documents": len(self.training_ids()), **read, **unknown}


def read_texts(path: Path, whole: bool) -> Iterator[tuple[str, str]]:
    """(id, text) of a file with columns (.jsonl, .csv, .tsv, .parquet; `text`, and `id` where there is one), or of any
    other, a text a line unless `whole`; plain, .gz or .zst. Raises ValueError naming the file and line."""
    if has_columns(path):
        for number, record in enumerate(read_records(path, ReadConfig()), start=1):
            if "text" not in record.values:
                raise ValueError(f"{record.where}: no column text; it has {', '.join(map(str, record.values))}")
            text = record.values["text"]
            if text is not None and not isinstance(text, str):
                raise ValueError(f"{record.where}: {text!r} is no text")
            if text:
                yield str(record.values.get("id", f"{path.name}:{number}")), text
    elif whole:
        try:
            yield path.name, whole_text(path).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8: {error.reason} (byte {error.start + 1})") from error
    else:
        yield from ((f"{path.name}:{number}", line) for number, line in lines(path) if line.strip())


def numbered(found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Items by id; an id that comes again is numbered, since files may have lines of the same name."""
    seen: dict[str, int] = {}
    result = []
    for id, text in found:
        seen[id] = seen.get(id, 0) + 1
        result.append((id if seen[id] == 1 else f"{id}#{seen[id]}", text))
    return result


def by_hash(items: Sequence[Item], id_of: Callable[[Item], str]) -> list[Item]:
    """Items in the order of the hash of their ids: sets are often sorted, by class or by difficulty."""
    return sorted(items, key=lambda item: (point(id_of(item), "exam"), id_of(item)))


def limited(items: Sequence[Item], count: int | None, id_of: Callable[[Item], str]) -> list[Item]:
    """`count` items, the first by hash, in the order of the set: those of a smaller count are among those of a larger
    one."""
    if count is None or count >= len(items):
        return list(items)
    kept = {id_of(item) for item in by_hash(items, id_of)[:count]}
    return [item for item in items if id_of(item) in kept]


def form_of(room: Room, form: str, split: "Split") -> list[dict[str, Any]]:
    """The rows of a split of a set of that form. Raises ValueError for another form."""
    labelled = room.examples()
    if labelled.task.ask.form != form:
        raise ValueError(f"{labelled.task.name} is a set of {labelled.task.ask.form}; {room.exam.kind} asks {form}")
    return list(labelled.read(split).to_pylist())
