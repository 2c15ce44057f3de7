"""Masking of library names and import paths, so that a paragraph does not name its own label.

A name counts as a whole word, or, if it is long enough to be unmistakable, wherever it stands
(`TorchDispatchMode`). The dotted path, URL or identifier around a name goes with it
(`sklearn.linear_model.Ridge`, `pandas.pydata.org/docs`), because the rest of an import path tells as much as
its head. Masking a masked text changes nothing.
"""

import re
from functools import lru_cache

from data_quality.config import LabelledConfig
from data_quality.errors import UsageError

_SEPARATORS = re.compile(r"[-_.\s]+")
_WORD = re.compile(r"[a-z0-9]+", re.IGNORECASE | re.ASCII)


def _pattern(name: str) -> str:
    """Regular expression of a name; `-`, `_`, `.`, white space and nothing are the same between its parts."""
    return r"[-_.\s]*".join(re.escape(part) for part in _SEPARATORS.split(name) if part)


class LibraryNames:
    """The names of all classes of one config, compiled; `mask(text)` removes them.

    Matching ignores case and is ASCII, so that a name inside an unsegmented Chinese sentence is found and the
    sentence around it stays. `_` counts as a word boundary (`np_array` contains the word `np`).
    """

    def __init__(self, config: LabelledConfig) -> None:
        names = {n for c in config.classes for n in (c.name, *c.aliases)} | set(config.also_mask)
        words: list[str] = []
        phrases: list[str] = []
        for name in sorted(names, key=lambda n: (-len(n), n)):
            letters = len(_SEPARATORS.sub("", name))
            if not letters:
                raise UsageError(f"a class name or alias has no letters: {name!r}")
            pattern = _pattern(name)
            if letters < config.inside_words:
                pattern = rf"(?<![a-z0-9]){pattern}(?![a-z0-9])"
            (words if _WORD.fullmatch(name) else phrases).append(pattern)
        flags = re.IGNORECASE | re.ASCII
        self._word = re.compile("|".join(words), flags) if words else None
        self._phrase = re.compile("|".join(phrases), flags) if phrases else None
        unit = rf"(?:\w|{re.escape(config.mask)})"
        # possessive: a path never gives characters back, which keeps the search linear
        self._path = re.compile(rf"{unit}++(?:(?:::|[./\\-]){unit}++)*+", re.ASCII)
        self._mask = config.mask
        # a text repeats its words: most of them cost one look-up instead of one search for forty names
        self._masked_path = lru_cache(maxsize=100_000)(self._mask_path)
        if self.mask(config.mask) != config.mask or (self._word and self._word.search(config.mask)):
            raise UsageError(f"the mask {config.mask!r} contains a name that it should hide; choose another")

    def _mask_path(self, path: str) -> str:
        hit = self._mask in path or (self._word is not None and self._word.search(path))
        return self._mask if hit else path

    def mask(self, text: str) -> str:
        """`text` with every library name, and the path or identifier around it, replaced by the mask."""
        if self._phrase:
            text = self._phrase.sub(lambda _: self._mask, text)
        return self._path.sub(lambda match: self._masked_path(match.group()), text)
