"""Rows of some row groups of a Parquet file; run as a program of its own, so that no file can harm who reads it.

    python parquet_limited.py URI FIRST END ROWS BATCH_BYTES MEMORY_BYTES COLUMN... < file.parquet

Some pages say in a few bytes what takes gigabytes. Here they do so within a limit of memory, where Arrow fails or this
process ends and no other. The file is standard input, or what is at URI if that is not empty.

Written to standard output: `{"bytes": N}` and N bytes, an Arrow stream, for each batch, and `{"end": true}`; or
`{"reason", "detail"}` in place of what cannot be given. Nothing of this package is imported, to begin fast.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def main(uri: str, limits: list[int], columns: list[str]) -> None:
    """Read a file, write standard output; see the module."""
    first, end, rows, batch_bytes, memory = limits
    memory = _limited(memory)
    try:
        with _opened(uri) as raw:
            file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
            groups = range(first, end)  # one by one: across them Arrow does not read codes in lists
            batches = (b for n in groups for b in file.iter_batches(rows, [n], columns=columns, use_threads=False))
            for part in (part for batch in batches for part in _parts(_plain(batch), batch_bytes)):
                if part.nbytes > batch_bytes:
                    _say(reason="too_long", detail=f"a row of {part.nbytes} bytes; the limit is {batch_bytes}")
                    return
                _give(part)
        _say(end=True)
    except MemoryError:  # Arrow's is one, too
        _say(reason="too_long", detail=f"reading it takes more than {memory >> 20} MiB")
    except (pa.ArrowException, OSError, ValueError) as error:
        _say(reason="corrupt", detail=str(error))


def _limited(memory: int) -> int:
    """Limit this process to so many bytes, or to fewer that it may have; how many. macOS refuses any such limit."""
    with contextlib.suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        memory = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return memory


def _opened(uri: str) -> Any:
    if not uri:
        return _Input()
    import fsspec

    return fsspec.open(uri, "rb").open()


class _Input(io.RawIOBase):
    """Standard input, a file, read from a place of its own: the process that opened it shares the other."""

    def __init__(self) -> None:
        self._at, self._size = 0, os.fstat(0).st_size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = os.pread(0, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with values in place of codes, in lists, too: else each part would have all the categories that there
    are, and a long text that comes a thousand times would count once."""
    columns = [each.cast(_without_codes(each.type)) for each in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _without_codes(type: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type):
        return type.value_type
    if pa.types.is_struct(type):
        return pa.struct([each.with_type(_without_codes(each.type)) for each in type])
    if pa.types.is_map(type):
        return pa.map_(*(each.with_type(_without_codes(each.type)) for each in (type.key_field, type.item_field)))
    if pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type):
        value = type.value_field.with_type(_without_codes(type.value_type))
        if pa.types.is_fixed_size_list(type):
            return pa.list_(value, type.list_size)
        return pa.large_list(value) if pa.types.is_large_list(type) else pa.list_(value)
    return type


def _parts(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """The batch in parts of at most so many bytes, or of one row."""
    if batch.num_rows < 2 or batch.nbytes <= most:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _parts(batch.slice(0, half), most)
    yield from _parts(batch.slice(half), most)


def _give(batch: pa.RecordBatch) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    data = sink.getvalue()
    _say(bytes=data.size)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _say(**values: Any) -> None:
    sys.stdout.buffer.write(json.dumps(values).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], list(map(int, sys.argv[2:7])), sys.argv[7:])
