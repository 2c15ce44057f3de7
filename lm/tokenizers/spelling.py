"""What an unknown word costs: a character model over all Unicode strings.

A model with a closed vocabulary says only that a word is `<unk>`; bits per byte counts all bytes of a text, so the
word's characters must be paid for as well:

    p(word) = prod_i p(c_i | c_{i-2} c_{i-1}) * p(end | last two characters)

with Witten-Bell interpolation (Witten and Bell 1991, method C) down to the uniform distribution over all Unicode
characters and the end:

    p(c | h) = (n(h c) + t(h) p(c | h')) / (n(h) + t(h)),   t(h): different characters seen after h, h' shorter by one

It sums to one after every history, and so over all strings. It is learned from the words of the sample that are
not in the vocabulary. That it also gives some mass to words of the vocabulary, which never are `<unk>`, makes the
bits an upper bound by a little, never too few.
"""

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from lm.damaged import VOCABULARY_BYTES, read_object, validated

SPELLING_FILE = "spelling.json"
HISTORY = 2
CHARACTERS = 0x110000 - 0x800
"""Unicode scalar values: code points without surrogates."""
BEGIN = "\ud800"
"""Stands before a word. A lone surrogate, which no text contains."""
END = ""
"""Stands behind a word."""


class Spelling:
    """The character model of unknown words. `counts`: {history of two characters: {next character: times}}."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self.counts = counts
        after: dict[str, Counter[str]] = defaultdict(Counter)
        for history, following in counts.items():
            for character, count in following.items():
                for cut in range(HISTORY + 1):
                    after[history[cut:]][character] += count
        self._after = after
        self._total = {history: following.total() for history, following in after.items()}
        self.bits = lru_cache(maxsize=100_000)(self._bits)

    @classmethod
    def learn(cls, words: Mapping[str, int]) -> "Spelling":
        """Count the characters of words, each as often as it occurs."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for word, times in sorted(words.items()):
            for history, character in _steps(word):
                counts[history][character] += times
        return cls(counts)

    def probability(self, character: str, history: str) -> float:
        """p(character | history): `END` or one character, after the last two characters (`BEGIN` before a word)."""
        p = 1 / (CHARACTERS + 1)
        for cut in range(HISTORY, -1, -1):
            following = self._after.get(history[cut:])
            if following:
                kinds = len(following)
                p = (following[character] + kinds * p) / (self._total[history[cut:]] + kinds)
        return p

    def _bits(self, word: str) -> float:
        """-log2 p(word), the end included."""
        return -math.fsum(math.log2(self.probability(character, history)) for history, character in _steps(word))

    def save(self, directory: Path) -> None:
        """Write `spelling.json`."""
        ordered = {history: dict(sorted(self.counts[history].items())) for history in sorted(self.counts)}
        partial = directory / (SPELLING_FILE + ".tmp")
        partial.write_text(json.dumps({"history": HISTORY, "counts": ordered}, ensure_ascii=True) + "\n")
        os.replace(partial, directory / SPELLING_FILE)

    @classmethod
    def load(cls, directory: Path) -> "Spelling":
        """The model beside a tokenizer; if there is none (a tokenizer made elsewhere), all characters are equal."""
        path = directory / SPELLING_FILE
        if not path.exists():
            return cls({})
        stored = read_object(path, VOCABULARY_BYTES)
        if stored.get("history") != HISTORY:
            raise ValueError(f"{path}: made with a history of {stored.get('history')} characters, not {HISTORY}")
        return cls(validated(_Stored, stored, path).counts)


class _Stored(BaseModel):
    """What `spelling.json` says: how often each character came after each history."""

    history: int
    counts: dict[str, dict[str, Annotated[int, Field(strict=True, gt=0, lt=2**63)]]]


def _steps(word: str) -> Iterator[tuple[str, str]]:
    """(history, next) for each character of a word and its end."""
    history = BEGIN * HISTORY
    for character in [*word, END]:
        yield history, character
        history = (history + character)[-HISTORY:]
