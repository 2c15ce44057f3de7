"""Parquet files, batch by batch.

A row group whose pages may unpack to more than :mod:`data_quality.sources.parquet_pages` allows, or in a way that their
headers do not tell, is read in a process of limited memory (:mod:`data_quality.sources.parquet_limited`).
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import ParquetSource
from data_quality.sources import parquet_pages
from data_quality.sources.base import (
    FileRef,
    InputError,
    Reading,
    Skip,
    SourceChanged,
    pick_columns,
    record_from_columns,
)
from data_quality.sources.streams import open_binary, open_seekable, too_long

EXTENSIONS = (".parquet",)
LIMITED = Path(__file__).with_name("parquet_limited.py")
MEMORY_BYTES = 4 << 30
"""Address space of the process that reads a row group that is not ordinary."""
OBJECT_BYTES = 32


class _Refused(Exception):
    """A row group that cannot be read within the limits."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def read(ref: FileRef, source: ParquetSource) -> Reading:
    """The rows of one file, or of some of its row groups, numbered from 1. Only the columns asked for are read.

    A row group that takes more memory than there is for it is a skip, at the number of its first row that is not read.
    """
    number = 0
    with open_seekable(ref) if ref.range is None else open_binary(ref.uri) as raw:
        parquet_pages.check_footer(raw)
        try:
            # buffer_size makes pyarrow read a column chunk page by page instead of whole.
            file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
            columns = pick_columns(source, file.schema_arrow.names)
            for group in _row_groups(ref, raw, file):
                behind = number + file.metadata.row_group(group).num_rows
                try:
                    for batch in _batches(
                        ref.uri, raw, file, range(group, group + 1), columns, source.max_record_bytes
                    ):
                        values = [_values(batch.column(name), source.max_record_bytes) for name in columns]
                        for row in zip(*values, strict=True):
                            number += 1
                            yield _record(dict(zip(columns, row, strict=True)), number, source)
                except _Refused as refused:
                    yield Skip(refused.reason, f"row group {group}: {refused.detail}", None, number + 1)
                    number = max(number, behind)  # the footer may say less than there were
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a damaged column name
            raise InputError("corrupt", f"after {number} rows: {error}") from None


def read_rows(uri: str, raw: BinaryIO, max_value_bytes: int) -> Iterator[dict[str, Any]]:
    """All columns of every row of a file that is opened as `raw`, within the same limits.

    Raises :class:`InputError` where :func:`read` has a skip: who reads a table needs all of it.
    """
    parquet_pages.check_footer(raw)
    number = 0
    try:
        file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
        names = list(dict.fromkeys(file.schema_arrow.names))
        for batch in _batches(uri, raw, file, range(file.num_row_groups), names, max_value_bytes):
            values = [_values(batch.column(name), max_value_bytes) for name in names]
            texts = [_is_text(batch.column(name).type) for name in names]
            for row in zip(*values, strict=True):
                number += 1
                if long := [value.bytes for value in row if isinstance(value, _TooLong)]:
                    raise InputError("too_long", f"row {number}: {too_long(long[0], max_value_bytes)}")
                yield {
                    name: value.decode() if is_text and value is not None else value
                    for name, value, is_text in zip(names, row, texts, strict=True)
                }
    except _Refused as refused:
        raise InputError(refused.reason, f"after {number} rows: {refused.detail}") from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # a text that is no UTF-8, a date of none
        raise InputError("corrupt", f"after {number} rows: {error}") from None


def _batches(
    uri: str, raw: BinaryIO, file: pq.ParquetFile, groups: range, columns: list[str], max_record_bytes: int
) -> Iterator[pa.RecordBatch]:
    loads = [parquet_pages.load(raw, file, group, columns) for group in groups]
    rows = min((load.rows for load in loads), default=1)
    if all(load.ordinary for load in loads):
        # Arrow's threads hold now and then three times the memory, and are no faster: workers are side by side already.
        for group in groups:
            yield from file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
        return
    most = max(parquet_pages.BATCH_BYTES, 2 * max_record_bytes)
    try:
        uri, stdin = "", raw.fileno()
    except OSError:  # on no disk: it opens the file itself
        stdin = subprocess.DEVNULL
    limits = (groups.start, groups.stop, rows, most, MEMORY_BYTES)
    # -P: the modules beside it are called as some of Python's own
    command = [sys.executable, "-P", str(LIMITED), uri, *map(str, limits), *columns]
    with (
        tempfile.TemporaryFile() as errors,  # no pipe: nobody reads it before the end, and a full one stops who writes
        subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield from _given(process, errors)
        finally:
            process.kill()


def _given(process: subprocess.Popen[bytes], errors: BinaryIO) -> Iterator[pa.RecordBatch]:
    assert process.stdout is not None
    while (line := process.stdout.readline()).endswith(b"\n"):
        said = json.loads(line)
        if "end" in said:
            return
        if said.get("reason") == "corrupt":
            raise pa.ArrowInvalid(said["detail"])
        if "reason" in said:
            raise _Refused(said["reason"], said["detail"])
        data = process.stdout.read(said["bytes"])
        if len(data) < said["bytes"]:
            break
        with pa.ipc.open_stream(data) as stream:
            yield from stream
    code = process.wait()
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 1000))
    message = errors.read().decode(errors="replace").strip().splitlines()
    how = f"signal {-code}" if code < 0 else f"{message[-1] if message else f'exit status {code}'}"
    raise _Refused("corrupt", f"Arrow failed ({how}): it is broken, or asks for more than {MEMORY_BYTES >> 20} MiB")


