"""Which runs of tokens (or of words) stand verbatim in a corpus: exact, in the memory of what is looked for.

Every run of `span` ids of the texts that are looked for is hashed; the corpus goes by once, document by document, and a
rolling hash of its runs is looked up. Where hashes agree the ids are compared, so that no collision counts. That is
what a suffix array over the corpus would answer for runs of one length, without holding the corpus.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lm.compiled import kernel
from lm.stop import ShouldStop, check, never

_BASE = np.uint64(0x9E3779B97F4A7C15)
_BITS = 22  # of the sieve: 4 MB


@dataclass(frozen=True)
class Found:
    """What stands verbatim of one text: which of its runs do (by where they begin), how many runs it has, how many of
    its ids lie in a found run, and for the first found run the document that has it and where."""

    runs: np.ndarray  # bool [runs]
    covered: int
    ids: int
    document: str | None
    at: int | None

    @property
    def share(self) -> float:
        """Of the runs; 0 for a text too short to have one."""
        return float(self.runs.mean()) if len(self.runs) else 0.0


@kernel
def _rolling(ids, span, base, top):  # type: ignore[no-untyped-def]
    """Hash of each run of `span` ids, a polynomial modulo 2^64; `top` is base^span."""
    count = max(0, len(ids) - span + 1)
    hashes = np.empty(count, dtype=np.uint64)
    value = np.uint64(0)
    for at in range(len(ids)):
        value = value * base + np.uint64(ids[at]) + np.uint64(1)
        if at >= span:
            value -= top * (np.uint64(ids[at - span]) + np.uint64(1))
        if at >= span - 1:
            hashes[at - span + 1] = value
    return hashes


@kernel
def _sieved(hashes, sieve, shift):  # type: ignore[no-untyped-def]
    """Places whose hash may be one that is looked for."""
    found = np.empty(len(hashes), dtype=np.int64)
    count = 0
    for at in range(len(hashes)):
        if sieve[hashes[at] >> shift]:
            found[count] = at
            count += 1
    return found[:count]


class Verbatim:
    """The runs of some texts, to be looked for. `texts`: ids of each, whole numbers from 0."""

    def __init__(self, texts: Sequence[np.ndarray], span: int) -> None:
        if span < 1:
            raise ValueError(f"a run has at least one id, not {span}")
        self.span = span
        self.texts = [np.ascontiguousarray(ids, dtype=np.int64) for ids in texts]
        with np.errstate(over="ignore"):
            self._top = np.prod(np.full(span, _BASE, dtype=np.uint64), dtype=np.uint64)
        runs = [_rolling(ids, span, _BASE, self._top) for ids in self.texts]
        self._found = [np.zeros(len(each), dtype=bool) for each in runs]
        self._document: list[tuple[int, str, int] | None] = [None] * len(self.texts)
        owners = np.repeat(np.arange(len(runs)), [len(each) for each in runs])
        places = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(len(each)) for each in runs)])
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *runs])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners, self._places = hashes[order], owners[order], places[order]
        self._shift = np.uint64(64 - _BITS)
        self._sieve = np.zeros(1 << _BITS, dtype=bool)
        self._sieve[self._hashes >> self._shift] = True

    def look(self, document: str, ids: np.ndarray) -> None:
        """Let one document of the corpus go by."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        hashes = _rolling(ids, self.span, _BASE, self._top)
        candidates = _sieved(hashes, self._sieve, self._shift)
        low = np.searchsorted(self._hashes, hashes[candidates], side="left")
        high = np.searchsorted(self._hashes, hashes[candidates], side="right")
        for at, first, last in zip(candidates.tolist(), low.tolist(), high.tolist(), strict=True):
            for entry in range(first, last):
                owner, place = int(self._owners[entry]), int(self._places[entry])
                known = self._document[owner]
                if self._found[owner][place] and known is not None and known[:2] <= (place, document):
                    continue
                if np.array_equal(ids[at : at + self.span], self.texts[owner][place : place + self.span]):
                    self._found[owner][place] = True
                    if known is None or (place, document) < known[:2]:
                        self._document[owner] = (place, document, at)

    def search(self, documents: Iterable[tuple[str, np.ndarray]], should_stop: ShouldStop = never) -> list[Found]:
        """What of each text stands in the documents (id, ids), looked through in their order."""
        for document, ids in documents:
            check(should_stop, "looking for verbatim text")
            self.look(document, ids)
        return self.found()

    def found(self) -> list[Found]:
        """What was found so far; the evidence is of the first run that stands in the corpus, and of the documents that
        have it the one with the least id, whatever their order."""
        results = []
        for ids, runs, where in zip(self.texts, self._found, self._document, strict=True):
            edges = np.zeros(len(ids) + 1, dtype=np.int64)
            places = np.flatnonzero(runs)
            np.add.at(edges, places, 1)
            np.add.at(edges, places + self.span, -1)
            covered = int((np.cumsum(edges[:-1]) > 0).sum()) if len(ids) else 0
            document, at = (where[1], where[2]) if where else (None, None)
            results.append(Found(runs.copy(), covered, len(ids), document, at))
        return results
