"""Rows of a Parquet file of strangers, read in a process of limited memory, so that no file can harm who reads it.

    python parquet.py FILE PART_BYTES MEMORY_BYTES

A few hundred bytes may say what takes gigabytes: a page of zeros, one long text a million times, a schema without end.
There Arrow fails within the limit, or that process ends and no other. It is this file, run as a program; nothing of
this package is imported, to begin fast.

It writes to standard output `{"bytes": N}` and N bytes, an Arrow stream, for each part of the rows, and `{"end":
true}`; or `{"fault": "..."}` in place of what cannot be given.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_BYTES = 2 << 30
"""Address space of the process that reads. macOS refuses any such limit."""
PART_BYTES = 64 << 20
"""Of rows that are held at once, and of one row: as of a line of text."""
BATCH_ROWS = 256
OBJECT_BYTES = 32  # of a value as Python has it, besides its text: a list of nulls has no bytes in Arrow


class ParquetFault(ValueError):
    """Why the rows that come next cannot be had."""


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a file in its order, at most PART_BYTES of them at once; first a batch without any.

    Raises ParquetFault, without the file's name: for what is no Parquet, or takes more memory than there is for it.
    """
    # -P: the modules beside it are not those of the standard library that have their names
    command = [sys.executable, "-P", __file__, os.fspath(path), str(PART_BYTES), str(MEMORY_BYTES)]
    with (
        tempfile.TemporaryFile() as errors,  # no pipe: nobody reads it before the end, and a full one stops who writes
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield from _given(process, errors)
        finally:
            process.kill()


def weight(batch: pa.RecordBatch) -> int:
    """About what a batch takes as Python's objects, in bytes."""
    return int(batch.nbytes) + OBJECT_BYTES * sum(map(_values, batch.columns))


def _given(process: "subprocess.Popen[bytes]", errors: BinaryIO) -> Iterator[pa.RecordBatch]:
    assert process.stdout is not None
    while (line := process.stdout.readline()).endswith(b"\n"):
        said = json.loads(line)
        if "end" in said:
            return
        if "fault" in said:
            raise ParquetFault(said["fault"])
        data = process.stdout.read(said["bytes"])
        if len(data) < said["bytes"]:
            break
        with pa.ipc.open_stream(data) as stream:
            yield from stream
    code = process.wait()
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 1000))
    last = (errors.read().decode(errors="replace").strip().splitlines() or [f"exit status {code}"])[-1]
    how = f"signal {-code}" if code < 0 else last
    raise ParquetFault(f"Arrow failed ({how}): it is broken, or asks for more than {MEMORY_BYTES >> 20} MiB")


# --- the program -------------------------------------------------------------------------------------------------


def main(path: str, part_bytes: int, memory: int) -> None:
    """Read a file, write standard output; see the module."""
    memory = _limited(memory)
    try:
        # With buffer_size a column is read page by page instead of whole. Not by its name, which might be an address.
        with pa.OSFile(path) as raw, pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False) as file:
            _give(
                _plain(pa.RecordBatch.from_pylist([], schema=file.schema_arrow))
            )  # the columns of a file without rows
            groups = range(file.num_row_groups)  # one by one: what can be had of a file comes before what cannot
            batches = (b for n in groups for b in file.iter_batches(BATCH_ROWS, row_groups=[n], use_threads=False))
            for part in (part for batch in batches for part in _parts(_plain(batch), part_bytes)):
                if weight(part) > part_bytes:
                    _say(fault=f"a row of about {weight(part):,} bytes; the limit is {part_bytes:,}")
                    return
                _give(part)
        _say(end=True)
    except MemoryError:  # Arrow's is one, too
        _say(fault=f"reading it takes more than {memory >> 20} MiB of memory")
    except (pa.ArrowException, OSError, ValueError) as error:
        _say(fault=str(error))


def _limited(memory: int) -> int:
    """Limit this process to so many bytes, or to fewer that it may have; how many."""
    with contextlib.suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        memory = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return memory


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
    if batch.num_rows < 2 or weight(batch) <= most:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _parts(batch.slice(0, half), most)
    yield from _parts(batch.slice(half), most)


def _values(array: pa.Array) -> int:
    """How many values there are, those in lists and structs among them."""
    if isinstance(array, pa.ExtensionArray):
        return _values(array.storage)
    if pa.types.is_struct(array.type):
        return len(array) + sum(map(_values, array.flatten()))
    if pa.types.is_map(array.type):
        first, end = (array.offsets[place].as_py() for place in (0, -1))
        return len(array) + sum(_values(part.slice(first, end - first)) for part in (array.keys, array.items))
    return len(array) + (_values(array.flatten()) if pa.types.is_nested(array.type) else 0)


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
    main(sys.argv[1], *map(int, sys.argv[2:4]))
