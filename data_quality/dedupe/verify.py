"""Verification: true Jaccard similarity on stored shingle hashes, greedily, against kept documents only.

Documents are taken in rank order. Each is compared with the documents *kept so far* that share a bucket with it, and is
dropped only if its own similarity to one of them reaches the threshold. A chain A~B~C cannot remove C on B's account:
B is gone, and C is compared with A.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.dedupe.candidates import Buckets, Int32s, Int64s
from data_quality.dedupe.compiled import kernel
from data_quality.dedupe.exact import COMPARED, PINNED, Workspace

_CHUNK = 16_384  # documents between two looks at progress and should_stop

UInt64s = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Twins:
    """The best kept twin of every candidate: twins[C] (index of a candidate, -1 for none), jaccards[C], and counts."""

    twins: Int32s
    jaccards: npt.NDArray[np.float64]
    compared: int
    bounded: int


@kernel
def jaccard(left: UInt64s, right: UInt64s, threshold: float) -> float:
    """|left and right| / |left or right| of two sorted arrays of distinct values; -1.0 where below `threshold`."""
    total = len(left) + len(right)
    # shared >= threshold * (total - shared): so many elements of a side may be left over (one more for rounding)
    needed = int(np.floor(threshold * total / (1.0 + threshold))) - 1
    spare_left = len(left) - needed
    spare_right = len(right) - needed
    shared = 0
    i = 0
    j = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            shared += 1
            i += 1
            j += 1
        elif left[i] < right[j]:
            i += 1
            spare_left -= 1
            if spare_left < 0:
                return -1.0
        else:
            j += 1
            spare_right -= 1
            if spare_right < 0:
                return -1.0
    similarity = shared / (total - shared)
    return similarity if similarity >= threshold else -1.0


@kernel
def _smallest_first(buckets, fill):  # type: ignore[no-untyped-def]
    """Sort bucket numbers by how many kept members they have (insertion sort; ties stay in band order)."""
    for i in range(1, len(buckets)):
        bucket = buckets[i]
        j = i
        while j > 0 and fill[buckets[j - 1]] > fill[bucket]:
            buckets[j] = buckets[j - 1]
            j -= 1
        buckets[j] = bucket


@kernel
def _match(  # type: ignore[no-untyped-def]
    first, last, roles, document_offsets, document_buckets, bucket_offsets, shingle_offsets, shingles,
    threshold, max_comparisons, members, fill, seen, twins, jaccards, counts,
):  # fmt: skip
    """Match documents first..last-1; `members`, `fill` (kept members per bucket) and `seen` go on between calls."""
    for d in range(first, last):
        mine = document_buckets[document_offsets[d] : document_offsets[d + 1]].copy()
        best = -1
        best_jaccard = threshold
        if roles[d] != PINNED:
            _smallest_first(mine, fill)
            own = shingles[shingle_offsets[d] : shingle_offsets[d + 1]]
            looked_at = 0
            full = False
            for bucket in mine:
                start = bucket_offsets[bucket]
                for place in range(start, start + fill[bucket]):
                    other = members[place]
                    if seen[other] == d:
                        continue
                    if looked_at == max_comparisons:
                        full = True
                        break
                    seen[other] = d
                    looked_at += 1
                    theirs = shingles[shingle_offsets[other] : shingle_offsets[other + 1]]
                    shorter, longer = min(len(own), len(theirs)), max(len(own), len(theirs))
                    if shorter < best_jaccard * longer:
                        continue
                    counts[0] += 1
                    similarity = jaccard(own, theirs, best_jaccard)
                    if similarity > best_jaccard or (similarity == best_jaccard and (best < 0 or other < best)):
                        best = other
                        best_jaccard = similarity
                if full:
                    counts[1] += 1
                    break
        twins[d] = best
        jaccards[d] = best_jaccard if best >= 0 else np.nan
        if best < 0 and roles[d] != COMPARED:
            for bucket in mine:
                members[bucket_offsets[bucket] + fill[bucket]] = d
                fill[bucket] += 1


def match_in_order(
    buckets: Buckets,
    shingle_offsets: Int64s,
    shingles: UInt64s,
    *,
    threshold: float,
    max_comparisons: int,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Twins:
    """Find the best kept twin (Jaccard >= threshold; ties to the lowest rank) of each candidate, in rank order.

    At most `max_comparisons` kept documents are looked at per document, those in buckets with the fewest kept members
    first, then by band, then by rank; `Twins.bounded` counts documents for which some were left. Cost is linear in the
    number of candidates.

    Raises:
        InterruptedError: `should_stop` said so.
    """
    total = len(buckets.ranks)
    members = np.empty(int(buckets.bucket_offsets[-1]), dtype=np.int32)
    fill = np.zeros(len(buckets.bucket_offsets) - 1, dtype=np.int32)
    seen = np.full(total, -1, dtype=np.int32)
    twins = np.empty(total, dtype=np.int32)
    jaccards = np.empty(total, dtype=np.float64)
    counts = np.zeros(2, dtype=np.int64)
    for first in range(0, total, _CHUNK):
        if should_stop():
            raise InterruptedError(f"stopped after {first} of {total} candidate documents; nothing was written")
        last = min(first + _CHUNK, total)
        _match(
            first, last, buckets.roles, buckets.document_offsets, buckets.document_buckets, buckets.bucket_offsets,
            shingle_offsets, shingles, threshold, max_comparisons, members, fill, seen, twins, jaccards, counts,
        )  # fmt: skip
        progress(last - first)
    return Twins(twins, jaccards, int(counts[0]), int(counts[1]))


def load_shingles(workspace: Workspace, ranks: Int32s) -> tuple[Int64s, UInt64s]:
    """The shingles of the documents `ranks` (ascending), laid out in that order in a memory-mapped temporary file.

    Returns:
        (offsets, shingles): document i has shingles[offsets[i]:offsets[i+1]]. The system's page cache holds what is
        in use, so that memory does not grow with the corpus.
    """
    workspace.sql.register("wanted", pa.table({"rank": ranks, "place": np.arange(len(ranks), dtype=np.int64)}))
    rows = workspace.sql.execute(
        "SELECT place, file, row, shingle_count FROM wanted JOIN documents USING (rank) ORDER BY file, row"
    ).fetchnumpy()
    workspace.sql.unregister("wanted")
    places = np.asarray(rows["place"], dtype=np.int64)
    sizes = np.empty(len(ranks), dtype=np.int64)
    sizes[places] = rows["shingle_count"]
    offsets = np.zeros(len(ranks) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    if not len(ranks):
        return offsets, np.empty(0, dtype=np.uint64)
    path = workspace.directory / "shingles.bin"
    mapped = np.memmap(path, dtype=np.uint64, mode="w+", shape=(int(offsets[-1]),))
    path.unlink()  # the mapping keeps the file until the array goes
    shingles = mapped.view(np.ndarray)
    files, file_rows = np.asarray(rows["file"]), np.asarray(rows["row"], dtype=np.int64)
    for number, path in enumerate(workspace.signatures):
        begin, stop = np.searchsorted(files, [number, number + 1])
        if begin < stop:
            _copy_shard(path, file_rows[begin:stop], places[begin:stop], offsets, shingles)
    return offsets, shingles


def _copy_shard(path: Path, rows: Int64s, places: Int64s, offsets: Int64s, shingles: UInt64s) -> None:
    with pq.ParquetFile(path) as shard:
        group_start = 0
        for group in range(shard.num_row_groups):
            group_rows = shard.metadata.row_group(group).num_rows
            begin, stop = np.searchsorted(rows, [group_start, group_start + group_rows])
            if begin < stop:
                lists = shard.read_row_group(group, columns=["shingles"])["shingles"].combine_chunks()
                _scatter(
                    lists.values.to_numpy(),
                    lists.offsets.to_numpy(),
                    rows[begin:stop] - group_start,
                    places[begin:stop],
                    offsets,
                    shingles,
                )
            group_start += group_rows


@kernel
def _scatter(values, starts, rows, places, offsets, shingles):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        source = starts[rows[i]]
        target = offsets[places[i]]
        for k in range(starts[rows[i] + 1] - source):
            shingles[target + k] = values[source + k]
