"""A copy of a text in other words: what a corpus larger than the real one is made of.

In copy k every word of more than five Latin letters is written with another alphabet, a permutation of vowels among
vowels and of consonants among consonants that `k` draws, capitals as small letters; every common Chinese character
stands for another one of about its frequency. So texts, lines and shingles of two copies differ, while lengths in
bytes, characters and words, stop words, punctuation, figures, markup, frequencies, and who resembles whom inside a copy
stay as they are. Copy 0 is the text itself. Words of five letters or fewer, and the Chinese stop words, are the same in
all copies.

All of it is a function of the copy's number (and, for Chinese, of the ranks of characters that `ranked_characters`
counts), so that any copy is made alone.
"""

import random
from collections.abc import Mapping
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from data_quality.compiled import kernel
from data_quality.stop_words import STOP_WORDS

LONG_WORD = 6
"""Letters of the shortest word that is rewritten; no stop word and no word that rules look for is as long."""

VOWELS, CONSONANTS = "aeiouy", "bcdfghjklmnpqrstvwxz"
FIRST_HAN, LAST_HAN = 0x4E00, 0x9FFF
LEAST_REWRITTEN = 0.15
"""Of a text's bytes; one with less would be a near-duplicate of itself in another copy, and stands in copy 0 alone."""

COMMON_CHARACTERS = 4096
BAND = 64
"""Ranks within which characters change places: the frequencies of a band's first and last are about the same."""

Table = npt.NDArray[np.uint16]


@cache
def alphabet(copy: int) -> npt.NDArray[np.uint8]:
    """The byte that stands for each ASCII byte in a long word of a copy; uint8[256], 0 where it is no letter."""
    table = np.zeros(256, dtype=np.uint8)
    draw = random.Random(f"letters of copy {copy}")
    for group in (VOWELS, CONSONANTS):
        shuffled = draw.sample(group, len(group)) if copy else list(group)
        for letter, other in zip(group, shuffled, strict=True):
            table[ord(letter)] = ord(other)
            table[ord(letter.upper())] = ord(other.upper())
    return table


def ranked_characters(counted: Mapping[str, int]) -> str:
    """Of characters with their counts the Chinese ones that are in no stop word, the commonest first."""
    fixed = {character for words in STOP_WORDS.values() for word in words for character in word}
    han = [(-n, c) for c, n in counted.items() if FIRST_HAN <= ord(c) <= LAST_HAN and c not in fixed]
    return "".join(c for _, c in sorted(han)[:COMMON_CHARACTERS])


@lru_cache(maxsize=512)
def characters(copy: int, ranked: str) -> Table:
    """The code point that stands for each from U+4E00 to U+9FFF in a copy; uint16[20992]."""
    table = np.arange(FIRST_HAN, LAST_HAN + 1, dtype=np.uint16)
    draw = random.Random(f"characters of copy {copy}")
    for start in range(0, len(ranked), BAND):
        band = ranked[start : start + BAND]
        for character, other in zip(band, draw.sample(band, len(band)) if copy else band, strict=True):
            table[ord(character) - FIRST_HAN] = ord(other)
    return table


@kernel
def rewrite(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], letters: npt.NDArray[np.uint8], han: Table
) -> npt.NDArray[np.int64]:
    """Rewrite UTF-8 texts in place; text i is data[offsets[i]:offsets[i + 1]]. No text changes its length.

    Returns how many bytes of each are in words and characters that are written otherwise.
    """
    rewritten = np.zeros(len(offsets) - 1, dtype=np.int64)
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        while at < end:
            byte = data[at]
            if letters[byte]:
                behind = at + 1
                while behind < end and letters[data[behind]]:
                    behind += 1
                if behind - at >= 6:  # LONG_WORD
                    for k in range(at, behind):
                        data[k] = letters[data[k]]
                    rewritten[i] += behind - at
                at = behind
            elif 0xE4 <= byte <= 0xE9 and at + 2 < end:
                code = ((byte & 15) << 12) | ((data[at + 1] & 63) << 6) | (data[at + 2] & 63)
                if 0x4E00 <= code <= 0x9FFF:
                    other = han[code - 0x4E00]
                    rewritten[i] += 3 * (other != code)
                    data[at] = 0xE0 | (other >> 12)
                    data[at + 1] = 0x80 | ((other >> 6) & 63)
                    data[at + 2] = 0x80 | (other & 63)
                at += 3
            else:
                at += 1
    return rewritten


def in_other_words(text: str, copy: int, ranked: str = "") -> str:
    """One text as it stands in a copy; without `ranked` Chinese stays as it is."""
    data = np.frombuffer(text.encode(), dtype=np.uint8).copy()
    rewrite(data, np.array([0, len(data)], dtype=np.int64), alphabet(copy), characters(copy, ranked))
    return data.tobytes().decode()
