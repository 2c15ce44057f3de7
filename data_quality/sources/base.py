"""What readers and the ingest loop say to each other: records, skips, and the errors of bad input."""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from data_quality.config import StrictModel

SKIPPED = "skipped.parquet"
"""The table of the records and files that gave no document."""

NAME_THE_COLUMN = (
    "`text_column`, `id_column` and their like in a source name its columns: for `textmill clean` --set "
    "'ingest.sources=[{format: FORMAT, paths: [FILES], text_column: NAME}]' in place of the inputs, or the same in a "
    "file for --config"
)

# Reasons for which a record or file gives no document although nothing is wrong with it.
# They are recorded and counted, but never stop an ingest with `on_bad_input: error`.
BENIGN_REASONS = frozenset(
    {
        "empty_document",
        "no_docstring",
        "too_short",
        "http_status",
        "other_content_type",
        "redirect",
        "other_namespace",
        "forgotten",
    }
)


class WikiHead(StrictModel):
    """What the articles of a MediaWiki dump depend on beside themselves: the names of the wiki (``dbname``, ``base``)
    and its words for links to files and categories."""

    names: dict[str, str]
    link_prefixes: tuple[str, ...]


class Range(StrictModel):
    """A part of a large file that is read alone; readers count its records and lines from 1.

    ``start`` is its first byte as stored, ``header`` the column names of a CSV file and ``wiki`` the head of a
    MediaWiki dump for a range that does not hold them, ``row_groups`` the first and the one after the last of a Parquet
    file. ``last`` says whether the file ends with it. ``lines_before`` is None where the format has no lines, or where
    a record too long to be held leaves the line unknown. ``block`` is how far it begins within a block of reading where
    a gzip member in it is broken (else None): what is saved of that one depends on the blocks.
    """

    start: int
    first: bool
    last: bool = True
    header: tuple[str, ...] | None = None
    wiki: WikiHead | None = None
    block: int | None = None
    row_groups: tuple[int, int] | None = None
    records_before: int
    lines_before: int | None


class FileRef(StrictModel):
    """One input file, or a range of one: where it is now (``uri``), what it is called in ids (``path``), what is in it.

    ``sha256`` and ``bytes`` are those of the range, where there is one.
    """

    path: str
    uri: str
    sha256: str
    bytes: int
    extra: dict[str, str] = Field(default_factory=dict)
    range: Range | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One record: ``number`` within its file from 1, its line if the format has lines, and its values.

    ``text`` is what the reader found and need not be a string yet; bytes are UTF-8 not yet checked.
    """

    number: int
    text: Any
    line: int | None = None
    id: Any = None
    source: Any = None
    language: Any = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that gives no document, and why. ``line`` and ``record`` are None when a whole file is meant."""

    reason: str
    detail: str
    line: int | None = None
    record: int | None = None


Reading = Iterator[Record | Skip]


class InputError(Exception):
    """Reading cannot go on in this file (truncated, corrupt, no such column); what came before stands."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class BadInput(Exception):
    """Bad input under ``on_bad_input: error``, or input with which going on makes no sense."""

    def __init__(self, file: str, line: int | None, reason: str, detail: str) -> None:
        super().__init__(file, line, reason, detail)
        self.file, self.line, self.reason, self.detail = file, line, reason, detail

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.reason}: {self.detail}"


class SourceNotFound(Exception):
    """A source names something that is not there; the message says what to do."""


class SourceChanged(Exception):
    """A file's content is no longer what was fingerprinted; run again."""


def require_library(module: str, format: str) -> None:
    """Raise :class:`SourceNotFound` saying what to install where a library of the extra `office` is missing."""
    if importlib.util.find_spec(module) is None:
        raise SourceNotFound(
            f"format {format}: {module}, which reads such files, is not installed: pip install -e '.[office]'"
        )


def pick_columns(source: Any, available: list[str]) -> list[str]:
    """The columns a source asks for, each once; raises :class:`InputError` naming those there are if one is missing,
    or one that is there twice."""
    wanted = [
        source.text_column,
        *filter(None, (source.id_column, source.source_column, source.language_column)),
        *source.metadata_columns,
    ]
    missing = [column for column in dict.fromkeys(wanted) if column not in available]
    if missing:
        raise InputError(
            "missing_column",
            f"no column {', '.join(map(repr, missing))}; there are: {', '.join(map(repr, available)) or 'none'}",
        )
    for column in dict.fromkeys(wanted):
        if available.count(column) > 1:
            raise InputError(
                "doubled_column",
                f"{available.count(column)} columns are called {column!r}: which is meant? Rename one in the file",
            )
    return list(dict.fromkeys(wanted))


def record_from_columns(source: Any, values: Mapping[str, Any], number: int, line: int | None = None) -> Record:
    """A record out of named values, as the source's ``*_column`` fields say."""
    return Record(
        number=number,
        line=line,
        text=values[source.text_column],
        # An id column that is empty is a fault of the record; "" cannot be an id and says so.
        id=None if source.id_column is None else ("" if values[source.id_column] is None else values[source.id_column]),
        source=None if source.source_column is None else values[source.source_column],
        language=None if source.language_column is None else values[source.language_column],
        metadata={column: values[column] for column in source.metadata_columns},
    )
