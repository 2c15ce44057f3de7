"""Parquet files of a few hundred bytes that say gigabytes: a long text is in them once and comes many times."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def one_text_again_and_again(path: Path, rows: int = 2_000, size: int = 1 << 20) -> Path:
    """In the dictionary it is once, and packs to nothing."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * size])
    pq.write_table(pa.table({"text": texts}).replace_schema_metadata(), path, compression="zstd")
    return path


def one_text_in_lists(path: Path, rows: int, in_each: int, size: int) -> Path:
    """Rows of lists of it; Arrow's own schema says that they are codes."""
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows * in_each, np.int32)), ["x" * size])
    lists = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * in_each, pa.int32()), codes)
    pq.write_table(pa.table({"tags": lists}), path, compression="zstd")
    return path
