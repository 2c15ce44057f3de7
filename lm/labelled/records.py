"""Files as records: one reader for each format; what a record means is said in `examples`."""

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from lm.labelled.conll import read_conll
from lm.labelled.docstrings import read_docstrings
from lm.labelled.parquet import read_batches
from lm.labelled.read_config import ReadConfig
from lm.labelled.squad import read_squad
from lm.labelled.streams import BadInput, check_unpacked, ending, lines

FORMATS = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
    "parquet": "parquet",
    "conll": "conll",
    "bio": "conll",
    "iob": "conll",
    "json": "squad",
    "txt": "lines",
    "py": "docstrings",
}
"""What the ending of a name means."""
WITH_COLUMNS = ("jsonl", "csv", "tsv", "parquet")
"""Formats whose records name their fields."""


class Record(NamedTuple):
    """What a file says of one example, and where it says so."""

    where: str  # with the whole path, for errors
    short: str  # with the file's name only, for what is written into an artifact
    values: dict[str, Any]
    named: bool = False  # by the form's own names, so that `read.fields` says nothing of them (but for `id`)
    left_out: str | None = None  # why it is no example


def has_columns(path: Path) -> bool:
    """Whether a file's name says that its records name their fields."""
    return FORMATS.get(ending(path)) in WITH_COLUMNS


def format_of(path: Path, config: ReadConfig) -> str:
    """The format that is said, or else that of the file's name; empty if it has none of them."""
    return config.format if config.format != "auto" else FORMATS.get(ending(path), "")


def read_records(
    path: Path, config: ReadConfig, target: Path | None = None, unlabelled: bool = False
) -> Iterator[Record]:
    """The records of one file in its order.

    Args:
        target: of format `lines`: the file whose lines belong to those of `path`.
        unlabelled: whether a file of format `conll` may have words without tags.

    Raises:
        BadInput: naming the file, the line and what to do.
    """
    form = format_of(path, config)
    if not form:
        raise BadInput(
            f"{path}: its format cannot be told by its name: set read.format to one of jsonl, csv, tsv, parquet,"
            " conll, squad, lines, docstrings"
        )
    if form == "lines":
        for number, values in _line_pairs(path, target):
            yield Record(f"{path}: line {number}", f"{path.name}: line {number}", values, named=True)
        return
    if form == "docstrings":
        for found in read_docstrings(path):
            values = {"id": found.name, "source": found.source, "target": found.target}
            short = f"{path.name}: line {found.line}"
            yield Record(f"{path}: line {found.line}", short, values, named=True, left_out=found.left_out)
        return
    read = partial(read_conll, untagged=unlabelled) if form == "conll" else READERS[form]
    for place, values in read(path, config):
        yield Record(f"{path}: {place}", f"{path.name}: {place}", values, named=form in ("conll", "squad"))


def _jsonl(path: Path, config: ReadConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}: line {number} is no JSON: {error}; one object a line is needed") from error
        if not isinstance(values, dict):
            raise BadInput(f"{path}: line {number} is no JSON object: {line[:60]!r}; one object a line is needed")
        yield f"line {number}", values


def _table(path: Path, config: ReadConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    tabs = config.format == "tsv" or (config.format == "auto" and ending(path) == "tsv")
    delimiter = config.delimiter or ("\t" if tabs else ",")
    quoting = config.quoting if config.quoting is not None else not tabs
    names = config.columns
    for number, row in _rows(path, delimiter, quoting):
        if not row:
            continue
        if not names:
            names = tuple(row) if config.header else tuple(map(str, range(len(row))))
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise BadInput(f"{path}: line {number} names a column twice: {', '.join(twice)}")
            if config.header:
                continue
        if len(row) != len(names):
            hint = (
                "a value that holds the delimiter must stand in quotes, or set read.quoting to false"
                if quoting
                else "if values stand in quotes, set read.quoting to true"
            )
            raise BadInput(f"{path}: line {number} has {len(row)} values, {len(names)} are needed: {hint}")
        yield f"line {number}", dict(zip(names, row, strict=True))


def _rows(path: Path, delimiter: str, quoting: bool) -> Iterator[tuple[int, list[str]]]:
    if not quoting:
        yield from ((number, line.split(delimiter) if line else []) for number, line in lines(path))
        return
    csv.field_size_limit(1 << 30)
    reached = 0

    def fed() -> Iterator[str]:
        nonlocal reached
        for number, line in lines(path):
            reached = number
            yield line + "\n"

    rows = csv.reader(fed(), delimiter=delimiter, strict=True)
    while True:
        first = reached + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInput(
                f"{path}: line {first}: {error}; if quotes are plain characters here, set read.quoting to false"
            ) from error
        yield first, row


def _parquet(path: Path, config: ReadConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    number = taken = 0
    try:
        for batch in read_batches(path):
            taken += batch.nbytes
            check_unpacked(path, taken)
            for values in batch.to_pylist():
                number += 1
                yield f"row {number}", values
    except BadInput:
        raise
    except (ValueError, OverflowError, pa.ArrowException) as error:  # text that is no UTF-8, a date of no calendar
        raise BadInput(
            f"{path}: cannot be read as Parquet after row {number}: {error}; fetch it again, or write it as .jsonl"
        ) from error


def _line_pairs(path: Path, target: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    if target is None:
        raise BadInput(f"{path}: format lines needs the other side, too: name as many `targets` as `files`")
    sources, targets = lines(path), lines(target)
    for number, text in sources:
        other = next(targets, None)
        if other is None:
            raise BadInput(f"{target} ends after line {number - 1}, {path} does not: line n of one belongs to line n")
        yield number, {"source": text, "target": other[1]}
    if (left := next(targets, None)) is not None:
        raise BadInput(f"{path} ends before line {left[0]}, {target} does not: line n of one belongs to line n")


Reader = Callable[[Path, ReadConfig], Iterator[tuple[str, dict[str, Any]]]]
READERS: dict[str, Reader] = {
    "jsonl": _jsonl,
    "csv": _table,
    "tsv": _table,
    "parquet": _parquet,
    "squad": lambda path, config: read_squad(path),
}
