"""Delimited tables: CSV (RFC 4180) and TSV."""

import csv
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from data_quality.config import CsvSource
from data_quality.sources.base import FileRef, InputError, Reading, Skip, pick_columns, record_from_columns
from data_quality.sources.streams import (
    Part,
    Unit,
    line_encoding,
    read_lines,
    split_compression,
    split_parts,
    too_long,
)

if TYPE_CHECKING:
    from _csv import Reader

EXTENSIONS = (".csv", ".tsv")
SEPARATOR_NOTE = re.compile(r"sep=([^\r\n])")
"""The line before the names by which Excel tells itself what stands between the columns."""


class _TooLong(Exception):
    """A record has grown beyond the limit."""


class _Lines:
    """Feeds decoded lines to the csv module, and stops a record that grows too long (an open quote)."""

    def __init__(self, lines: Iterator[Part], encoding: str, max_bytes: int) -> None:
        self._lines, self._encoding, self._max_bytes = lines, encoding, max_bytes
        self.ahead: Part | None = None  # a line to be given before the others
        self.number = 0
        self.end = 0  # bytes of all lines so far
        self.size = 0  # bytes of the record being read

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        data, size = self.ahead or next(self._lines)
        self.ahead = None
        self.pass_by(size)
        if data is None or self.size > self._max_bytes:
            raise _TooLong(too_long(self.size, self._max_bytes))
        # Undecodable bytes travel as surrogates, so that a bad byte costs its own record and not the row structure;
        # the ingest loop refuses a document that holds one.
        return data.decode(self._encoding, "surrogateescape") + "\n"

    def pass_by(self, size: int) -> None:
        """Count a line of ``size`` bytes without its line feed."""
        self.number += 1
        self.size += size + 1
        self.end += size + 1


def read(ref: FileRef, source: CsvSource) -> Reading:
    """The rows of one file, numbered from 1 without the header. Empty lines are no records."""
    lines = _Lines(
        read_lines(ref, source.encoding, source.max_record_bytes),
        line_encoding(source.encoding),
        source.max_record_bytes,
    )
    rows = _rows(lines, source, ref.path)
    if ref.range is not None and ref.range.header is not None:
        header: list[str] | None = list(ref.range.header)
    else:
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


def _header(rows: "Reader") -> list[str] | None:
    between = rows.dialect.delimiter
    try:
        return next((row for row in rows if row and not SEPARATOR_NOTE.fullmatch(between.join(row))), None)
    except (csv.Error, _TooLong) as error:
        raise InputError("invalid_csv", f"the header cannot be read: {error}") from None


def usual_delimiter(path: str) -> str:
    """A tab in .tsv, else a comma."""
    return "\t" if split_compression(path)[0].lower().endswith(".tsv") else ","


def _rows(lines: _Lines, source: CsvSource, path: str) -> "Reader":
    csv.field_size_limit(max(csv.field_size_limit(), source.max_record_bytes))
    return csv.reader(
        lines,
        delimiter=source.delimiter or usual_delimiter(path),
        quotechar=source.quote,
        quoting=csv.QUOTE_NONE if source.quote is None else csv.QUOTE_MINIMAL,
        strict=True,
    )


def units(chunks: Iterator[bytes], source: CsvSource, path: str) -> tuple[tuple[str, ...] | None, Iterator[Unit]]:
    """The header, where the file has one, and where the decoded content may be cut: after each row.

    A line without a quote, where a row may begin, is a row; only the others are parsed. Raises :class:`InputError`
    when the header cannot be read or lacks a column.
    """
    encoding = line_encoding(source.encoding)
    parts = split_parts(chunks, b"\n", source.max_record_bytes)
    lines = _Lines(parts, encoding, source.max_record_bytes)
    rows = _rows(lines, source, path)
    header = list(source.columns) if source.columns is not None else _header(rows) or []
    pick_columns(source, header)
    # A quote that the encoding lacks is b"" here, which every line holds: all are parsed.
    quote = None if source.quote is None else source.quote.encode(encoding, "ignore")
    return None if source.columns is not None else tuple(header), _units(parts, lines, rows, quote)


def _units(parts: Iterator[Part], lines: _Lines, rows: Iterator[list[str]], quote: bytes | None) -> Iterator[Unit]:
    records = 0
    for part in parts:
        if part.data is not None and (quote is None or quote not in part.data):
            lines.pass_by(part.size)
            records += bool(part.data.strip(b"\r"))
        else:
            lines.ahead, lines.size = part, 0
            try:
                records += bool(next(rows))
            except (csv.Error, _TooLong):
                records += 1
        yield Unit(lines.end, part.data, records, lines.number)
