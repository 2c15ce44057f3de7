"""Columns of Parquet files as they lie there, compressed: compared, and moved beside other values of a few columns.

pyarrow can only write a file anew, which compresses every text again. A Parquet file is a row of column chunks, each
readable by itself, and a footer that says where each begins (Apache Parquet's `parquet.thrift`); so a chunk can move.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.shards import whole_file
from data_quality.thrift import Struct, Wanted, decode, encode

MAGIC = b"PAR1"
VERSION, SCHEMA, ROW_GROUPS, CREATED_BY = 1, 2, 4, 6  # of FileMetaData
COLUMNS, BYTES, ROWS, GROUP_OFFSET, COMPRESSED_BYTES = 1, 2, 3, 5, 6  # of RowGroup
FILE_OFFSET, DESCRIPTION = 2, 3  # of ColumnChunk
PATH, CODEC, CHUNK_BYTES, CHUNK_COMPRESSED, DATA_PAGE, DICTIONARY_PAGE, BLOOM = 3, 4, 6, 7, 9, 11, 14  # ColumnMetaData

CHUNK: Wanted = {DESCRIPTION: dict.fromkeys((CHUNK_BYTES, CHUNK_COMPRESSED, DATA_PAGE, DICTIONARY_PAGE))}
GROUP: Wanted = {COLUMNS: CHUNK, **dict.fromkeys((BYTES, GROUP_OFFSET, COMPRESSED_BYTES))}
FOOTER: Wanted = {SCHEMA: {}, ROW_GROUPS: GROUP}


class OtherWriter(ValueError):
    """A file that cannot be gone on from: another library wrote it, or it has what points into it from elsewhere."""


def replace_columns(earlier: Path, columns: pa.Table, path: Path, row_group: int) -> None:
    """Write `earlier` with other values in some of its columns: byte for byte what pyarrow would write of all.

    Args:
        earlier: a file that this version of pyarrow wrote, compressed with zstd, in row groups of `row_group` rows.
        columns: new values of columns that it has, in its order of rows.
        path: out, whole or not at all.

    Raises:
        OtherWriter: the file was not written so, or has other rows.
        ValueError: it has no such columns, or of other types.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(columns.combine_chunks(), sink, row_group_size=row_group, compression="zstd")
    replacing = memoryview(sink.getvalue()).cast("B")
    with earlier.open("rb") as file:
        old = memoryview(file.read())
    footer, other = _footer(old), _footer(replacing)
    if any(footer[field] != other[field] for field in (VERSION, CREATED_BY)):
        raise OtherWriter(f"{earlier} was not written by this version of pyarrow")
    if [group[ROWS] for group in footer[ROW_GROUPS]] != [group[ROWS] for group in other[ROW_GROUPS]]:
        raise OtherWriter(f"{earlier} does not have {len(columns):,} rows in groups of {row_group:,}")
    if any(field not in footer[SCHEMA] for field in other[SCHEMA][1:]):  # the first is the row
        raise ValueError(f"{earlier}: no columns {columns.schema.to_string()}")
    with whole_file(path) as partial, partial.open("wb") as out:
        out.write(MAGIC)
        for group, its_replacing in zip(footer[ROW_GROUPS], other[ROW_GROUPS], strict=True):
            new = {chunk[DESCRIPTION][PATH]: chunk for chunk in its_replacing[COLUMNS]}
            group[GROUP_OFFSET] = out.tell()
            for number, chunk in enumerate(group[COLUMNS]):
                replaced = new.get(chunk[DESCRIPTION][PATH])
                source, taken = (old, chunk) if replaced is None else (replacing, replaced)
                if taken[DESCRIPTION][CODEC] != chunk[DESCRIPTION][CODEC]:
                    raise OtherWriter(f"{earlier} is not compressed with zstd")
                out.write(_moved(taken, source, out.tell(), earlier))
                group[COLUMNS][number] = taken
            described = [chunk[DESCRIPTION] for chunk in group[COLUMNS]]
            group[BYTES] = sum(one[CHUNK_BYTES] for one in described)
            group[COMPRESSED_BYTES] = sum(one[CHUNK_COMPRESSED] for one in described)
        written = encode(footer)
        out.write(written + len(written).to_bytes(4, "little") + MAGIC)


def equal_columns(one: Path, other: Path, names: Sequence[str]) -> bool:
    """Whether some columns lie in two Parquet files as the same bytes: then they hold the same rows in the same order.

    False says nothing, for the same rows can be written in many ways.
    """
    return _as_they_lie(one, names) == _as_they_lie(other, names)


def _as_they_lie(path: Path, names: Sequence[str]) -> tuple[pa.Schema, list[bytes]]:
    """The types of some columns, and the bytes of each of their chunks."""
    file = path.read_bytes()
    parquet = pq.ParquetFile(pa.BufferReader(file))
    chunks = []
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.partition(".")[0] in names:
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                chunks.append(file[start : start + chunk.total_compressed_size])
    return pa.schema([parquet.schema_arrow.field(name) for name in names]), chunks


def _footer(file: memoryview) -> Struct:
    """The FileMetaData of a Parquet file."""
    end = len(file) - 8
    return decode(bytes(file[end - int.from_bytes(file[end : end + 4], "little") : end]), FOOTER)


def _moved(chunk: Struct, file: memoryview, place: int, earlier: Path) -> memoryview:
    """The bytes of a column chunk; its description then says that it begins at `place`. `earlier` is for the error."""
    described = chunk[DESCRIPTION]
    if not chunk.keys() <= {FILE_OFFSET, DESCRIPTION} or BLOOM in described:
        raise OtherWriter(f"{earlier} has an index of its pages or values")
    start = described.get(DICTIONARY_PAGE) or described[DATA_PAGE]
    for field in (DATA_PAGE, DICTIONARY_PAGE):
        if described.get(field):
            described[field] += place - start
    return file[start : start + described[CHUNK_COMPRESSED]]
