"""Counted n-grams as a trie: one level for each order, level n sorted by the words of its n-grams.

Node i of level n is an n-gram w1..wn; its children, the n-grams that go on from it, are first[i] .. first[i + 1] - 1
of level n + 1. Its suffix link is w2..wn, a node of level n - 1: where a model looks when it has not seen w1..wn go
on as wanted. Level 1 has a node for every id, seen or not. All arrays are files, memory-mapped: what is held in
memory does not grow with the corpus (Heafield et al. 2013 sort each order again where we follow links).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lm.compiled import kernel
from lm.ngram.counts import ROWS, field_bits
from lm.stop import ShouldStop, check


@dataclass
class Level:
    """The n-grams of one order.

    words: uint32 [size], the last word of each. counts: how often each occurs. first: [size + 1], where the
    children of each begin in the next level; empty in the last. links: [size], the suffix of each in the level
    below; empty in the first.
    """

    words: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    links: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint32))

    def __len__(self) -> int:
        return len(self.words)


def index_dtype(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds numbers up to `largest` and one more."""
    return np.dtype("<u4") if largest < 2**32 - 1 else np.dtype("<u8")


def new_array(path: Path, size: int, dtype: np.dtype[Any]) -> np.ndarray:
    """A memory-mapped .npy file of `size` zeros."""
    return np.asarray(np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,)))


@kernel
def grow(high, low, n, previous, order, bits, words, counts, first, sizes, flushed):  # type: ignore[no-untyped-def]
    """Add sorted n-grams to the levels' buffers.

    `previous`: uint64[2], the last n-gram seen; `words`, `counts`, `first`: [order, capacity] buffers, of which
    sizes[level] entries are used, the last of them still growing; flushed[level] entries went to disk before.
    """
    mask = np.uint64((1 << bits) - 1)
    shift, carry = np.uint64(bits), np.uint64(64 - bits)
    code = np.empty(order, dtype=np.uint64)
    for row in range(len(high)):
        h, w, old_h, old_w = high[row], low[row], previous[0], previous[1]
        differs = 0
        length = 0
        for level in range(order - 1, -1, -1):
            code[level] = w & mask
            if code[level] != (old_w & mask):
                differs = level
            if code[level] != 0:
                length = max(length, level + 1)
            w = (w >> shift) | (h << carry)
            h = h >> shift
            old_w = (old_w >> shift) | (old_h << carry)
            old_h = old_h >> shift
        previous[0] = high[row]
        previous[1] = low[row]
        for level in range(differs, length):
            at = sizes[level]
            words[level, at] = np.uint32(code[level] - np.uint64(1))
            counts[level, at] = 0
            if level + 1 < order:
                first[level, at] = flushed[level + 1] + sizes[level + 1]
            sizes[level] = at + 1
        for level in range(length):
            counts[level, sizes[level] - 1] += np.int64(n[row])


@kernel
def link_children(first, parent_links, suffix_first, suffix_words, words, links, begin, end):  # type: ignore[no-untyped-def]
    """links[c] for the children c of the parents begin .. end - 1.

    The link of a child is the child by the same word of its parent's link. Both families are sorted, so that each
    search begins behind the last find.
    """
    for parent in range(begin, end):
        suffix = np.int64(parent_links[parent])
        at, stop = np.int64(suffix_first[suffix]), np.int64(suffix_first[suffix + 1])
        for child in range(np.int64(first[parent]), np.int64(first[parent + 1])):
            word = words[child]
            low, high = at, stop
            while low < high:
                middle = (low + high) >> 1
                if suffix_words[middle] < word:
                    low = middle + 1
                else:
                    high = middle
            links[child] = low
            at = low + 1


