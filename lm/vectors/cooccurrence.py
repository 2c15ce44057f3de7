"""Who stands beside whom: the sparse matrix X that GloVe explains (Pennington et al. 2014, section 3).

X_ij is the sum, over every place of word i and every place of word j within `window` words of it in the same sequence,
of 1/d, d being their distance. Distances are whole numbers, so that X is counted in units of 1 / lcm(1 .. window): sums
are exact, and equal whatever the order and the memory. Blocks of the text become sorted runs on disk, which DuckDB sums
and merges as it does for n-grams.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from lm.compiled import kernel
from lm.ngram.counts import merged, write_run_file
from lm.order import Permutation, draw_seed
from lm.stop import ShouldStop, check, never
from lm.vectors.corpus import Corpus
from lm.vectors.word2vec import chunk_bounds

DISTANCE_BITS = np.uint64(5)
BYTES_PER_PAIR = 40  # of a block at work: packed pairs, their sorted copy, keys and units
RECORD = np.dtype([("word", "<i4"), ("other", "<i4"), ("log", "<f4"), ("weight", "<f4")])
BATCH = 1 << 20


def unit(window: int) -> int:
    """1/d for d up to `window` is a whole number of these parts of one."""
    return math.lcm(*range(1, window + 1))


@kernel
def pack_pairs(rows, offsets, words, window, packed):  # type: ignore[no-untyped-def]
    """Each pair of places once: (smaller row * words + greater row) << 5 | distance; returns how many."""
    n = 0
    for s in range(len(offsets) - 1):
        for i in range(offsets[s], offsets[s + 1]):
            for j in range(max(offsets[s], i - window), i):
                low, high = min(rows[i], rows[j]), max(rows[i], rows[j])
                key = np.uint64(low) * np.uint64(words) + np.uint64(high)
                packed[n] = (key << DISTANCE_BITS) | np.uint64(i - j)
                n += 1
    return n


@kernel
def sum_units(packed, units, keys, sums):  # type: ignore[no-untyped-def]
    """Of sorted packed pairs, each key once with the sum of units[distance]; returns how many keys."""
    n = -1
    distance = (np.uint64(1) << DISTANCE_BITS) - np.uint64(1)
    for each in packed:
        key = each >> DISTANCE_BITS
        if n < 0 or keys[n] != key:
            n += 1
            keys[n] = key
            sums[n] = 0
        sums[n] += units[np.int64(each & distance)]
    return n + 1


def cooccurrences(
    corpus: Corpus,
    window: int,
    scratch: Path,
    memory: int = 1 << 30,
    threads: int = 1,
    progress: Callable[[int], None] = lambda _: None,
    should_stop: ShouldStop = never,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """X_ij of all pairs with i <= j that occur, by rising (i, j): batches of i, j (int64) and X_ij (float64).

    `memory`: bytes that are held at once; the rest lies in `scratch`. `progress` advances by words.
    """
    runs = scratch / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    words = len(corpus.vocabulary)
    parts = unit(window)
    units = np.array([0, *(parts // d for d in range(1, window + 1))], dtype=np.int64)
    bounds = chunk_bounds(corpus.offsets, max(1, memory // (2 * BYTES_PER_PAIR * window)))
    paths: list[Path] = []
    for begin, end in pairwise(bounds):
        check(should_stop, "counting co-occurrences")
        offsets = corpus.offsets[begin : end + 1]
        rows = np.asarray(corpus.rows[offsets[0] : offsets[-1]])
        packed = np.empty(len(rows) * window, dtype=np.uint64)
        packed = packed[: pack_pairs(rows, offsets - offsets[0], words, window, packed)]
        packed.sort()
        keys, sums = np.empty(len(packed), dtype=np.uint64), np.empty(len(packed), dtype=np.int64)
        n = sum_units(packed, units, keys, sums)
        paths.append(runs / f"run-{len(paths):06d}.arrow")
        write_run_file(paths[-1], [(np.zeros(n, dtype=np.uint64), keys[:n], sums[:n])])
        progress(len(rows))
    for _, key, total in merged(paths, scratch / "spill", f"{memory}B", threads, should_stop):
        i, j = np.divmod(key.astype(np.int64), words)
        yield i, j, np.where(i == j, 2, 1) * (total / parts)  # a pair of one word has two orders
    shutil.rmtree(runs)


def write_records(
    batches: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]],
    x_max: float,
    exponent: float,
    seed: int,
    scratch: Path,
    should_stop: ShouldStop = never,
) -> np.ndarray:
    """X in both orders of a pair, shuffled once as the released program does: a memory-mapped array of RECORD.

    log: ln X; weight: f(X) = min(1, (X / x_max) ** exponent). Raises ValueError if there are none.
    """
    found = 0
    with (scratch / "pairs.raw").open("wb") as out:
        for i, j, x in batches:
            check(should_stop, "weighing co-occurrences")
            off = i != j
            both = np.empty(len(i) + int(off.sum()), dtype=RECORD)
            both["word"], both["other"] = np.concatenate([i, j[off]]), np.concatenate([j, i[off]])
            x = np.concatenate([x, x[off]])
            both["log"], both["weight"] = np.log(x), np.minimum(1.0, (x / x_max) ** exponent)
            found += len(both)
            out.write(both.data)
    if not found:
        raise ValueError("no two words stand beside each other: give longer sequences")
    pairs = np.memmap(scratch / "pairs.raw", dtype=RECORD, mode="r")
    records = np.memmap(scratch / "records.raw", dtype=RECORD, mode="w+", shape=(found,))
    order = Permutation(found, draw_seed(seed, "cooccurrences"))
    for begin in range(0, found, BATCH):
        check(should_stop, "shuffling co-occurrences")
        places = np.arange(begin, min(begin + BATCH, found))
        records[places] = pairs[order[places]]
    (scratch / "pairs.raw").unlink()
    return records
