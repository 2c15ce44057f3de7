"""Shingles: a text as a set of 64-bit hashes of n consecutive words (or characters) of its normalised form.

The normal form is that of datatrove's MinHash (`utils/text.py: simplify_text`): lower case, numbers to 0, punctuation
and symbols to a space, NFD without non-spacing marks. It is computed code point by code point from one table, on the
UTF-8 bytes of an Arrow array, so that no Python string is ever built. Two differences are deliberate: words end at
separators only (datatrove runs a language's tokenizer on the normal form), and a letter of a script that is written
without spaces (Han, Kana, Thai, ...) is with its marks a word of its own, so that no sentence is ever one word.
"""

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from data_quality import scripts
from data_quality.compiled import kernel
from data_quality.kept_tables import kept_tables
from data_quality.scripts import HAN, KANA, LETTERS, MARKS, ranges

NORMAL_FORM_VERSION = f"3-unicode-{unicodedata.unidata_version}"
"""Shapes every shingle. The key of a stage that stores signatures has both: the first in the stage's version."""

UInt64s = npt.NDArray[np.uint64]

WORD, SEPARATOR, INVISIBLE, DIGIT, SINGLE, EXPANDS, MARK = range(7)
_KIND_SHIFT = 24
_VALUE_MASK = (1 << _KIND_SHIFT) - 1
_DECIMAL_MARKS = np.array(sorted(ord(c) for c in ".,،٫⎖⎗⎘"), dtype=np.uint32)

_UNSPACED, _UNSPACED_MARKS = ranges(HAN + KANA + LETTERS), ranges(MARKS)
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF))  # no case, no decomposition: filled in bulk
_LAST_LOOKED_UP = 0x2FFFF  # planes above hold ideographs, tags, variation selectors and private use only


@cache
def normal_form_table(numbers: str = "zero") -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """What each code point becomes: (table, expansions). `numbers`: whether all are "zero", or digits are to "keep".

    `table[c]` is kind << 24 | value. For WORD, SINGLE and MARK (a spacing mark, which joins the SINGLE before it) the
    value is the normalised code point; for EXPANDS it is start << 2 | length of a slice of `expansions` (Hangul
    syllables and a few Indic vowels decompose into several).
    """
    table, expansions = kept_tables(
        f"normal-forms-{numbers}", lambda: _make_normal_forms(numbers), __file__, scripts.__file__
    )
    return table, expansions


def _make_normal_forms(numbers: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    code_points = np.arange(0x110000, dtype=np.uint32)
    table = code_points.copy()
    for first, last in _UNSPACED:
        table[first : last + 1] = code_points[first : last + 1] | np.uint32(SINGLE << _KIND_SHIFT)
    table[0xE0000:0xE1000] = INVISIBLE << _KIND_SHIFT
    skipped = np.zeros(_LAST_LOOKED_UP + 1, dtype=bool)
    for first, last in _IDEOGRAPHS:
        skipped[first : last + 1] = True
    skipped[0xD800:0xF900] = True  # surrogates and private use
    skipped[0x18B00:0x1AFF0] = True
    skipped[0x20000:0x2F800] = True
    expansions: list[int] = []
    for code in np.flatnonzero(~skipped).tolist():
        table[code] = _normal_form(chr(code), expansions)
    if numbers == "keep":
        for code in np.flatnonzero(table >> _KIND_SHIFT == DIGIT).tolist():
            table[code] = WORD << _KIND_SHIFT | ord("0") + unicodedata.decimal(chr(code))
    return table, np.array(expansions, dtype=np.uint32)


def _normal_form(character: str, expansions: list[int]) -> int:
    category = unicodedata.category(character)
    if category == "Nd":
        return DIGIT << _KIND_SHIFT
    if category[0] in "PSZ" or category == "Cc" or character == "\u200b":
        return SEPARATOR << _KIND_SHIFT
    if category == "Cf":
        return INVISIBLE << _KIND_SHIFT
    lower = character.lower().replace("ς", "σ")
    codes = [ord(c) for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) != "Mn"]
    if not codes:
        return INVISIBLE << _KIND_SHIFT
    if len(codes) > 1:
        expansions.extend(codes)
        return EXPANDS << _KIND_SHIFT | (len(expansions) - len(codes)) << 2 | len(codes)
    kind = SINGLE if _within(codes[0], _UNSPACED) else MARK if _within(codes[0], _UNSPACED_MARKS) else WORD
    return kind << _KIND_SHIFT | codes[0]


