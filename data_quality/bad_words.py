"""Bad words with C4's semantics, found in one pass over the text however long the list is.

Source: Raffel et al., arXiv 1910.10683, section 2.2, in the form of datatrove's `C4BadWordsFilter`
(pipeline/filters/c4_filters.py): compared in lower case; a match stands between characters that are no word
characters, but in languages without spaces anywhere. No list comes with Textmill: the one that C4 used (LDNOOBW) is
published under CC BY 4.0, a file for each language in the form that `ListFile` reads.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from data_quality.characters import code_points
from data_quality.config import BadWordList, BadWordsConfig
from data_quality.segment import base_language

UNSPACED_LANGUAGES = frozenset({"ja", "th", "yue", "zh"})

_RUN = re.compile(r"\w+")
_BUCKETS = 1 << 16


class BadWords:
    """The entries of one list, ready to be found."""

    def __init__(self, entries: list[str], boundaries: bool) -> None:
        self._boundaries = boundaries
        self._by_start: dict[str, list[str]] = defaultdict(list)  # longest first
        self._single: list[str] = []  # found one by one: no two characters, or no word character, to begin with
        for entry in sorted({entry.lower() for entry in entries}, key=lambda entry: (-len(entry), entry)):
            start = self._start(entry)
            if start is None:
                self._single.append(entry)
            else:
                self._by_start[start].append(entry)
        self._starts = np.zeros(_BUCKETS, dtype=np.bool_)
        if not boundaries:
            for start in self._by_start:
                self._starts[_pairs(start)] = True

    def _start(self, entry: str) -> str | None:
        if not self._boundaries:
            return entry[:2] if len(entry) > 1 else None
        run = _RUN.match(entry)
        return run.group() if run else None

    def find(self, text: str) -> list[tuple[int, str]]:
        """Where in `text` an entry begins, ascending, and the longest entry that begins there."""
        lowered = text.lower()
        found: dict[int, str] = {}
        for at, start in self._candidates(lowered):
            for entry in self._by_start.get(start, ()):
                if lowered.startswith(entry, at) and self._bounded(lowered, at, at + len(entry)):
                    found[at] = entry
                    break
        for entry in self._single:
            at = lowered.find(entry)
            while at >= 0:
                if self._bounded(lowered, at, at + len(entry)):
                    found.setdefault(at, entry)
                at = lowered.find(entry, at + 1)
        return sorted(found.items())

    def _candidates(self, lowered: str) -> Iterator[tuple[int, str]]:
        """Places where an entry may begin, with the key of `_by_start`."""
        if self._boundaries:
            if not self._by_start.keys().isdisjoint(_RUN.findall(lowered)):
                for run in _RUN.finditer(lowered):
                    yield run.start(), run.group()
        elif self._by_start and len(lowered) > 1:
            for at in np.flatnonzero(self._starts[_pairs(lowered)]).tolist():
                yield at, lowered[at : at + 2]

    def _bounded(self, lowered: str, start: int, end: int) -> bool:
        if not self._boundaries:
            return True
        before = start > 0 and _RUN.match(lowered[start - 1])
        after = end < len(lowered) and _RUN.match(lowered[end])
        return not before and not after


def _pairs(text: str) -> np.ndarray:
    """A bucket for each two neighbouring characters of `text`: int64[characters - 1]."""
    codes = code_points(text).astype(np.int64)
    return (codes[:-1] * 31 + codes[1:]) % _BUCKETS


class BadWordSignals:
    """Measures the bad words of documents by their language."""

    def __init__(self, config: BadWordsConfig) -> None:
        self._default = config.default_language
        self._lists = {language: _load(language, listed) for language, listed in config.lists.items()}

    def measure(self, text: str, language: str | None, words: int) -> dict[str, float]:
        """The signals of the group `bad_words` (signal_catalogue.py)."""
        known = base_language(language)  # of zh-Hant: zh; none of `und`, undetermined
        listed = self._lists.get(language or "") or self._lists.get(known or self._default)
        found = listed.find(text) if listed else []
        by_line = {(text.count("\n", 0, at), entry) for at, entry in found}
        lines = sum(not line.isspace() for line in text.split("\n") if line) if found else 0
        return {
            "bad_words": len(found),
            "bad_word_ratio": len(found) / words if words else 0.0,
            "bad_words_per_line": len(by_line) / lines if lines else 0.0,
        }


def _load(language: str, listed: BadWordList) -> BadWords:
    boundaries = listed.boundaries if listed.boundaries is not None else language not in UNSPACED_LANGUAGES
    allowed = {entry.lower() for entry in listed.allow}
    return BadWords([entry for entry in listed.file.entries() if entry.lower() not in allowed], boundaries)
