"""Counting n-grams out of core: sorted runs of packed n-grams, summed and merged by DuckDB.

An n-gram of order N is one 128-bit number: N fields of `bits` bits, first word highest, each the id plus one. One
begins at every place of the stream; it ends with its sequence, and the fields behind are 0. So each shorter n-gram is
the beginning of some n-gram that is counted, and numbers in ascending order are n-grams in the order of their words.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from lm.compiled import kernel
from lm.stop import ShouldStop, check

RADIX_BITS = 11
BYTES_PER_TOKEN = 64  # of a block at work: its ids twice, the keys twice, digits and counts
ROWS = 1 << 18
SCHEMA = pa.schema([("high", pa.uint64()), ("low", pa.uint64()), ("n", pa.int64())])
FAN_IN = 256  # runs merged at once: each is a mapped, open file

_U0, _U1, _U64 = np.uint64(0), np.uint64(1), np.uint64(64)


def field_bits(vocab: int, order: int) -> int:
    """Bits of one field. Raises ValueError if the n-grams of this order do not fit into 128 bits."""
    bits = int(vocab).bit_length()
    if bits * order > 128:
        raise ValueError(
            f"n-grams of order {order} over {vocab} words need {bits * order} bits, 128 is the limit: "
            f"take order {128 // bits} or a vocabulary below {2 ** (128 // order)}"
        )
    return bits


@kernel
def pack(ids: np.ndarray, starts: int, order: int, bits: int, boundary: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams that begin at the first `starts` ids: high and low halves, uint64[starts] each."""
    high = np.zeros(starts, dtype=np.uint64)
    low = np.zeros(starts, dtype=np.uint64)
    shift, carry = np.uint64(bits), np.uint64(64 - bits)
    for i in range(starts):
        upper, lower = _U0, _U0
        ended = False
        for j in range(order):
            upper = (upper << shift) | (lower >> carry)
            lower = lower << shift
            if not ended:
                lower |= np.uint64(ids[i + j]) + _U1
                ended = j > 0 and ids[i + j] == boundary
        high[i] = upper
        low[i] = lower
    return high, low