def _within(code: int, among: list[tuple[int, int]]) -> bool:
    return any(first <= code <= last for first, last in among)


@kernel
def _mix(value: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection, every input bit moves every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _absorb(state: np.uint64, symbol: np.uint64) -> np.uint64:
    state = (state ^ symbol) * np.uint64(0x9E3779B97F4A7C15)
    return state ^ (state >> np.uint64(32))


@kernel
def _decode(data, position):  # type: ignore[no-untyped-def]
    """The code point at `position` of valid UTF-8, and the position after it."""
    byte = np.uint32(data[position])
    if byte < 0x80:
        return byte, position + 1
    second = np.uint32(data[position + 1]) & np.uint32(0x3F)
    if byte < 0xE0:
        return (byte & np.uint32(0x1F)) << np.uint32(6) | second, position + 2
    third = np.uint32(data[position + 2]) & np.uint32(0x3F)
    if byte < 0xF0:
        return (byte & np.uint32(0x0F)) << np.uint32(12) | second << np.uint32(6) | third, position + 3
    fourth = np.uint32(data[position + 3]) & np.uint32(0x3F)
    high = (byte & np.uint32(0x07)) << np.uint32(18) | second << np.uint32(12)
    return high | third << np.uint32(6) | fourth, position + 4


@kernel
def _after_number(data, position, end, table, decimal_marks):  # type: ignore[no-untyped-def]
    """Where a number ends whose first digit ends at `position`: digits, then one decimal mark with more digits."""
    fraction = False
    while position < end:
        code, following = _decode(data, position)
        if table[code] >> _KIND_SHIFT == DIGIT:
            position = following
            continue
        if fraction or following >= end:
            return position
        is_mark = False
        for mark in decimal_marks:
            is_mark |= mark == code
        if not is_mark:
            return position
        code, following = _decode(data, following)
        if table[code] >> _KIND_SHIFT != DIGIT:
            return position
        fraction = True
        position = following
    return position


@kernel
def _hash_units(data, start, end, table, expansions, decimal_marks, by_character, units):  # type: ignore[no-untyped-def]
    """Write the hash of every word (or character) of data[start:end] to `units`; return their number."""
    count = 0
    empty = np.uint64(0x243F6A8885A308D3)
    word = empty
    single = empty  # the last unit if it may still get marks, or empty
    letters = 0
    gap = False  # a separator was seen since the last unit (only characters care)
    position = start
    while position < end:
        code, position = _decode(data, position)
        entry = table[code]
        kind = entry >> _KIND_SHIFT
        first = np.uint64(entry & np.uint32(_VALUE_MASK))
        length = 1
        if kind == INVISIBLE:
            continue
        if kind == SEPARATOR:
            if letters > 0:
                units[count] = _mix(word)
                count += 1
                word = empty
                letters = 0
            single = empty
            gap = True
            continue
        if kind == DIGIT:
            position = _after_number(data, position, end, table, decimal_marks)
            first = np.uint64(48)
        elif kind == EXPANDS:
            length = int(first & np.uint64(3))
        for i in range(length):
            symbol = np.uint64(expansions[int(first >> np.uint64(2)) + i]) if kind == EXPANDS else first
            if by_character:
                if gap and count > 0:
                    units[count] = _mix(np.uint64(32))
                    count += 1
                gap = False
                units[count] = _mix(symbol)
                count += 1
            elif kind == SINGLE:
                if letters > 0:
                    units[count] = _mix(word)
                    count += 1
                    word = empty
                    letters = 0
                single = _absorb(empty, symbol)
                units[count] = _mix(single)
                count += 1
            elif kind == MARK and single != empty:
                single = _absorb(single, symbol)
                units[count - 1] = _mix(single)
            else:
                word = _absorb(word, symbol)
                letters += 1
                single = empty
    if letters > 0:
        units[count] = _mix(word)
        count += 1
    return count


@kernel
def _roll(units, count, size, base_power, out):  # type: ignore[no-untyped-def]
    """Rabin-Karp over unit hashes mod 2^64, each window finished by `_mix`; returns how many windows (at least 1)."""
    base = np.uint64(0xD6E8FEB86659FD93)
    rolling = np.uint64(0)
    windows = 0
    for i in range(count):
        rolling = rolling * base + units[i]
        if i >= size - 1:
            out[windows] = _mix(rolling)
            windows += 1
            rolling -= units[i - size + 1] * base_power
    if windows == 0:
        out[0] = _mix(rolling)
        windows = 1
    return windows


@kernel
def _sorted_unique(values):  # type: ignore[no-untyped-def]
    """Sort in place, move the distinct values to the front, return their number."""
    values.sort()
    distinct = 1
    for i in range(1, len(values)):
        if values[i] != values[distinct - 1]:
            values[distinct] = values[i]
            distinct += 1
    return distinct


@kernel
def _shingle_batch(data, offsets, table, expansions, decimal_marks, by_character, size, out, ends):  # type: ignore[no-untyped-def]
    base_power = np.uint64(1)
    for _ in range(size - 1):
        base_power *= np.uint64(0xD6E8FEB86659FD93)
    longest = 1
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    units = np.empty(longest, dtype=np.uint64)
    filled = 0
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        count = _hash_units(data, start, end, table, expansions, decimal_marks, by_character, units)
        if count > 0:
            windows = _roll(units, count, size, base_power, out[filled:])
            filled += _sorted_unique(out[filled : filled + windows])
        else:  # nothing but punctuation: "!!!" and "???" have equal (empty) normal forms and are not duplicates
            raw = np.uint64(0x13198A2E03707344)
            for i in range(start, end):
                raw = _absorb(raw, np.uint64(data[i]))
            out[filled] = _mix(raw)
            filled += 1
        ends[d] = filled
    return filled


def shingle_texts(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    *,
    unit: str = "word",
    size: int = 5,
    numbers: str = "zero",
) -> tuple[UInt64s, npt.NDArray[np.int64]]:
    """Sorted distinct shingle hashes of n texts: (hashes, ends); text i has hashes[ends[i-1]:ends[i]].

    Args:
        data: UTF-8 bytes, valid; text i is data[offsets[i]:offsets[i+1]].
        offsets: n + 1 byte positions, not decreasing.
        unit: "word" or "character".
        size: units per shingle. A text with fewer units is one shingle; a text without any is its bytes' hash.
        numbers: "zero" makes every number 0, "keep" lets digits be (of all scripts as ASCII ones).
    """
    table, expansions = normal_form_table(numbers)
    texts = len(offsets) - 1
    data = data.view()
    data.flags.writeable = False  # one compiled variant for Arrow's buffers and for our own
    # A normalised unit never takes fewer bytes than one, so bytes bound units; every text has at least one shingle.
    out = np.empty(int(offsets[-1] - offsets[0]) + texts, dtype=np.uint64)
    ends = np.empty(texts, dtype=np.int64)
    filled = _shingle_batch(data, offsets, table, expansions, _DECIMAL_MARKS, unit == "character", size, out, ends)
    return out[:filled].copy(), ends


def shingle_text(text: str, *, unit: str = "word", size: int = 5, numbers: str = "zero") -> UInt64s:
    """`shingle_texts` for one string; raises UnicodeEncodeError for lone surrogates."""
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    offsets = np.array([0, len(data)], dtype=np.int64)
    return shingle_texts(data, offsets, unit=unit, size=size, numbers=numbers)[0]
