"""How a step walks a shard: documents in batches out of one Parquet file, and another that is whole or not there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.damaged import DamagedFile, reading

BATCH_ROWS = 2_000
"""Rows read at once, and of a row group of documents and of tables as long as their text."""


def read_batches(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """A documents shard in batches of BATCH_ROWS rows: `columns`, then those of `optional` that it has.

    Raises:
        DamagedFile: the shard cannot be read, or lacks one of `columns`.
    """
    with ExitStack() as open_file:
        with reading(path):
            shard = open_file.enter_context(pq.ParquetFile(path))
        present = set(shard.schema_arrow.names)
        missing = [name for name in columns if name not in present]
        if missing:
            raise DamagedFile(f"{path}: no column {' and '.join(missing)}; this is not a documents shard")
        wanted = [*columns, *(name for name in optional if name in present)]
        batches = shard.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
        while True:
            with reading(path):  # not around the `yield`: what the caller raises is the caller's
                batch = next(batches, None)
                if batch is not None:
                    batch.validate(full=True)  # text that is no UTF-8 would fail where it is first looked at
            if batch is None:
                return
            yield batch.select(wanted)


@contextmanager
def whole_parquet(out_path: Path, schema: pa.Schema, **options: Any) -> Iterator[pq.ParquetWriter]:
    """A writer to `out_path`, which appears when the block ends well; what was written is removed when it does not.

    Args:
        options: of `pq.ParquetWriter`; columns are compressed with zstd unless they say otherwise.
    """
    with (
        whole_file(out_path) as partial,
        pq.ParquetWriter(partial, schema, **{"compression": "zstd", **options}) as writer,
    ):
        yield writer


@contextmanager
def whole_file(out_path: Path) -> Iterator[Path]:
    """Where to write what is to be `out_path` when the block ends well, and is removed when it does not."""
    partial = Path(out_path).with_name(f"{Path(out_path).name}.tmp")
    try:
        yield partial
        os.replace(partial, out_path)
    finally:
        partial.unlink(missing_ok=True)
