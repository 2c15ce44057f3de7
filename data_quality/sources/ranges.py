"""Large files cut into ranges that are read alone, so that one file is work for all cores and is reused in parts.

A cut falls between two documents, where the content just before it says so (content-defined chunking; Xia et al.,
"FastCDC", USENIX ATC 2016, with its smallest and largest size): what is appended or inserted changes the ranges around
it, and the later cuts fall where they fell. The units between which cuts may fall are found by the code that reads
them, and counted as it counts, so that a range knows how many records and lines lie before it.

Left whole: compressed files, encodings in which a line feed is not one byte (UTF-16, UTF-32, UTF-7), text with one
document a file, and every format that is not named in :func:`cut_file`.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import ColumnSource, CsvSource, JsonlSource, ParquetSource, StrictModel, TextSource
from data_quality.sources import delimited, parquet, text
from data_quality.sources.base import InputError, Range, pick_columns
from data_quality.sources.streams import (
    CHUNK_BYTES,
    Unit,
    as_utf8,
    byte_order_mark,
    is_reencoded,
    line_units,
    open_binary,
    split_compression,
)

CUT_VERSION = 1
"""Raised when the same file would be cut elsewhere, so that no cache answers with the old cuts."""


class FileRange(StrictModel):
    """One range of a file: where and what it is, the SHA-256 of its content and its size in bytes."""

    range: Range
    sha256: str
    bytes: int


def cutting_settings(source: Any, path: str, target: int) -> dict[str, Any]:
    """Everything besides the file that says where its cuts fall; JSON-able."""
    fields = {"format", "encoding", "max_record_bytes", "document", "separator", "delimiter", "quote", "columns"}
    fields |= set(ColumnSource.model_fields)  # a file that lacks one of them is read, and complained about, whole
    name = split_compression(path)[0].lower()
    return {
        **source.model_dump(mode="json", include=fields),
        "tsv": name.endswith(".tsv"),
        "target": target,
        "version": CUT_VERSION,
    }


def is_cuttable(source: Any, path: str) -> bool:
    """Whether files of this source and name can be cut at all."""
    if split_compression(path)[1] is not None:
        return False
    if isinstance(source, ParquetSource):
        return True
    if isinstance(source, TextSource) and source.document == "file":
        return False
    return isinstance(source, TextSource | JsonlSource | CsvSource) and not is_reencoded(source.encoding)


def cut_file(uri: str, path: str, source: Any, target: int) -> list[FileRange]:
    """The ranges of a file, between half of ``target`` and four times ``target`` bytes but for the last and for single
    longer documents. Empty when the file is better read whole: it has one range, no record, or a header that
    cannot be read. One pass; memory: ``max_record_bytes`` and a chunk.
    """
    try:
        if isinstance(source, ParquetSource):
            ranges = _cut_row_groups(uri, source, target)
        elif isinstance(source, CsvSource):
            ranges = _cut_stream(uri, source, target, lambda chunks: delimited.units(chunks, source, path))
        elif isinstance(source, TextSource):
            ranges = _cut_stream(uri, source, target, lambda chunks: (None, text.units(chunks, source)))
        else:
            limit = source.max_record_bytes
            ranges = _cut_stream(uri, source, target, lambda chunks: (None, line_units(chunks, limit)))
    except (InputError, pa.ArrowException, OSError, ValueError):
        return []  # broken, or gone by now: reading it whole says so
    return ranges if len(ranges) > 1 else []


def _cut_stream(
    uri: str,
    source: Any,
    target: int,
    units_of: Callable[[Iterator[bytes]], tuple[tuple[str, ...] | None, Iterator[Unit]]],
) -> list[FileRange]:
    ranges: list[FileRange] = []
    with open_binary(uri) as raw:
        hashed = _Hashed(raw, byte_order_mark(raw, source.encoding))
        header, units = units_of(as_utf8(iter(hashed), source.encoding))

        def close(end: int) -> None:
            size, sha256 = hashed.cut(end)
            position = Range(
                start=hashed.position - size,
                first=not ranges,
                header=header if ranges else None,
                records_before=before.records,
                lines_before=before.lines,
            )
            ranges.append(FileRange(range=position, sha256=sha256, bytes=size))

        before = last = Unit(0, None, 0, 0)
        blank = True  # blank lines count in a record's number, but are no records
        for unit in units:
            blank = blank and unit.content is not None and not unit.content.strip()
            size = unit.end - before.end
            if _is_cut(unit.content, unit.end - last.end, size, target):
                close(unit.end)
                before = unit
            last = unit
        if hashed.read > hashed.position:
            close(hashed.read)
    return ranges if last.records and not blank else []


def _is_cut(content: bytes | None, unit_bytes: int, range_bytes: int, target: int) -> bool:
    """Whether a range of ``range_bytes`` ends after a unit: its content hashes below its share of a range."""
    smallest = target // 2
    if range_bytes < smallest:
        return False
    if range_bytes >= 4 * target:
        return True
    hashed = zlib.crc32(content if content is not None else str(unit_bytes).encode())
    return hashed * (target - smallest) < unit_bytes << 32


class _Hashed:
    """Chunks of a file, and the SHA-256 of what lies between the cuts. A cut falls into the chunk given last."""

    def __init__(self, file: Any, skipped: int) -> None:
        self._file, self._skipped = file, skipped
        self._chunk = b""
        self._sha256 = hashlib.sha256()
        self.read = 0  # bytes given so far
        self.position = 0  # bytes hashed so far
        self._last_cut = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK_BYTES):
            self._hash_to(self.read)
            self._chunk = chunk
            self.read += len(chunk)
            yield chunk

    def _hash_to(self, end: int) -> None:
        base = self.read - len(self._chunk)
        self._sha256.update(memoryview(self._chunk)[self.position - base : end - base])
        self.position = end

    def cut(self, end: int) -> tuple[int, str]:
        """(Size, SHA-256) of what lies between the last cut and ``end``, counted after a byte order mark."""
        self._hash_to(min(end + self._skipped, self.read))
        size, self._last_cut = self.position - self._last_cut, self.position
        digest = self._sha256.hexdigest()
        self._sha256 = hashlib.sha256()
        return size, digest


def _cut_row_groups(uri: str, source: ParquetSource, target: int) -> list[FileRange]:
    ranges: list[FileRange] = []
    with open_binary(uri) as raw, pq.ParquetFile(raw, pre_buffer=False) as file:
        pick_columns(source, file.schema_arrow.names)
        start = size = rows = rows_before = 0
        digests: list[str] = []
        groups = file.num_row_groups
        for group in range(groups):
            digest, group_bytes = parquet.row_group_digest(raw, file, group)
            digests.append(digest)
            rows += file.metadata.row_group(group).num_rows
            size += group_bytes
            if group + 1 < groups and not _is_cut(digest.encode(), group_bytes, size, target):
                continue
            position = Range(
                start=0, first=not ranges, row_groups=(start, group + 1), records_before=rows_before, lines_before=None
            )
            ranges.append(FileRange(range=position, sha256=parquet.row_groups_digest(digests), bytes=size))
            start, size, rows_before = group + 1, 0, rows
            digests = []
    return ranges if rows else []
