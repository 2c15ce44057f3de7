"""Candidates: the buckets of documents that share a band, of those documents that stand for themselves.

Memory: 4 bytes for every document and for every place in a bucket that can hold a pair.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from data_quality.dedupe.bands import Int32s, Int64s, SharedBand, band_groups, read_shared, shared_bands
from data_quality.dedupe.exact import PINNED, Workspace

Bools = npt.NDArray[np.bool_]


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


def find_buckets(workspace: Workspace, *, across_roles: bool = False) -> Buckets:
    """Group the documents that stand for themselves (`equals.rank = set_rank`) by each band.

    Args:
        across_roles: only buckets that hold both a pinned document and another.
    """
    found = workspace.sql.execute(
        f"""
        SELECT file, row, rank, role = {PINNED} AS pinned
        FROM documents SEMI JOIN (SELECT rank FROM equals WHERE rank = set_rank) USING (rank)
        """
    ).fetchnumpy()
    starts = shard_starts(workspace)
    positions = starts[np.asarray(found["file"])] + np.asarray(found["row"])
    ranks = np.full(starts[-1], -1, dtype=np.int32)
    ranks[positions] = found["rank"]
    pinned = np.zeros(starts[-1], dtype=bool)
    pinned[positions] = found["pinned"]
    members: list[Int32s] = []
    sizes: list[Int64s] = []
    for shared in bands_of(workspace):
        standing, counts = _standing(shared, ranks, pinned, across_roles)
        members.append(standing)
        sizes.append(counts)
    return _index(workspace, members, sizes)


def shard_starts(workspace: Workspace) -> Int64s:
    """The position of the first document of each signature shard, and the number of all: int64 [shards + 1]."""
    return np.cumsum([0, *(pq.read_metadata(path).num_rows for path in workspace.signatures)], dtype=np.int64)


def bands_of(workspace: Workspace) -> Iterator[SharedBand]:
    """The shared bands of all documents; found here, once, if they were not given."""
    documents = int(shard_starts(workspace)[-1])
    paths = list(workspace.shared)
    if not paths:
        groups = band_groups(documents, workspace.bands)
        paths = [workspace.directory / f"bands-{group.first}-{group.number}.parquet" for group in groups]
        missing = [(group, path) for group, path in zip(groups, paths, strict=True) if not path.exists()]
        inside = max(1, workspace.threads // max(1, len(missing)))
        with ThreadPoolExecutor(workspace.threads) as pool:
            list(pool.map(lambda each: shared_bands(workspace.signatures, each[0], each[1], inside), missing))
    return read_shared(paths, workspace.signatures, workspace.bands)


def _standing(shared: SharedBand, ranks: Int32s, pinned: Bools, across_roles: bool) -> tuple[Int32s, Int64s]:
    """Of one band: the ranks of documents in buckets that can hold a pair, bucket by bucket, and the buckets' sizes.

    `ranks` and `pinned` are by position; rank -1 is a document that does not stand for itself.
    """
    standing = ranks[shared.positions] >= 0
    positions, buckets = shared.positions[standing], shared.buckets[standing]
    if not len(positions):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
    sizes = np.diff(np.append(starts, len(buckets)))
    wanted = sizes > 1
    if across_roles:
        pins = np.add.reduceat(pinned[positions], starts, dtype=np.int64)
        wanted = (pins > 0) & (pins < sizes)
    return ranks[positions[np.repeat(wanted, sizes)]], sizes[wanted]


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
