"""A labelled set as a folder: task.json, and train.parquet, valid.parquet and, where there is one, test.parquet."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from lm.config import StrictModel
from lm.labelled.forms import AnyForm
from lm.labelled.parquet import ParquetFault, read_batches
from lm.labelled.streams import check_unpacked

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
DESCRIPTION = "task.json"


class Task(StrictModel):
    """What a set asks."""

    name: str = Field(description="What reports and registered models call it.")
    language: str = Field(default="en", description="BCP 47 tag of its texts.")
    ask: AnyForm = Field(description="The form of its examples.")
    metrics: tuple[str, ...] = Field(
        min_length=1, description="What is reported; the first decides which model is best."
    )


class LabelledSet:
    """A folder, opened. Raises ValueError or FileNotFoundError naming the file for what is missing or does not fit.

    Args:
        stranger: whether its files may mean harm: they are read within limits (`lm.labelled.parquet`). What was read
            so once needs it no more where a hash says that it is the same.
    """

    def __init__(self, folder: Path, stranger: bool = False) -> None:
        self.folder, self.stranger, path = folder, stranger, folder / DESCRIPTION
        if not path.exists():
            raise FileNotFoundError(f"{path}: not there: {folder} is no labelled set")
        try:
            self.task = Task.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path}: {error}") from error

    def has(self, split: Split) -> bool:
        """Whether there is such a split."""
        return (self.folder / f"{split}.parquet").exists()

    def read(self, split: Split) -> pa.Table:
        """The examples of a split, in the order of the file; columns of no meaning to the form are left out."""
        path = self.folder / f"{split}.parquet"
        if not path.exists():
            raise FileNotFoundError(f"{path}: the set has no {split} split")
        table, wanted = _read_limited(path) if self.stranger else pq.read_table(path), self.task.ask.table_schema()
        for name in self.task.ask.nullable:
            if name not in table.schema.names:
                table = table.append_column(name, pa.nulls(table.num_rows, wanted.field(name).type))
        if missing := [name for name in wanted.names if name not in table.schema.names]:
            raise ValueError(
                f"{path}: no column {' and '.join(missing)}: it has {table.schema.names}, a set of this form"
                f" {wanted.names}"
            )
        return table.select(wanted.names).cast(wanted)


def _read_limited(path: Path) -> pa.Table:
    batches, taken = [], 0
    try:
        for batch in read_batches(path):
            taken += batch.nbytes
            check_unpacked(path, taken)
            batches.append(batch)
    except ParquetFault as error:
        raise ValueError(f"{path}: cannot be read as Parquet: {error}; copy the set again") from error
    return pa.Table.from_batches(batches, batches[0].schema)


def write_labelled(folder: Path, task: Task, splits: Mapping[Split, list[dict[str, Any]]]) -> None:
    """Write a set; rows are dictionaries of the form's columns. Raises ValueError for a row that does not fit."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        try:
            table = pa.Table.from_pylist(rows, schema=task.ask.table_schema())
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"{task.name}, {split}: an example does not fit the form: {error}") from error
        partial = folder / f"{split}.parquet.tmp"
        pq.write_table(table, partial, compression="zstd")
        os.replace(partial, folder / f"{split}.parquet")
    write_task(folder, task)


def write_task(folder: Path, task: Task) -> None:
    """Write what a set asks beside its examples; a folder with it can be opened, so that it comes last."""
    partial = folder / f"{DESCRIPTION}.tmp"
    partial.write_text(json.dumps(task.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / DESCRIPTION)
