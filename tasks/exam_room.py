"""Who sits an exam, and what is at hand there: the model, a labelled set, files, the model's training documents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.files import read_json
from tasks.stage import Work
from tasks.store import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

    from lm.labelled.folder import LabelledSet, Split
    from lm.text_model import TextModel
    from lm.vectors.neighbours import WordVectors
    from tasks.exam import ExamRequest

Result = tuple["pa.Table", dict[str, Any], dict[str, Any]]
"""Decisions, figures by name, definition."""


@dataclass
class Room:
    """Who is asked what, and with what at hand."""

    work: Work
    request: "ExamRequest"
    folder: Path
    labelled: Path | None
    tokens: Artifact | None
    split: Artifact | None
    corpus: Artifact | None
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

    def texts(self) -> Iterator[tuple[str, str]]:
        """(id, text) of each text of the files."""
        for path in self.paths():
            yield from read_texts(path, getattr(self.exam, "whole", False))

    def training_ids(self) -> set[str]:
        """Of the documents that the model was trained on."""
        import pyarrow.parquet as pq

        if self.split is None:
            raise ValueError("the model's training documents are not known: it is no artifact of a pipeline")
        table = pq.read_table(self.split.file("split.parquet"), columns=["id"], filters=[("split", "=", "train")])
        return set(table["id"].to_pylist())

    def training_texts(self) -> Iterator[tuple[str, str]]:
        """(id, text) of each training document."""
        import pyarrow.parquet as pq

        wanted = self.training_ids()
        assert self.corpus is not None
        for shard in self.corpus.shards():
            for batch in pq.ParquetFile(shard.path).iter_batches(columns=["id", "text"], batch_size=1000):
                for id, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                    if id in wanted:
                        yield id, text


def read_texts(path: Path, whole: bool) -> Iterator[tuple[str, str]]:
    """(id, text) of a .jsonl or .parquet file (column `text`, and `id` where there is one) or of a .txt file, a text a
    line unless `whole`; plain, .gz or .zst. Raises ValueError naming the file and line."""
    import json

    import pyarrow.parquet as pq

    from lm.evaluate.minimal_pairs import decoded

    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        table = pq.read_table(path)
        if "text" not in table.column_names:
            raise ValueError(f"{path}: no column text; it has {', '.join(table.column_names)}")
        ids = table["id"].to_pylist() if "id" in table.column_names else range(table.num_rows)
        yield from ((str(id), text) for id, text in zip(ids, table["text"].to_pylist(), strict=True) if text)
    elif name.endswith((".jsonl", ".ndjson")):
        for number, line in enumerate(decoded(path).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                text = row["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: no JSON object with a text: {line[:60]!r}") from error
            if text:
                yield str(row.get("id", f"{path.name}:{number}")), str(text)
    elif whole:
        yield path.name, decoded(path)
    else:
        for number, line in enumerate(decoded(path).split("\n"), start=1):
            if line.strip():
                yield f"{path.name}:{number}", line.rstrip("\r")


def unique(ids: Sequence[str]) -> list[str]:
    """The ids, those that come again numbered: files may have lines of the same name."""
    seen: dict[str, int] = {}
    found = []
    for id in ids:
        seen[id] = seen.get(id, 0) + 1
        found.append(id if seen[id] == 1 else f"{id}#{seen[id]}")
    return found


def form_of(room: Room, form: str, split: "Split") -> list[dict[str, Any]]:
    """The rows of a split of a set of that form. Raises ValueError for another form."""
    labelled = room.examples()
    if labelled.task.ask.form != form:
        raise ValueError(f"{labelled.task.name} is a set of {labelled.task.ask.form}; {room.exam.kind} asks {form}")
    return list(labelled.read(split).to_pylist())
