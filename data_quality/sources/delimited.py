"""Delimited tables: CSV (RFC 4180) and TSV."""

import csv
from collections.abc import Iterator

from data_quality.config import CsvSource
from data_quality.sources.base import FileRef, InputError, Reading, Skip, pick_columns, record_from_columns
from data_quality.sources.streams import Part, line_encoding, read_lines, split_compression, too_long

EXTENSIONS = (".csv", ".tsv")


class _TooLong(Exception):
    """A record has grown beyond the limit."""


class _Lines:
    """Feeds decoded lines to the csv module, and stops a record that grows too long (an open quote)."""

    def __init__(self, lines: Iterator[Part], encoding: str, max_bytes: int) -> None:
        self._lines, self._encoding, self._max_bytes = lines, encoding, max_bytes
        self.number = 0
        self.size = 0  # bytes of the record being read

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        data, size = next(self._lines)
        self.number += 1
        self.size += size + 1
        if data is None or self.size > self._max_bytes:
            raise _TooLong(too_long(self.size, self._max_bytes))
        # Undecodable bytes travel as surrogates, so that a bad byte costs its own record and not the row structure;
        # the ingest loop refuses a document that holds one.
        return data.decode(self._encoding, "surrogateescape") + "\n"


def read(ref: FileRef, source: CsvSource) -> Reading:
    """The rows of one file, numbered from 1 without the header. Empty lines are no records."""
    lines = _Lines(
        read_lines(ref, source.encoding, source.max_record_bytes),
        line_encoding(source.encoding),
        source.max_record_bytes,
    )
    csv.field_size_limit(max(csv.field_size_limit(), source.max_record_bytes))
    delimiter = source.delimiter or ("\t" if split_compression(ref.path)[0].lower().endswith(".tsv") else ",")
    rows = csv.reader(
        lines,
        delimiter=delimiter,
        quotechar=source.quote,
        quoting=csv.QUOTE_NONE if source.quote is None else csv.QUOTE_MINIMAL,
        strict=True,
    )
    header = list(source.columns) if source.columns is not None else _header(rows)
    if header is None:
        return
    pick_columns(source, header)
    number = 0
    while True:
        lines.size = 0
        line = lines.number + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, _TooLong) as error:
            number += 1
            yield Skip("too_long" if isinstance(error, _TooLong) else "invalid_csv", str(error), line, number)
            continue
        if not row:
            continue
        number += 1
        if len(row) != len(header):
            yield Skip("wrong_field_count", f"{len(row)} fields, {len(header)} columns", line, number)
            continue
        yield record_from_columns(source, dict(zip(header, row, strict=True)), number, line)


def _header(rows: Iterator[list[str]]) -> list[str] | None:
    try:
        return next((row for row in rows if row), None)
    except (csv.Error, _TooLong) as error:
        raise InputError("invalid_csv", f"the header cannot be read: {error}") from None
