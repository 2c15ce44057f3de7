"""Parquet files, batch by batch."""

import hashlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import ParquetSource
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
BATCH_ROWS = 256


def read(ref: FileRef, source: ParquetSource) -> Reading:
    """The rows of one file, or of some of its row groups, numbered from 1. Only the columns asked for are read."""
    number = 0
    with open_seekable(ref) if ref.range is None else open_binary(ref.uri) as raw:
        try:
            # buffer_size makes pyarrow read a column chunk page by page instead of whole.
            file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
            columns = pick_columns(source, file.schema_arrow.names)
            for group in _row_groups(ref, raw, file):
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    values = [_values(batch.column(name)) for name in columns]
                    for row in zip(*values, strict=True):
                        number += 1
                        yield _record(dict(zip(columns, row, strict=True)), number, source)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a damaged column name
            raise InputError("corrupt", f"after {number} rows: {error}") from None


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


def _values(column: pa.Array) -> list[Any]:
    # As bytes: a string that is not UTF-8 must cost its own record, not the batch.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_large_string(column.type):
        column = column.view(pa.large_binary())
    elif pa.types.is_string(column.type):
        column = column.view(pa.binary())
    return column.to_pylist()


def _record(values: dict[str, Any], number: int, source: ParquetSource) -> Any:
    text = values[source.text_column]
    if isinstance(text, bytes) and len(text) > source.max_record_bytes:
        return Skip("too_long", too_long(len(text), source.max_record_bytes), None, number)
    try:
        decoded = {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
    except UnicodeDecodeError as error:
        return Skip("bad_encoding", f"not utf-8: {error.reason} at byte {error.start}", None, number)
    return record_from_columns(source, decoded, number)