def parent_ranges(first: np.ndarray, parts: int) -> list[tuple[int, int]]:
    """Cut parents into ranges with about equally many children."""
    goals = np.linspace(0, int(first[-1]), parts + 1)[1:-1]
    cuts = [0, *np.searchsorted(first, goals.astype(first.dtype)).tolist(), len(first) - 1]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def over_parents(first: np.ndarray, threads: int, should_stop: ShouldStop, work: Callable[[int, int], None]) -> None:
    """Call work(begin, end) on ranges of parents, in threads. What it does to one parent must not touch another."""
    ranges = parent_ranges(first, parts=max(threads, 1 + int(first[-1]) // 2_000_000))
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, begin, end) for begin, end in ranges]
        try:
            for future in futures:
                check(should_stop, "building an n-gram model")
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def build_levels(
    batches: Iterable[tuple[np.ndarray, ...]],
    order: int,
    vocab: int,
    ngrams: int,
    folder: Path,
    threads: int,
    should_stop: ShouldStop,
) -> list[Level]:
    """The trie of sorted n-grams (`counts.merged`), its arrays below `folder`.

    `ngrams`: how many were counted, repeats included: no count and no level is larger.
    """
    dtype = index_dtype(max(ngrams, vocab))
    words, counts, first = (
        [folder / f"{what}-{n + 1}.raw" for n in range(order)] for what in ("words", "counts", "first")
    )
    _write_levels(batches, order, field_bits(vocab, order), (words, counts, first), dtype, should_stop)
    levels = []
    for n in range(order):
        levels.append(Level(_mapped(words[n], np.dtype("<u4")), _mapped(counts[n], dtype), _mapped(first[n], dtype)))
    levels[0] = _with_every_id(levels[0], vocab)
    for n in range(1, order):
        levels[n].links = _links(levels, n, folder / f"links-{n + 1}.npy", dtype, threads, should_stop)
    return levels


def _write_levels(
    batches: Iterable[tuple[np.ndarray, ...]],
    order: int,
    bits: int,
    paths: tuple[list[Path], ...],
    dtype: np.dtype[Any],
    should_stop: ShouldStop,
) -> None:
    """Write words, counts and first of each level, those of level 1 for the words that were seen."""
    flushed, sizes = np.zeros(order, dtype=np.int64), np.zeros(order, dtype=np.int64)
    previous = np.zeros(2, dtype=np.uint64)
    words, counts, first = buffers = [np.zeros((order, ROWS + 1), dtype=t) for t in (np.uint32, np.int64, np.int64)]
    kinds = [np.dtype("<u4"), dtype, dtype]
    with ExitStack() as stack:
        files = [[stack.enter_context(path.open("wb")) for path in what] for what in paths]

        def flush(keep: int) -> None:
            for level in range(order):
                whole = max(0, int(sizes[level]) - keep)
                for buffer, file, kind in zip(buffers, (what[level] for what in files), kinds, strict=True):
                    if level + 1 < order or buffer is not first:  # the last level has no children
                        file.write(buffer[level, :whole].astype(kind).data)
                    buffer[level, : sizes[level] - whole] = buffer[level, whole : sizes[level]]
                flushed[level] += whole
                sizes[level] -= whole

        for batch in batches:
            for at in range(0, len(batch[0]), ROWS):
                check(should_stop, "building an n-gram model")
                high, low, n = (column[at : at + ROWS] for column in batch)
                grow(high, low, n.astype(np.int64), previous, order, bits, words, counts, first, sizes, flushed)
                flush(keep=1)  # the last of each level may still be counted
        flush(keep=0)
        for level in range(order - 1):
            files[2][level].write(flushed[level + 1 : level + 2].astype(dtype).data)


def _mapped(path: Path, dtype: np.dtype[Any]) -> np.ndarray:
    # Writable, as all arrays of a build: numba compiles read-only ones anew.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r+")) if path.stat().st_size else np.empty(0, dtype)


def _with_every_id(level: Level, vocab: int) -> Level:
    """Level 1 with a node for each id; one that was never seen has count 0 and no children."""
    counts = np.zeros(vocab, dtype=level.counts.dtype)
    counts[level.words] = level.counts
    at = np.searchsorted(level.words, np.arange(vocab + 1))
    return Level(np.arange(vocab, dtype=np.uint32), counts, level.first[at] if len(level.first) else level.first)


def _links(
    levels: list[Level], n: int, path: Path, dtype: np.dtype[Any], threads: int, should_stop: ShouldStop
) -> np.ndarray:
    """The suffix links of levels[n], n >= 1, in a file."""
    words, parents, suffixes = levels[n].words, levels[n - 1], levels[n - 1].words
    if n == 1:
        return words  # the suffix of w1 w2 is w2, and level 1 is indexed by its words
    first, parent_links, suffix_first = parents.first, parents.links, levels[n - 2].first
    links = new_array(path, len(words), dtype)

    def link(begin: int, end: int) -> None:
        link_children(first, parent_links, suffix_first, suffixes, words, links, begin, end)

    over_parents(first, threads, should_stop, link)
    return links
