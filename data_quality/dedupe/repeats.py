"""Which windows come twice: groups of hashes, one after the other, each within the memory it is allowed.

Windows are first dealt out to files by their hash. Of each file, the hashes that come twice are found by sorting; then
a hash table of these alone is filled with the first copy of each, the least (rank, place); then every other copy is
written with its first. So a window with ten million copies costs no more memory than one with two.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.compiled import kernel
from data_quality.dedupe.windows import NO_WINDOW
from data_quality.shards import BATCH_ROWS

UInt64s = npt.NDArray[np.uint64]

BYTES_PER_WINDOW = 36
"""Of one group, at worst: 8 while sorting, and the hash table of all of them if each comes exactly twice."""
_CHUNK = 1 << 18


def find_hits(
    sql: duckdb.DuckDBPyConnection,
    window_paths: Sequence[Path],
    directory: Path,
    *,
    group_bytes: int,
    within_document: bool,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Create table `hits` (rank, place, first): repeated windows but the first of each; first is rank << 32 | place.

    Args:
        sql: database with table `documents` (rank, file, row); documents that are not in it take no part.
        window_paths: tables of windows; `file` counts them.
        directory: for files of 16 bytes a window.
        group_bytes: memory for one group.
        within_document: whether a copy in the same document as the first is a hit.
        progress: told of windows, each twice: when it was dealt out, and when its group was done.

    Returns:
        Counts: windows (dealt out), groups, hits.
    """
    sql.execute("CREATE TABLE hits (rank INTEGER, place BIGINT, first UBIGINT)")
    [stored] = sql.execute("SELECT coalesce(sum(windows), 0)::BIGINT FROM documents").fetchall()[0]
    groups = max(1, -(-stored * BYTES_PER_WINDOW // group_bytes))
    paths = [directory / f"group-{number:05d}" for number in range(groups)]
    windows = _deal_out(sql, window_paths, paths, progress)
    hits = 0
    for path in paths:
        keys = _table_of_repeated(path)
        firsts = np.full(len(keys), NO_WINDOW, dtype=np.uint64)
        for chunk in _chunks(path) if len(keys) else ():
            _take_first(chunk, keys, firsts)
        for chunk in _chunks(path) if len(keys) else ():
            found = chunk[: _collect(chunk, keys, firsts, within_document)]
            hits += len(found)
            _insert_hits(sql, found)
        progress(path.stat().st_size // 16)
        path.unlink()
    return {"windows": windows, "groups": groups, "hits": hits}


def _deal_out(
    sql: duckdb.DuckDBPyConnection, window_paths: Sequence[Path], paths: Sequence[Path], progress: Callable[[int], None]
) -> int:
    """Write (hash, rank << 32 | place) of every window to the file of its group; return how many."""
    windows = 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for number, path in enumerate(window_paths):
            ranks = _ranks(sql, number, pq.read_metadata(path).num_rows)
            for values, offsets, of_rows in _tables(path, ranks):
                dealt = np.empty((len(values), 2), dtype=np.uint64)
                ends = np.zeros(len(paths) + 1, dtype=np.int64)
                _scatter(values, offsets, of_rows, dealt, ends)
                for file, start, end in zip(files, ends[:-1], ends[1:], strict=True):
                    file.write(dealt[start:end].tobytes())
                windows += int(ends[-1])
                progress(int(ends[-1]))
    return windows


def _ranks(sql: duckdb.DuckDBPyConnection, number: int, rows: int) -> npt.NDArray[np.int64]:
    """The rank of each row of one table, -1 for those that take no part."""
    ranks = np.full(rows, -1, dtype=np.int64)
    found = sql.execute(f"SELECT row, rank FROM documents WHERE file = {number}").fetchnumpy()
    ranks[np.asarray(found["row"])] = np.asarray(found["rank"])
    return ranks


def _tables(
    path: Path, ranks: npt.NDArray[np.int64]
) -> Iterator[tuple[UInt64s, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(hashes, offsets, ranks) of a row group at a time; hashes[offsets[i] : offsets[i + 1]] are those of row i."""
    row = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=["windows"]):
            lists = batch["windows"]
            offsets = lists.offsets.to_numpy().astype(np.int64)
            yield (
                lists.values.to_numpy()[offsets[0] : offsets[-1]],
                offsets - offsets[0],
                ranks[row : row + len(lists)],
            )
            row += len(lists)


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
