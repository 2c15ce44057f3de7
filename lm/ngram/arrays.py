"""The arrays of a stored model: all levels in one row, so that one number names an n-gram of any order.

| file | entry | what |
|---|---|---|
| words.npy | [nodes] | the last word of each n-gram; node w < vocab is the unigram w |
| probs.npy | [nodes] | p of the last word given the others |
| links.npy | [nodes] | the node of the n-gram without its first word (or of its longest suffix that has one) |
| backoffs.npy | [inner] | γ of each n-gram shorter than the order, as a context |
| children.npy | [inner + 1] | where the n-grams that go on from each begin; they are sorted by word |

Levels follow each other and each is sorted, so the children of node i end where those of node i + 1 begin, the last
node of a level included. Files are memory-mapped: processes that score share them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from lm.compiled import kernel
from lm.damaged import AGAIN, DamagedFile
from lm.ngram.config import NgramConfig
from lm.ngram.levels import Level, index_dtype, new_array

CONFIG_FILE = "config.json"
FILES = ("words", "probs", "links", "backoffs", "children")
PIECE = 1 << 20  # entries looked at at once


@dataclass(frozen=True)
class Arrays:
    """See above. Unigrams link to `nothing`, which is no node: the number of nodes."""

    words: np.ndarray
    probs: np.ndarray
    links: np.ndarray
    backoffs: np.ndarray
    children: np.ndarray

    @property
    def nothing(self) -> int:
        return len(self.words)

    @classmethod
    def open(cls, folder: Path) -> "Arrays":
        """Memory-mapped, read-only. Raises ValueError if a file is missing or does not fit to the others."""
        for name in FILES:
            if not (folder / f"{name}.npy").exists():
                raise ValueError(
                    f"{folder / f'{name}.npy'}: missing, so this n-gram model is incomplete: build it again"
                )
        arrays = cls(*(_mapped(folder / f"{name}.npy") for name in FILES))
        nodes, inner = len(arrays.words), len(arrays.backoffs)
        sizes = {"probs": len(arrays.probs), "links": len(arrays.links), "children": len(arrays.children)}
        if sizes != {"probs": nodes, "links": nodes, "children": inner + 1} or int(arrays.children[-1]) != nodes:
            raise DamagedFile(f"{folder}: the arrays of this n-gram model do not fit together ({nodes} nodes): {sizes}")
        return arrays

    def check(self, vocab: int, folder: Path) -> None:
        """Raise DamagedFile for numbers that lead out of the arrays, or round in a circle: compiled loops follow them.

        One pass over all of them, the first `vocab` nodes being the unigrams.
        """
        nodes, inner = len(self.words), len(self.backoffs)
        faults = {
            "words": not 0 < vocab <= nodes or not _below(self.words, vocab),
            "links": (self.links[:vocab] != nodes).any() or not _below_itself(self.links[vocab:], vocab, inner),
            "children": not _rises(self.children, nodes),
        }
        for name, wrong in faults.items():
            if wrong:
                raise DamagedFile(f"{folder / f'{name}.npy'}: numbers of no n-gram in it: {AGAIN}")


def _mapped(path: Path) -> np.ndarray:
    whole = path.stem in ("words", "links", "children")
    try:
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, TypeError, SyntaxError, TokenError, OverflowError, MemoryError) as error:
        raise DamagedFile(f"{path}: {' '.join(str(error).split())[:300]}: {AGAIN}") from error
    if array.ndim != 1 or array.dtype.kind != ("u" if whole else "f") or not array.dtype.isnative:
        raise DamagedFile(f"{path}: {array.dtype} {list(array.shape)}, which is no list of its numbers: {AGAIN}")
    return array


def _pieces(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    return ((at, array[at : at + PIECE]) for at in range(0, len(array), PIECE))


def _below(array: np.ndarray, limit: int) -> bool:
    return all(int(piece.max()) < limit for _, piece in _pieces(array))


def _below_itself(links: np.ndarray, first: int, inner: int) -> bool:
    """Whether each node from `first` on links to one before it that has children."""
    for at, piece in _pieces(links):
        if not (piece < np.minimum(np.arange(at, at + len(piece)) + first, inner)).all():
            return False
    return True


def _rises(children: np.ndarray, nodes: int) -> bool:
    last = 0
    for _, piece in _pieces(children):
        if int(piece[0]) < last or (piece[1:] < piece[:-1]).any():
            return False
        last = int(piece[-1])
    return last <= nodes


@kernel
def place(first, raw, threshold, words, probs, gammas, links, below, at, arrays, places):  # type: ignore[no-untyped-def]
    """Copy the n-grams of a level that are kept to `at` and behind, in (words, probs, links, backoffs, children).

    `below`: where the n-grams of the level below went; `places`: filled with where these went (empty: not wanted).
    """
    out_words, out_probs, out_links, out_backoffs, out_children = arrays
    for parent in range(len(first) - 1):
        begin, end = np.int64(first[parent]), np.int64(first[parent + 1])
        home = below[parent]
        if home < len(out_backoffs):
            out_backoffs[home] = gammas[parent]
            out_children[home] = at
        for i in range(begin, end):
            if np.int64(raw[i]) <= threshold:
                continue
            out_words[at] = words[i]
            out_probs[at] = probs[i]
            out_links[at] = below[links[i]]
            if len(places):
                places[i] = at
            at += 1


class ArrayWriter:
    """Writes the arrays level by level, from the first, without the n-grams that are pruned."""

    def __init__(self, levels: list[Level], config: NgramConfig, folder: Path, scratch: Path) -> None:
        self._levels, self._config, self._scratch = levels, config, scratch
        self.sizes = [len(levels[0])]
        for n, level in enumerate(levels[1:], start=2):
            threshold = config.threshold(n)
            kept = len(level) if threshold == 0 else _count_above(level.counts, threshold)
            self.sizes.append(kept)
        nodes, inner = sum(self.sizes), sum(self.sizes[:-1])
        self._index = index_dtype(nodes)
        kinds = {"words": "<u4", "probs": config.precision, "links": self._index, "backoffs": config.precision}
        kinds["children"] = self._index
        lengths = {"words": nodes, "probs": nodes, "links": nodes, "backoffs": inner, "children": inner + 1}
        self._out = tuple(new_array(folder / f"{name}.npy", lengths[name], np.dtype(kinds[name])) for name in FILES)
        self._out[-1][-1] = nodes
        self._places = np.empty(0, dtype=self._index)

    def add(self, n: int, gammas: np.ndarray, probs: np.ndarray) -> None:
        """Write the n-grams of order n, and γ of the contexts of order n - 1."""
        level = self._levels[n - 1]
        words, all_probs, links, _, _ = self._out
        if n == 1:
            words[: len(level)] = level.words
            all_probs[: len(level)] = probs
            links[: len(level)] = len(words)
            self._places = np.arange(len(level), dtype=self._index)
            return
        first = self._levels[n - 2].first
        places = np.empty(0, dtype=self._index)
        if n < len(self._levels):
            path = self._scratch / f"places-{n}.npy"
            places = new_array(path, len(level), self._index)
            places[:] = len(words)  # nowhere
        at = sum(self.sizes[: n - 1])
        place(
            first,
            level.counts,
            self._config.threshold(n),
            level.words,
            probs,
            gammas,
            level.links,
            self._places,
            at,
            self._out,
            places,
        )
        self._places = places


def _count_above(counts: np.ndarray, threshold: int) -> int:
    return sum(int((counts[at : at + (1 << 20)] > threshold).sum()) for at in range(0, len(counts), 1 << 20))
