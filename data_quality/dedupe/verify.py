"""Verification: true Jaccard similarity on stored shingle hashes, greedily, against kept documents only.

Documents are taken in rank order. Each is compared with the documents *kept so far* that share a bucket with it, and is
dropped only if its own similarity to one of them reaches the threshold. A chain A~B~C cannot remove C on B's account:
B is gone, and C is compared with A.
"""

import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.compiled import kernel
from data_quality.dedupe.bands import Int32s, Int64s
from data_quality.dedupe.candidates import Bools, Buckets
from data_quality.dedupe.exact import COMPARED, PINNED, Workspace

_CHUNK = 16_384  # documents between two looks at progress and should_stop
_STORED_NEGATIVES = 16  # pairs below the threshold that are remembered per document; more are compared again

UInt64s = npt.NDArray[np.uint64]
Float64s = npt.NDArray[np.float64]
PairSink = Callable[[Int32s, Int32s, Float64s], None]


@dataclass(frozen=True)
class Shingles:
    """Shingles of C candidates: document i has values[offsets[i]:offsets[i+1]] if loaded[i]; counts[i] is known anyway.

    `release` lets go of pages of the memory-mapped file that were read; they come back from the system's cache.
    """

    counts: Int32s
    loaded: Bools
    offsets: Int64s
    values: UInt64s
    release: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class KnownPairs:
    """Verified pairs of candidates in an open-addressing table: keys (low << 32 | high index), Jaccard or -1.0."""

    keys: UInt64s = field(default_factory=lambda: np.full(1, _NO_KEY, dtype=np.uint64))
    jaccards: Float64s = field(default_factory=lambda: np.zeros(1, dtype=np.float64))


@dataclass(frozen=True)
class Twins:
    """The best kept twin of every candidate, and what it took to find it.

    twins[C] (index of a candidate, -1 for none), jaccards[C], compared[C] (pairs verified), bounded[C] (whether
    comparisons were left out), missing[C] (documents of unknown pairs whose shingles are not loaded).
    """

    twins: Int32s
    jaccards: Float64s
    compared: Int32s
    bounded: Bools
    missing: Bools


_NO_KEY = 0xFFFFFFFFFFFFFFFF


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
def _slot(keys, key):  # type: ignore[no-untyped-def]
    """Where a key is, or would be put, in an open-addressing table of a power of two of places."""
    mask = np.uint64(len(keys) - 1)
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while keys[slot] != key and keys[slot] != np.uint64(0xFFFFFFFFFFFFFFFF):
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def _pair_key(left, right):  # type: ignore[no-untyped-def]
    return np.uint64(min(left, right)) << np.uint64(32) | np.uint64(max(left, right))


@kernel
def _fill_pairs(left, right, similarities, keys, jaccards):  # type: ignore[no-untyped-def]
    for i in range(len(left)):
        key = _pair_key(left[i], right[i])
        slot = _slot(keys, key)
        keys[slot] = key
        jaccards[slot] = similarities[i]


def known_pairs(left: Int32s, right: Int32s, jaccards: Float64s) -> KnownPairs:
    """A table of verified pairs of candidate indices; -1.0 stands for below the threshold."""
    places = 1 << int(2 * len(left) + 1).bit_length()
    known = KnownPairs(np.full(places, _NO_KEY, dtype=np.uint64), np.zeros(places, dtype=np.float64))
    _fill_pairs(left, right, jaccards, known.keys, known.jaccards)
    return known


@kernel
def _match(  # type: ignore[no-untyped-def]
    first, last, roles, document_offsets, document_buckets, bucket_offsets, counts, loaded, offsets, shingles,
    keys, known, threshold, max_comparisons, stored, members, fill, seen, twins, jaccards, compared, bounded, missing,
    pair_left, pair_right, pair_jaccards,
):  # fmt: skip
    """Match documents first..last-1; `members`, `fill` (kept members per bucket) and `seen` go on between calls.

    Returns the document to go on with (the pair buffers may be full before `last`) and how many pairs were written.
    """
    pairs = 0
    for d in range(first, last):
        if stored >= 0 and pairs + max_comparisons > len(pair_left):
            return d, pairs
        mine = document_buckets[document_offsets[d] : document_offsets[d + 1]].copy()
        best = -1
        best_jaccard = threshold
        if roles[d] != PINNED:
            _smallest_first(mine, fill)
            own = shingles[offsets[d] : offsets[d + 1]]
            looked_at = 0
            negatives = 0
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
                    if min(counts[d], counts[other]) < threshold * max(counts[d], counts[other]):
                        continue
                    compared[d] += 1
                    key = _pair_key(d, other)
                    slot = _slot(keys, key)
                    if keys[slot] == key:
                        similarity = known[slot]
                    elif loaded[d] and loaded[other]:
                        similarity = jaccard(own, shingles[offsets[other] : offsets[other + 1]], threshold)
                    else:
                        missing[d] = True
                        missing[other] = True
                        similarity = -1.0
                    if similarity < 0.0:
                        negatives += 1
                    if stored >= 0 and (similarity >= 0.0 or negatives <= stored):
                        pair_left[pairs] = d
                        pair_right[pairs] = other
                        pair_jaccards[pairs] = similarity
                        pairs += 1
                    if similarity > best_jaccard or (similarity == best_jaccard and (best < 0 or other < best)):
                        best = other
                        best_jaccard = similarity
                if full:
                    bounded[d] = True
                    break
        twins[d] = best
        jaccards[d] = best_jaccard if best >= 0 else np.nan
        if best < 0 and roles[d] != COMPARED:
            for bucket in mine:
                members[bucket_offsets[bucket] + fill[bucket]] = d
                fill[bucket] += 1
    return last, pairs


