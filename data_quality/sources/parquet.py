"""Parquet files, batch by batch."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import ParquetSource
from data_quality.sources.base import FileRef, InputError, Reading, Skip, pick_columns, record_from_columns
from data_quality.sources.streams import open_seekable, too_long

EXTENSIONS = (".parquet",)
BATCH_ROWS = 256


def read(ref: FileRef, source: ParquetSource) -> Reading:
    """The rows of one file, numbered from 1. Only the columns asked for are read."""
    number = 0
    with open_seekable(ref) as raw:
        try:
            # buffer_size makes pyarrow read a column chunk page by page instead of whole.
            file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
            columns = pick_columns(source, file.schema_arrow.names)
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    values = [_values(batch.column(name)) for name in columns]
                    for row in zip(*values, strict=True):
                        number += 1
                        yield _record(dict(zip(columns, row, strict=True)), number, source)
        except (pa.ArrowException, OSError) as error:
            raise InputError("corrupt", f"after {number} rows: {error}") from None


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
