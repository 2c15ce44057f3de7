"""Which documents share a whole band of their MinHash signatures: a table for each group of bands.

It looks at every document, whatever the rules or the keep policy think of it, so a group is work of its own, for
another process or another machine: several bands of a small corpus, a range of the values of one band of a large one.
A band is a column of its own in the signature shards, read without the others. Most values of a band occur once: a
bitmap finds nearly all of these in two passes, and only the rest is sorted.
Memory: of a group of whole bands 8 bytes for each document and band, and some 20 for each document of a band at work;
of a range some 40 for each value in it, more where many are shared: equal values are in one range, however many.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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
        pa.field("bucket", pa.int32(), nullable=False),  # 0, 1, ... in each band of a table
        pa.field("position", pa.int64(), nullable=False),  # of the document, counted through all shards in their order
    ]
)
MADE_OF = b"textmill.bands"
VALUES_AT_ONCE = 12_000_000  # of a group of whole bands, in memory together: 96 MB in a process that has one
RANGE_VALUES = 3_000_000  # of one band, where it is cut: each has its position beside it
MOST_RANGES = 64  # of a band, whose column is read once for each: beyond 192 million documents a range grows instead


@dataclass(frozen=True)
class BandGroup:
    """What one table holds: of these bands the values in one of `ranges` ranges of equal width, all of them if 1."""

    first: int
    stop: int
    number: int = 0  # of the range, in the order of the values
    ranges: int = 1

    @property
    def bands(self) -> range:
        """The bands."""
        return range(self.first, self.stop)


@dataclass(frozen=True)
class SharedBand:
    """Documents that share their value of one band with another: bucket by bucket, ascending in each."""

    band: int
    buckets: Int32s
    positions: Int64s


def band_groups(documents: int, bands: int) -> list[BandGroup]:
    """Cut the values of all bands into what one process has in memory at a time; by the numbers alone."""
    if documents > VALUES_AT_ONCE:
        ranges = min(MOST_RANGES, -(-documents // RANGE_VALUES))
        return [BandGroup(band, band + 1, number, ranges) for band in range(bands) for number in range(ranges)]
    together = max(1, min(bands, VALUES_AT_ONCE // max(1, documents)))
    return [BandGroup(first, min(first + together, bands)) for first in range(0, bands, together)]


def shared_bands(signature_paths: Sequence[Path], group: BandGroup, out_path: Path, threads: int = 1) -> dict[str, int]:
    """Write the table of a group (SCHEMA), a row for each document and band that it shares with another.

    Args:
        signature_paths: shards of `signature_shard`, all of one config, in the order that positions count in.
        group: one of `band_groups`.

    Returns:
        Counts: bands (of several ranges the first counts it), shared (rows), buckets.
    """
    counts = {"bands": 0 if group.number else len(group.bands), "shared": 0, "buckets": 0}
    made_of = json.dumps({"documents": order_of(signature_paths), **asdict(group)})
    with (
        whole_parquet(out_path, SCHEMA.with_metadata({MADE_OF: made_of.encode()}), use_dictionary=False) as writer,
        ThreadPoolExecutor(threads) as pool,
    ):
        if group.ranges == 1:
            found = pool.map(_buckets, _whole_bands(signature_paths, group.bands))
        else:
            found = iter([_buckets_of_range(signature_paths, group)])
        for band, (buckets, positions) in zip(group.bands, found, strict=True):
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
    """What some tables hold, one group's share of one band in memory at a time; no bucket is in two of them.

    Raises:
        ValueError: the tables are not those of these signatures in this order, and of all `bands`, each once.
    """
    ranges: dict[int, list[tuple[int, int]]] = {band: [] for band in range(bands)}
    documents = order_of(signature_paths)
    for path in paths:
        made_of = json.loads((pq.read_schema(path).metadata or {}).get(MADE_OF, b"{}"))
        if made_of.pop("documents", None) != documents:
            raise ValueError(
                f"{path} is not a table of shared bands of these signature shards in this order: run shared_bands again"
            )
        group = BandGroup(**made_of)
        for band in group.bands:
            ranges.setdefault(band, []).append((group.number, group.ranges))
    held = [
        band
        for band, found in ranges.items()
        if found and sorted(found) == [(i, len(found)) for i in range(len(found))]
    ]
    if held != list(range(bands)):
        raise ValueError(
            f"the tables of shared bands hold the bands {held} once and whole, the signatures {bands} bands"
        )
    for path in paths:
        with pq.ParquetFile(path) as table:
            groups = (table.read_row_group(number, use_threads=False) for number in range(table.num_row_groups))
            for band, parts in groupby(groups, key=lambda rows: rows["band"][0].as_py()):
                rows = pa.concat_tables(parts)
                yield SharedBand(band, rows["bucket"].to_numpy(), rows["position"].to_numpy())


def _whole_bands(signature_paths: Sequence[Path], bands: range) -> list[UInt64s]:
    """The values of some bands, of each for all documents: place in the array is position."""
    sizes = [pq.read_metadata(path).num_rows for path in signature_paths]
    values = [np.empty(sum(sizes), dtype=np.uint64) for _ in bands]
    start = 0
    for path, size in zip(signature_paths, sizes, strict=True):
        table = pq.read_table(path, columns=[_column(band) for band in bands], use_threads=False)
        for column, target in zip(table.columns, values, strict=True):
            target[start : start + size] = column.to_numpy()
        start += size
    return values


def _buckets_of_range(signature_paths: Sequence[Path], group: BandGroup) -> tuple[Int32s, Int64s]:
    """Of one range of the values of one band: as `_buckets`."""
    lowest, end = ((number << 64) // group.ranges for number in (group.number, group.number + 1))
    values, positions = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    start = 0
    for path in signature_paths:
        [column] = pq.read_table(path, columns=[_column(group.first)], use_threads=False).columns
        own = column.to_numpy()
        inside = np.flatnonzero((own >= np.uint64(lowest)) & (own <= np.uint64(end - 1)))
        values.append(own[inside] - np.uint64(lowest))
        positions.append(inside + start)
        start += len(own)
    buckets, places = _buckets(np.concatenate(values), end - lowest)
    return buckets, np.concatenate(positions)[places]


def _column(band: int) -> str:
    """The column of signature shards that holds a band."""
    return band_columns(band + 1)[band]


def _buckets(values: UInt64s, width: int = 1 << 64) -> tuple[Int32s, Int64s]:
    """Of the values of one band, each below `width`: bucket and place of every one that occurs again."""
    bits = max(10, int(np.ceil(np.log2(max(1, len(values)) * 32))))
    shift = max(0, (width - 1).bit_length() - bits)
    seen = np.zeros((2, ((width - 1 >> shift) >> 6) + 1), dtype=np.uint64)
    places = np.flatnonzero(_occur_twice(values, np.uint64(shift), seen))
    places = places[np.argsort(values[places], kind="stable")]
    own = values[places]
    first = np.ones(len(own), dtype=bool)
    np.not_equal(own[1:], own[:-1], out=first[1:])
    last = np.ones(len(own), dtype=bool)
    last[:-1] = first[1:]
    shared = ~(first & last)
    return np.cumsum(first[shared], dtype=np.int32) - np.int32(1), places[shared]


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
