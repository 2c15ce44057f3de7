"""Candidates: the buckets of documents that share a whole band of their MinHash signatures.

A band is a column of its own in the signature shards, read without the others. Most values of a band occur once: a
bitmap finds nearly all of these in two passes, and only the rest is sorted. Memory: 8 bytes per document and band read
at once, and 4 bytes for every place in a bucket that can hold a pair.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from data_quality.compiled import kernel
from data_quality.dedupe.exact import PINNED, Workspace
from data_quality.dedupe.signatures import band_columns

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_VALUES_AT_ONCE = 24_000_000  # band values in memory together: 192 MB


@dataclass(frozen=True)
class Buckets:
    """C candidate documents in rank order and the B buckets they are in, both ways round.

    ranks[C] ascending · roles[C] · document i is in the buckets
    document_buckets[document_offsets[i]:document_offsets[i+1]], in band order · bucket j has room for
    bucket_offsets[j+1] - bucket_offsets[j] members.
    """

    ranks: Int32s
    roles: npt.NDArray[np.int8]
    document_offsets: Int64s
    document_buckets: Int32s
    bucket_offsets: Int64s


@dataclass(frozen=True)
class Rows:
    """Documents in the order of the shards: row `rows[i]` of shard `files[i]`, of rank `ranks[i]`."""

    files: Int32s
    rows: Int64s
    ranks: Int32s
    pinned: Bools


def find_buckets(workspace: Workspace, *, across_roles: bool = False) -> Buckets:
    """Group the documents that stand for themselves (`equals.rank = set_rank`) by each band.

    Args:
        across_roles: only buckets that hold both a pinned document and another.
    """
    found = workspace.sql.execute(
        f"""
        SELECT file, row, rank, role = {PINNED} AS pinned
        FROM documents SEMI JOIN (SELECT rank FROM equals WHERE rank = set_rank) USING (rank) ORDER BY file, row
        """
    ).fetchnumpy()
    documents = Rows(*(np.asarray(found[name]) for name in ("file", "row", "rank", "pinned")))
    shared = partial(_shared, documents=documents, across_roles=across_roles)
    members: list[Int32s] = []
    sizes: list[Int64s] = []
    with ThreadPoolExecutor(workspace.threads) as pool:
        for bands in bands_together(workspace, documents):
            for ranks, counts in pool.map(shared, bands):
                members.append(ranks)
                sizes.append(counts)
    return _index(workspace, members, sizes)


def bands_together(workspace: Workspace, documents: Rows) -> Iterator[list[UInt64s]]:
    """The values of every band, as many bands at once as memory allows, in the order of `documents`."""
    names = band_columns(workspace.bands)
    together = max(1, min(len(names), _VALUES_AT_ONCE // max(1, len(documents.rows))))
    cuts = np.searchsorted(documents.files, np.arange(len(workspace.signatures) + 1))
    for first in range(0, len(names), together):
        columns = names[first : first + together]
        values = [np.empty(len(documents.rows), dtype=np.uint64) for _ in columns]
        for path, begin, stop in zip(workspace.signatures, cuts[:-1], cuts[1:], strict=True):
            if begin < stop:
                _read_bands(path, columns, documents.rows[begin:stop], [v[begin:stop] for v in values])
        yield values


def _read_bands(path: Path, columns: list[str], rows: Int64s, out: list[UInt64s]) -> None:
    """Write the values of `rows` (ascending) of each column to `out`; row groups without any are not read."""
    with pq.ParquetFile(path) as shard:
        sizes = [shard.metadata.row_group(group).num_rows for group in range(shard.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        cuts = np.searchsorted(rows, starts)
        wanted = np.flatnonzero(np.diff(cuts)).tolist()
        table = shard.read_row_groups(wanted, columns=columns, use_threads=False)
        skipped = (
            np.cumsum([0, *np.diff(starts)])[:-1]
            - np.concatenate([[0], np.cumsum(np.where(np.diff(cuts) > 0, np.diff(starts), 0))])[:-1]
        )
        places = rows - np.repeat(skipped, np.diff(cuts))
        for name, target in zip(columns, out, strict=True):
            target[:] = table[name].to_numpy()[places]


def _shared(values: UInt64s, documents: Rows, across_roles: bool) -> tuple[Int32s, Int64s]:
    """Of one band: the ranks of documents in buckets that can hold a pair, bucket by bucket, and the buckets' sizes."""
    bits = max(10, int(np.ceil(np.log2(max(1, len(values)) * 32))))
    twice = _occur_twice(values, np.uint64(64 - bits), np.zeros((2, (1 << bits) >> 6), dtype=np.uint64))
    rows = np.flatnonzero(twice)
    rows = rows[np.argsort(values[rows])]
    if not len(rows):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
    own = values[rows]
    starts = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    sizes = np.diff(np.append(starts, len(own)))
    wanted = sizes > 1
    if across_roles:
        pins = np.add.reduceat(documents.pinned[rows], starts, dtype=np.int64)
        wanted = (pins > 0) & (pins < sizes)
    return documents.ranks[rows[np.repeat(wanted, sizes)]], sizes[wanted]


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


def _index(workspace: Workspace, members: list[Int32s], sizes: list[Int64s]) -> Buckets:
    """Both ways round, one band at a time; empties `members`."""
    special = workspace.sql.execute("SELECT rank, role FROM documents WHERE role != 0 ORDER BY rank").fetchnumpy()
    [total] = workspace.sql.execute("SELECT coalesce(max(rank) + 1, 0) FROM documents").fetchall()[0]
    entries = np.zeros(total, dtype=np.int32)
    for ranks in members:
        entries[ranks] += 1  # a document is in one bucket of a band at most
    candidates = np.flatnonzero(entries).astype(np.int32)
    roles = np.zeros(total, dtype=np.int8)
    roles[special["rank"]] = special["role"]
    document_offsets = np.zeros(len(candidates) + 1, dtype=np.int64)
    np.cumsum(entries[candidates], out=document_offsets[1:])
    fill = np.zeros(total, dtype=np.int64)
    fill[candidates] = document_offsets[:-1]
    document_buckets = np.empty(int(document_offsets[-1]), dtype=np.int32)
    first = 0
    for counts in sizes:
        ranks = members.pop(0)
        document_buckets[fill[ranks]] = np.repeat(np.arange(first, first + len(counts), dtype=np.int32), counts)
        fill[ranks] += 1
        first += len(counts)
    bucket_offsets = np.zeros(first + 1, dtype=np.int64)
    np.cumsum(np.concatenate([np.empty(0, dtype=np.int64), *sizes]), out=bucket_offsets[1:])
    return Buckets(candidates, roles[candidates], document_offsets, document_buckets, bucket_offsets)