def _row_groups(ref: FileRef, raw: BinaryIO, file: pq.ParquetFile) -> range:
    if ref.range is None or ref.range.row_groups is None:
        return range(file.num_row_groups)
    first, end = ref.range.row_groups
    if (
        end > file.num_row_groups
        or row_groups_digest(row_group_digest(raw, file, group)[0] for group in range(first, end)) != ref.sha256
    ):
        raise SourceChanged(f"{ref.uri} changed while it was being ingested; run again")
    return range(first, end)


def check_row_groups(raw: BinaryIO, file: pq.ParquetFile) -> None:
    """Raise :class:`InputError` where column chunks are said to hold more than the file: to digest each would read the
    same bytes again and again."""
    left = raw.seek(0, 2)
    for group in range(file.num_row_groups):
        columns = file.metadata.row_group(group)
        left -= sum(max(0, columns.column(index).total_compressed_size) for index in range(columns.num_columns))
        if left < 0:
            raise InputError("corrupt", "column chunks that overlap or go on behind the end of the file")


def row_group_digest(raw: BinaryIO, file: pq.ParquetFile, group: int) -> tuple[str, int]:
    """(SHA-256, bytes) of what the rows of a row group depend on: its pages and codecs, and the schema."""
    digest = hashlib.sha256(file.schema_arrow.remove_metadata().serialize())
    size = 0
    columns = file.metadata.row_group(group)
    for index in range(columns.num_columns):
        column = columns.column(index)
        digest.update(f"{columns.num_rows} {column.path_in_schema} {column.compression}".encode())
        offsets = (column.dictionary_page_offset, column.data_page_offset)
        raw.seek(min(offset for offset in offsets if offset))
        left = column.total_compressed_size
        size += left
        while left > 0 and (block := raw.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest(), size


def row_groups_digest(digests: Iterable[str]) -> str:
    """SHA-256 of several row groups out of those of each."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


class _TooLong(NamedTuple):
    """In place of a value of so many bytes."""

    bytes: int


def _is_text(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        type = type.value_type
    return pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type)


def _values(column: pa.Array, most: int) -> Iterable[Any]:
    # As bytes: a string that is not UTF-8 must cost its own record, not the batch.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_large_string(column.type):
        column = column.view(pa.large_binary())
    elif pa.types.is_string(column.type):
        column = column.view(pa.binary())
    if _bytes(column) <= most:
        return column.to_pylist()
    return (_value(column, index, most) for index in range(len(column)))  # one at a time: as Python's they are larger


def _value(column: pa.Array, index: int, most: int) -> Any:
    value = column[index]
    if isinstance(value, pa.BinaryScalar):
        size = value.as_buffer().size if value.is_valid else 0
    else:
        size = _bytes(column.slice(index, 1))
    return _TooLong(size) if size > most else value.as_py()


def _bytes(array: pa.Array) -> int:
    """About what an array takes as Python's objects: a list of nulls has no bytes in Arrow, and eight for each here."""
    return max(array.nbytes, OBJECT_BYTES * _items(array)) if pa.types.is_nested(array.type) else array.nbytes


def _items(array: pa.Array) -> int:
    if pa.types.is_struct(array.type):
        return len(array) + sum(map(_items, array.flatten()))
    if pa.types.is_map(array.type):
        first, end = (array.offsets[place].as_py() for place in (0, -1))
        return len(array) + sum(_items(part.slice(first, end - first)) for part in (array.keys, array.items))
    return len(array) + (_items(array.flatten()) if pa.types.is_nested(array.type) else 0)


def _record(values: dict[str, Any], number: int, source: ParquetSource) -> Any:
    for value in values.values():
        if isinstance(value, _TooLong):
            return Skip("too_long", too_long(value.bytes, source.max_record_bytes), None, number)
    try:
        decoded = {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
    except UnicodeDecodeError as error:
        return Skip("bad_encoding", f"not utf-8: {error.reason} at byte {error.start}", None, number)
    return record_from_columns(source, decoded, number)
