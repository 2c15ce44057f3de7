"""Which windows come twice: groups of hashes, one after the other, each within the memory it is allowed.

Windows are first dealt out to files by their hash. Of each file, the hashes that come twice are found by sorting; then
a hash table of these alone is filled with the first copy of each, the least (rank, place); then every other copy is
written with its first. So a window with ten million copies costs no more memory than one with two.

Where an earlier result is gone on from (`substring_again`), only the windows whose first copy may be another one now
are dealt out: all others are passed by after one look at a bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_quality.compiled import kernel
from data_quality.dedupe.marks import Marks
from data_quality.dedupe.windows import NO_WINDOW, read_windows
from data_quality.shards import BATCH_ROWS

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

BYTES_PER_WINDOW = 36
"""Of one group, at worst: 8 while sorting, and the hash table of all of them if each comes exactly twice."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Changed:
    """What may have changed since an earlier result: all windows of new documents, some of others.

    Attributes:
        windows: the hashes that are solved; of each, all copies are looked at.
        fresh: by rank, the documents of which nothing is known.
        solved: by rank, these and the others of which every hit among `windows` is wanted. Of the remaining ones only
            hits are, whose first copy is in a fresh document.
    """

    windows: Marks
    fresh: Bools
    solved: Bools


def find_hits(
    sql: duckdb.DuckDBPyConnection,
    window_paths: Sequence[Path],
    directory: Path,
    *,
    group_bytes: int,
    within_document: bool,
    changed: Changed | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Create table `hits` (rank, place, first): repeated windows but the first of each; first is rank << 32 | place.

    Args:
        sql: database with table `documents` (rank, windows, file, row); documents that are not in it take no part.
        window_paths: tables of windows; `file` counts them.
        directory: for files of 16 bytes a window.
        group_bytes: memory for one group.
        within_document: whether a copy in the same document as the first is a hit.
        changed: what is looked for; None: everything.
        progress: told of windows, each twice: when it was dealt out, and when its group was done.

    Returns:
        Counts: windows (of these documents), groups.
    """
    sql.execute("CREATE TABLE hits (rank INTEGER, place BIGINT, first UBIGINT)")
    [stored] = sql.execute("SELECT coalesce(sum(windows), 0)::BIGINT FROM documents").fetchall()[0]
    groups = max(1, -(-stored * BYTES_PER_WINDOW // group_bytes))
    paths = [directory / f"group-{number:05d}" for number in range(groups)]
    windows, dealt = _deal_out(sql, window_paths, paths, changed, progress)
    progress(windows - dealt)
    for path in paths:
        keys = _table_of_repeated(path)
        firsts = np.full(len(keys), NO_WINDOW, dtype=np.uint64)
        for chunk in _chunks(path) if len(keys) else ():
            _take_first(chunk, keys, firsts)
        for chunk in _chunks(path) if len(keys) else ():
            found = chunk[: _collect(chunk, keys, firsts, within_document)]
            _insert_hits(sql, found if changed is None else found[_news(found, changed)])
        progress(path.stat().st_size // 16)
        path.unlink()
    return {"windows": windows, "groups": groups}


def _news(found: UInt64s, changed: Changed) -> Bools:
    """Which of some (place, first) are wanted."""
    here, first = found[:, 0] >> np.uint64(32), found[:, 1] >> np.uint64(32)
    return changed.solved[here] | changed.fresh[first]


def _deal_out(
    sql: duckdb.DuckDBPyConnection,
    window_paths: Sequence[Path],
    paths: Sequence[Path],
    changed: Changed | None,
    progress: Callable[[int], None],
) -> tuple[int, int]:
    """Write (hash, rank << 32 | place) of every window to the file of its group; return how many there are, and how
    many were dealt out."""
    windows = written = 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for number, path in enumerate(window_paths):
            hashes, offsets = read_windows(path)
            ranks = _ranks(sql, number, len(offsets) - 1)
            for start in range(0, len(ranks), BATCH_ROWS):
                of_rows = ranks[start : start + BATCH_ROWS]
                ends_of_rows = offsets[start : start + BATCH_ROWS + 1]
                looked_at = int(np.diff(ends_of_rows)[of_rows >= 0].sum())
                if changed is None:
                    dealt = np.empty((looked_at, 2), dtype=np.uint64)
                    ends = np.zeros(len(paths) + 1, dtype=np.int64)
                    _scatter(hashes, ends_of_rows, of_rows, dealt, ends)
                else:
                    dealt, ends = _by_group(changed.windows.found_in(hashes, ends_of_rows, of_rows), len(paths))
                for file, first, end in zip(files, ends[:-1], ends[1:], strict=True):
                    file.write(dealt[first:end].data)
                windows += looked_at
                written += int(ends[-1])
                progress(looked_at)
    return windows, written


def _ranks(sql: duckdb.DuckDBPyConnection, number: int, rows: int) -> Int64s:
    """The rank of each row of one table, -1 for those that take no part."""
    ranks = np.full(rows, -1, dtype=np.int64)
    found = sql.execute(f"SELECT row, rank FROM documents WHERE file = {number}").fetchnumpy()
    ranks[np.asarray(found["row"])] = np.asarray(found["rank"])
    return ranks


def _by_group(found: UInt64s, groups: int) -> tuple[UInt64s, Int64s]:
    """Windows (hash, rank << 32 | place) as `_scatter` deals them out."""
    half = np.uint64(32)
    of_group = ((found[:, 0] >> half) * np.uint64(groups) >> half).astype(np.int64)
    order = np.argsort(of_group, kind="stable")
    return found[order], np.searchsorted(of_group[order], np.arange(groups + 1))


@kernel
def _scatter(values, offsets, ranks, dealt, ends):  # type: ignore[no-untyped-def]
    """Group by group, the windows of rows with a rank; group g is dealt[ends[g] : ends[g + 1]]."""
    groups = np.uint64(len(ends) - 1)
    half = np.uint64(32)
    for row in range(len(ranks)):
        if ranks[row] >= 0:
            for at in range(offsets[row], offsets[row + 1]):
                ends[((values[at] >> half) * groups >> half) + np.uint64(1)] += 1
    for group in range(1, len(ends)):
        ends[group] += ends[group - 1]
    following = ends[:-1].copy()
    for row in range(len(ranks)):
        if ranks[row] >= 0:
            for at in range(offsets[row], offsets[row + 1]):
                group = (values[at] >> half) * groups >> half
                dealt[following[group], 0] = values[at]
                dealt[following[group], 1] = np.uint64(ranks[row]) << half | np.uint64(at - offsets[row])
                following[group] += 1


def _chunks(path: Path) -> Iterator[UInt64s]:
    with path.open("rb") as file:
        while len(values := np.fromfile(file, dtype=np.uint64, count=2 * _CHUNK)):
            yield values.reshape(-1, 2)


def _table_of_repeated(path: Path) -> UInt64s:
    """A hash table (open addressing, at most half full) of the hashes that come twice in one file."""
    hashes = np.empty(path.stat().st_size // 16, dtype=np.uint64)
    at = 0
    for chunk in _chunks(path):
        hashes[at : at + len(chunk)] = chunk[:, 0]
        at += len(chunk)
    hashes.sort()
    repeated = _repeated(hashes)
    del hashes
    keys = np.full(1 << int(2 * len(repeated) - 1).bit_length() if len(repeated) else 0, NO_WINDOW, dtype=np.uint64)
    _fill(repeated, keys)
    return keys


@kernel
def _repeated(ascending):  # type: ignore[no-untyped-def]
    """Each value that comes twice, once."""
    count = 0
    for write in range(2):
        if write:
            found = np.empty(count, dtype=np.uint64)
        count = 0
        for at in range(1, len(ascending)):
            if ascending[at] == ascending[at - 1] and (at == 1 or ascending[at - 2] != ascending[at]):
                if write:
                    found[count] = ascending[at]
                count += 1
    return found


@kernel
def _slot(value, keys):  # type: ignore[no-untyped-def]
    """Where `value` is or would be. Hashes are well mixed: their low bits say where to look first."""
    mask = np.uint64(len(keys) - 1)
    slot = value & mask
    while keys[slot] != value and keys[slot] != NO_WINDOW:
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def _fill(values, keys):  # type: ignore[no-untyped-def]
    for at in range(len(values)):
        keys[_slot(values[at], keys)] = values[at]


@kernel
def _take_first(chunk, keys, firsts):  # type: ignore[no-untyped-def]
    for at in range(len(chunk)):
        slot = _slot(chunk[at, 0], keys)
        if keys[slot] != NO_WINDOW:
            firsts[slot] = min(firsts[slot], chunk[at, 1])


@kernel
def _collect(chunk, keys, firsts, within_document):  # type: ignore[no-untyped-def]
    """Overwrite the beginning of `chunk` with (place, first) of its hits and return how many."""
    count = 0
    half = np.uint64(32)
    for at in range(len(chunk)):
        slot = _slot(chunk[at, 0], keys)
        here, first = chunk[at, 1], firsts[slot]
        if keys[slot] != NO_WINDOW and here != first and (within_document or here >> half != first >> half):
            chunk[count, 0] = here
            chunk[count, 1] = first
            count += 1
    return count


def _insert_hits(sql: duckdb.DuckDBPyConnection, found: UInt64s) -> None:
    if not len(found):
        return
    here = found[:, 0].copy()
    hits = pa.table(
        {
            "rank": (here >> np.uint64(32)).astype(np.int32),
            "place": (here & np.uint64(0xFFFFFFFF)).astype(np.int64),
            "first": found[:, 1].copy(),
        }
    )
    sql.register("found", hits)
    sql.execute("INSERT INTO hits FROM found")
    sql.unregister("found")