def match_in_order(
    buckets: Buckets,
    shingles: Shingles,
    *,
    threshold: float,
    max_comparisons: int,
    known: KnownPairs | None = None,
    store_pairs: PairSink | None = None,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Twins:
    """Find the best kept twin (Jaccard >= threshold; ties to the lowest rank) of each candidate, in rank order.

    At most `max_comparisons` kept documents are looked at per document, those in buckets with the fewest kept members
    first, then by band, then by rank; `Twins.bounded` marks documents for which some were left. Cost is linear in the
    number of candidates.

    Args:
        known: pairs verified before. A pair that is neither known nor has its shingles loaded counts as below the
            threshold, and its documents as `missing`.
        store_pairs: told (left, right, jaccard or -1.0) of the verified pairs, candidate indices: all that reach the
            threshold, and the first `_STORED_NEGATIVES` of a document that do not.

    Raises:
        InterruptedError: `should_stop` said so.
    """
    total = len(buckets.ranks)
    known = known or KnownPairs()
    members = np.empty(int(buckets.bucket_offsets[-1]), dtype=np.int32)
    fill = np.zeros(len(buckets.bucket_offsets) - 1, dtype=np.int32)
    seen = np.full(total, -1, dtype=np.int32)
    found = Twins(
        np.empty(total, dtype=np.int32),
        np.empty(total, dtype=np.float64),
        np.zeros(total, dtype=np.int32),
        np.zeros(total, dtype=bool),
        np.zeros(total, dtype=bool),
    )
    stored = -1 if store_pairs is None else _STORED_NEGATIVES
    room = 0 if store_pairs is None else max(1 << 18, max_comparisons)
    left, right, similarities = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float64)
    first = 0
    while first < total:
        if should_stop():
            raise InterruptedError(f"stopped after {first} of {total} candidate documents; nothing was written")
        done, pairs = _match(
            first, min(first + _CHUNK, total), buckets.roles, buckets.document_offsets, buckets.document_buckets,
            buckets.bucket_offsets, shingles.counts, shingles.loaded, shingles.offsets, shingles.values,
            known.keys, known.jaccards, threshold, max_comparisons, stored, members, fill, seen,
            found.twins, found.jaccards, found.compared, found.bounded, found.missing, left, right, similarities,
        )  # fmt: skip
        shingles.release()
        if store_pairs is not None and pairs:
            store_pairs(left[:pairs], right[:pairs], similarities[:pairs])
        progress(done - first)
        first = done
    return found


def load_shingles(workspace: Workspace, ranks: Int32s, wanted: Bools | None = None) -> Shingles:
    """The shingles of the documents `ranks` (ascending), in that order, in a memory-mapped temporary file.

    The system's page cache holds what is in use and pages are let go of now and then, so that the memory of the
    process does not grow with the corpus.

    Args:
        wanted: load those of these documents only; None: of all.
    """
    wanted = np.ones(len(ranks), dtype=bool) if wanted is None else wanted
    places = np.arange(len(ranks), dtype=np.int64)
    workspace.sql.register("wanted", pa.table({"rank": ranks, "place": places}))
    rows = workspace.sql.execute(
        "SELECT place, file, row, shingle_count FROM wanted JOIN documents USING (rank) ORDER BY file, row"
    ).fetchnumpy()
    workspace.sql.unregister("wanted")
    places = np.asarray(rows["place"], dtype=np.int64)
    counts = np.empty(len(ranks), dtype=np.int32)
    counts[places] = rows["shingle_count"]
    offsets = np.zeros(len(ranks) + 1, dtype=np.int64)
    np.cumsum(np.where(wanted, counts, 0), out=offsets[1:])
    if not offsets[-1]:
        return Shingles(counts, wanted, offsets, np.empty(0, dtype=np.uint64))
    path = workspace.directory / "shingles.bin"
    with path.open("w+b") as handle:
        handle.truncate(int(offsets[-1]) * 8)
        mapped = mmap.mmap(handle.fileno(), 0)
    path.unlink()  # the mapping keeps the file until the array goes
    shingles = np.frombuffer(mapped, dtype=np.uint64)
    chosen = wanted[places]
    files, file_rows = np.asarray(rows["file"])[chosen], np.asarray(rows["row"], dtype=np.int64)[chosen]
    places = places[chosen]

    def release() -> None:
        mapped.madvise(mmap.MADV_DONTNEED)  # a shared mapping of a file: nothing written is lost

    def copy(number: int) -> None:
        begin, stop = np.searchsorted(files, [number, number + 1])
        _copy_shard(workspace.signatures[number], file_rows[begin:stop], places[begin:stop], offsets, shingles)
        release()

    with ThreadPoolExecutor(workspace.threads, thread_name_prefix="shingles") as pool:
        list(pool.map(copy, np.unique(files)))
    return Shingles(counts, wanted, offsets, shingles, release)


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
