"""Which documents share a whole band of their MinHash signatures: a table for each group of bands.

It looks at every document, whatever the rules or the keep policy think of it, so a group of bands is work of its own,
for another process or another machine. A band is a column of its own in the signature shards, read without the others.
Most values of a band occur once: a bitmap finds nearly all of these in two passes, and only the rest is sorted.
Memory: 8 bytes per document and band of the group.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.compiled import kernel
from data_quality.dedupe.signatures import band_columns
from data_quality.shards import whole_parquet

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

SCHEMA = pa.schema(
    [
        pa.field("band", pa.int32(), nullable=False),
        pa.field("bucket", pa.int32(), nullable=False),  # 0, 1, ... in each band
        pa.field("position", pa.int64(), nullable=False),  # of the document, counted through all shards in their order
    ]
)
MADE_OF = b"textmill.bands"
VALUES_AT_ONCE = 12_000_000  # band values of a group, in memory together: 96 MB in each process that has one


@dataclass(frozen=True)
class SharedBand:
    """The documents that share their value of one band with another: bucket by bucket, ascending in each."""

    band: int
    buckets: Int32s
    positions: Int64s


def band_groups(documents: int, bands: int) -> list[range]:
    """Cut the bands into groups of at most VALUES_AT_ONCE values, or one band; by the numbers alone."""
    together = max(1, min(bands, VALUES_AT_ONCE // max(1, documents)))
    return [range(first, min(first + together, bands)) for first in range(0, bands, together)]


def shared_bands(signature_paths: Sequence[Path], group: range, out_path: Path, threads: int = 1) -> dict[str, int]:
    """Write the table of a group of bands (SCHEMA), a row for each document and band that it shares with another.

    Args:
        signature_paths: shards of `signature_shard`, all of one config, in the order that positions count in.
        group: one of `band_groups`.

    Returns:
        Counts: bands, shared (rows), buckets.
    """
    columns = [band_columns(group.stop)[band] for band in group]
    sizes = [pq.read_metadata(path).num_rows for path in signature_paths]
    values = [np.empty(sum(sizes), dtype=np.uint64) for _ in group]
    start = 0
    for path, size in zip(signature_paths, sizes, strict=True):
        table = pq.read_table(path, columns=columns, use_threads=False)
        for name, target in zip(columns, values, strict=True):
            target[start : start + size] = table[name].to_numpy()
        start += size
    counts = {"bands": len(group), "shared": 0, "buckets": 0}
    made_of = json.dumps({"documents": order_of(signature_paths), "first": group.start, "stop": group.stop})
    with (
        whole_parquet(out_path, SCHEMA.with_metadata({MADE_OF: made_of.encode()})) as writer,
        ThreadPoolExecutor(threads) as pool,
    ):
        for band, (buckets, positions) in zip(group, pool.map(_buckets, values), strict=True):
            if not len(buckets):
                continue
            table = pa.table([np.full(len(buckets), band, np.int32), buckets, positions], schema=writer.schema)
            writer.write_table(table, row_group_size=len(table))
            counts["shared"] += len(buckets)
            counts["buckets"] += int(buckets[-1]) + 1
    return counts


def order_of(signature_paths: Sequence[Path]) -> str:
    """A hash of the shingle sets of all documents in their order: what positions are counted through."""
    content = hashlib.blake2b(digest_size=16)
    for path in signature_paths:
        content.update(pq.read_table(path, columns=["shingles_hash"], use_threads=False)["shingles_hash"].to_numpy())
    return content.hexdigest()


def read_shared(paths: Sequence[Path], signature_paths: Sequence[Path], bands: int) -> Iterator[SharedBand]:
    """The bands of some tables, one in memory at a time.

    Raises:
        ValueError: the tables are not those of these signatures in this order, and of all `bands`, each once.
    """
    covered: list[int] = []
    documents = order_of(signature_paths)
    for path in paths:
        made_of = json.loads((pq.read_schema(path).metadata or {}).get(MADE_OF, b"{}"))
        if made_of.get("documents") != documents:
            raise ValueError(
                f"{path} is not a table of shared bands of these signature shards in this order: run shared_bands again"
            )
        covered += range(made_of["first"], made_of["stop"])
    if sorted(covered) != list(range(bands)):
        raise ValueError(f"the tables of shared bands hold the bands {sorted(covered)}, the signatures {bands} bands")
    for path in paths:
        with pq.ParquetFile(path) as table:
            groups = (table.read_row_group(number, use_threads=False) for number in range(table.num_row_groups))
            for band, parts in groupby(groups, key=lambda rows: rows["band"][0].as_py()):
                rows = pa.concat_tables(parts)
                yield SharedBand(band, rows["bucket"].to_numpy(), rows["position"].to_numpy())


def _buckets(values: UInt64s) -> tuple[Int32s, Int64s]:
    """Of one band: bucket and position of every document whose value another has too."""
    bits = max(10, int(np.ceil(np.log2(max(1, len(values)) * 32))))
    twice = _occur_twice(values, np.uint64(64 - bits), np.zeros((2, (1 << bits) >> 6), dtype=np.uint64))
    positions = np.flatnonzero(twice)
    positions = positions[np.argsort(values[positions], kind="stable")]
    own = values[positions]
    first = np.ones(len(own), dtype=bool)
    np.not_equal(own[1:], own[:-1], out=first[1:])
    last = np.ones(len(own), dtype=bool)
    last[:-1] = first[1:]
    shared = ~(first & last)
    return np.cumsum(first[shared], dtype=np.int32) - np.int32(1), positions[shared]


@kernel
def _occur_twice(values, shift, seen):  # type: ignore[no-untyped-def]
    """Which values may occur more than once: all that do, and few others (bitmaps of the upper bits)."""
    once, twice = seen[0], seen[1]
    for value in values:
        slot = value >> shift
        word, bit = slot >> np.uint64(6), np.uint64(1) << (slot & np.uint64(63))
        if once[word] & bit:
            twice[word] |= bit
        else:
            once[word] |= bit
    found = np.empty(len(values), dtype=np.bool_)
    for i in range(len(values)):
        slot = values[i] >> shift
        found[i] = (twice[slot >> np.uint64(6)] >> (slot & np.uint64(63))) & np.uint64(1) != 0
    return found