@kernel
def sort_keys(high: np.ndarray, low: np.ndarray, total_bits: int, radix_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The keys in ascending order: least significant digit first, stable counting sorts. The input is overwritten."""
    n = len(high)
    other_high = np.empty(n, dtype=np.uint64)
    other_low = np.empty(n, dtype=np.uint64)
    buckets = 1 << radix_bits
    mask = np.uint64(buckets - 1)
    digits = np.empty(n, dtype=np.uint16)
    for from_bit in range(0, total_bits, radix_bits):
        counts = np.zeros(buckets, dtype=np.int64)
        shift = np.uint64(from_bit)
        for i in range(n):
            if from_bit >= 64:
                digit = high[i] >> (shift - _U64)
            elif from_bit + radix_bits > 64:
                digit = (low[i] >> shift) | (high[i] << (_U64 - shift))
            else:
                digit = low[i] >> shift
            digits[i] = digit & mask
            counts[digits[i]] += 1
        place = 0
        for bucket in range(buckets):
            count = counts[bucket]
            counts[bucket] = place
            place += count
        for i in range(n):
            at = counts[digits[i]]
            counts[digits[i]] += 1
            other_high[at] = high[i]
            other_low[at] = low[i]
        high, other_high = other_high, high
        low, other_low = other_low, low
    return high, low


@kernel
def count_runs(high: np.ndarray, low: np.ndarray) -> tuple[int, np.ndarray]:
    """Move different keys of a sorted array to its front; how many there are, and how often each stood there."""
    counts = np.zeros(len(high), dtype=np.int32)
    last = -1
    for i in range(len(high)):
        if last < 0 or high[i] != high[last] or low[i] != low[last]:
            last += 1
            high[last] = high[i]
            low[last] = low[i]
        counts[last] += 1
    return last + 1, counts[: last + 1]


def blocks(stream: Iterable[np.ndarray], order: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut a stream into (ids, starts) of about `size` ids: n-grams begin at the first `starts` of each.

    The ids behind them are the rest of the n-grams that begin there; the last id of all, a boundary, begins none.
    """
    waiting: list[np.ndarray] = []
    held = 0
    for chunk in stream:
        for at in range(0, len(chunk), size):
            waiting.append(chunk[at : at + size])
            held += len(waiting[-1])
            if held >= size + order:
                ids = np.concatenate(waiting)
                yield ids, held - order
                waiting, held = [ids[held - order :]], order
    if held > 1:
        yield np.concatenate(waiting), held - 1


def write_runs(
    stream: Iterable[np.ndarray],
    order: int,
    vocab: int,
    boundary: int,
    folder: Path,
    memory: int,
    threads: int,
    progress: Callable[[int], None],
    should_stop: ShouldStop,
) -> tuple[list[Path], int]:
    """Count the n-grams of each block of the stream into a sorted run: an Arrow file of high, low and n.

    `memory`: bytes for all blocks at work. Returns the runs and the number of n-grams (ids of the stream but the last).
    Raises ValueError for an id outside the vocabulary.
    """
    bits = field_bits(vocab, order)
    size = max(1024, memory // (BYTES_PER_TOKEN * threads))
    folder.mkdir(parents=True, exist_ok=True)

    def count_block(ids: np.ndarray, starts: int, path: Path) -> int:
        if int(ids.max()) >= vocab:
            raise ValueError(
                f"token id {int(ids.max())} in the corpus, but the vocabulary has {vocab} (0 to {vocab - 1})"
            )
        high, low = sort_keys(*pack(ids, starts, order, bits, boundary), order * bits, RADIX_BITS)
        different, counts = count_runs(high, low)
        write_run_file(path, [(high[:different], low[:different], counts)])
        return starts

    paths: list[Path] = []
    total = 0
    at_work: deque[Future[int]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for ids, starts in blocks(stream, order, size):
            check(should_stop, "counting n-grams")
            if len(at_work) == threads:
                done = at_work.popleft().result()
                total += done
                progress(done)
            paths.append(folder / f"run-{len(paths):06d}.arrow")
            at_work.append(pool.submit(count_block, ids, starts, paths[-1]))
        for future in at_work:
            done = future.result()
            total += done
            progress(done)
    return paths, total


def write_run_file(path: Path, batches: Iterable[tuple[np.ndarray, ...]]) -> None:
    """Write a run: batches of high, low and n."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(
                pa.record_batch([pa.array(c, f.type) for c, f in zip(batch, SCHEMA, strict=True)], SCHEMA)
            )


def read_run(path: Path) -> pa.Table:
    """The high, low and n of a run, memory-mapped."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def merged(
    runs: list[Path], spill: Path, memory_limit: str, threads: int, should_stop: ShouldStop
) -> Iterator[tuple[np.ndarray, ...]]:
    """All n-grams of the runs in ascending order: batches of high, low, n. What does not fit into memory is spilled.

    Of more than FAN_IN runs, so many are merged into one first, until these are few enough; the runs are then gone.
    """
    while len(runs) > FAN_IN:
        together, rest = runs[:FAN_IN], runs[FAN_IN:]
        path = together[0].with_name(f"{together[0].stem}-merged.arrow")
        write_run_file(path, _merge(together, spill, memory_limit, threads, should_stop))
        for run in together:
            run.unlink()
        runs = [*rest, path]
    yield from _merge(runs, spill, memory_limit, threads, should_stop)


def _merge(
    runs: list[Path], spill: Path, memory_limit: str, threads: int, should_stop: ShouldStop
) -> Iterator[tuple[np.ndarray, ...]]:
    if len(runs) == 1:
        for batch in read_run(runs[0]).to_batches():
            yield tuple(column.to_numpy() for column in batch.columns)
        return
    with duckdb.connect(":memory:") as connection, ThreadPoolExecutor(1) as worker:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET temp_directory = ?", [str(spill)])
        connection.execute("SET threads = ?", [threads])
        connection.register("runs", pa.concat_tables(map(read_run, runs)))  # maps the files: nothing is copied
        rows = connection.sql("SELECT high, low, sum(n)::BIGINT AS n FROM runs GROUP BY high, low ORDER BY high, low")

        def wait(future: Future[Any]) -> Any:
            """Its result; the query, which may take minutes, is given up if asked to stop."""
            while not wait_for([future], timeout=0.1).done:
                if should_stop():
                    connection.interrupt()
                check(should_stop, "merging n-gram counts")
            return future.result()

        batches = wait(worker.submit(rows.to_arrow_reader, ROWS))
        while (batch := wait(worker.submit(next, batches, None))) is not None:
            yield tuple(column.to_numpy(zero_copy_only=False) for column in batch.columns)
