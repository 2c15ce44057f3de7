"""Strings of code points by number, in tables that compiled loops read: equal hashes never confuse two strings."""

from collections.abc import Sequence

import numpy as np

from data_quality.characters import code_points
from data_quality.compiled import kernel

_GROWTH = 2
_AT_ONCE = 1 << 20  # characters of lines between two looks whether there is room


class StringTable:
    """Numbers strings from 0 in the order of their coming; string i is codes[offsets[i]:offsets[i + 1]]."""

    def __init__(self) -> None:
        self.known = 0
        self._slots = np.full(1024, -1, dtype=np.int64)
        self._hashes = np.zeros(256, dtype=np.uint64)
        self._offsets = np.zeros(257, dtype=np.int64)
        self._codes = np.zeros(4096, dtype=np.uint32)

    @property
    def nbytes(self) -> int:
        """What the table holds of memory; it makes room as if all strings that come were new."""
        return sum(array.nbytes for array in self._arrays())

    @property
    def offsets(self) -> np.ndarray:
        """int64[known + 1]."""
        return self._offsets[: self.known + 1]

    @property
    def codes(self) -> np.ndarray:
        """uint32 code points of all strings in a row."""
        return self._codes[: self._offsets[self.known]]

    def intern(self, codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Numbers of the strings codes[starts[i]:ends[i]], new ones included: int32[strings]."""
        self._reserve(len(starts), int((ends - starts).sum()))
        numbers, self.known = _intern(codes, starts, ends, self.known, *self._arrays())
        return numbers

    def find(self, codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Their numbers; -1 for one that is not known: int32[strings]."""
        return _find(codes, starts, ends, self._slots, self._offsets, self._codes)

    def intern_chunks(self, codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of what single spaces part in the lines codes[starts[i]:ends[i]], and which are each line's.

        As `str.split(" ")` parts them, but that a line without a character has none: int32[chunks], int64[lines + 1].
        """
        before = _count_chunks(codes, starts, ends)
        numbers = np.empty(before[-1], dtype=np.int32)
        characters = np.concatenate([[0], np.cumsum(ends - starts)])
        first = 0
        while first < len(starts):  # room is made as if all chunks were new: not for a whole long text at once
            last = int(np.searchsorted(characters, characters[first] + _AT_ONCE, side="right")) - 1
            last = max(last, first + 1)
            self._reserve(int(before[last] - before[first]), int(characters[last] - characters[first]))
            chosen = slice(first, last)
            bounds = before[first : last + 1]
            self.known = _intern_chunks(
                codes, starts[chosen], ends[chosen], bounds, numbers, self.known, *self._arrays()
            )
            first = last
        return numbers, before

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self._slots, self._hashes, self._offsets, self._codes

    def _reserve(self, strings: int, characters: int) -> None:
        """Make room for so many new strings."""
        most = self.known + strings
        if most > len(self._hashes):
            self._hashes = np.resize(self._hashes, _GROWTH * most)
            self._offsets = np.resize(self._offsets, _GROWTH * most + 1)
        most_characters = int(self._offsets[self.known]) + characters
        if most_characters > len(self._codes):
            self._codes = np.resize(self._codes, _GROWTH * most_characters)
        if 2 * most > len(self._slots):
            self._slots = np.full(1 << (2 * _GROWTH * most).bit_length(), -1, dtype=np.int64)
            _place(self._slots, self._hashes, self.known)


def encode_strings(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code points of some strings in a row, and where each starts and ends."""
    ends = np.cumsum([0, *map(len, strings)], dtype=np.int64)
    return code_points("".join(strings)), ends[:-1], ends[1:]


@kernel
def expand_chunks(chunks, before, ids, ends):  # type: ignore[no-untyped-def]
    """The ids of chunks in a row, int32, and where those of each line start, int64[lines + 1].

    Line i has the chunks before[i]:before[i + 1], chunk c the ids ends[c]:ends[c + 1].
    """
    starts = np.zeros(len(before), dtype=np.int64)
    for line in range(len(before) - 1):
        starts[line + 1] = starts[line]
        for chunk in range(before[line], before[line + 1]):
            starts[line + 1] += ends[chunks[chunk] + 1] - ends[chunks[chunk]]
    tokens = np.empty(starts[-1], dtype=np.int32)
    at = 0
    for chunk in chunks:
        for i in range(ends[chunk], ends[chunk + 1]):
            tokens[at] = ids[i]
            at += 1
    return tokens, starts


@kernel
def _hash(codes, start, end):  # type: ignore[no-untyped-def]
    value = np.uint64(end - start)
    for at in range(start, end):
        value = (value ^ np.uint64(codes[at])) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return value


@kernel
def _slot(codes, start, end, value, slots, offsets, arena):  # type: ignore[no-untyped-def]
    """Where a string stands in `slots`, or would. A slot has the upper half of a hash above the number, so that a
    string is compared only with what is almost surely the same."""
    mask = np.uint64(len(slots) - 1)
    slot = value & mask
    tag = np.int64(value >> np.uint64(33))
    while slots[slot] >= 0:
        if slots[slot] >> 32 == tag:
            number = slots[slot] & 0xFFFFFFFF
            first = offsets[number]
            if offsets[number + 1] - first == end - start:
                at = 0
                while at < end - start and arena[first + at] == codes[start + at]:
                    at += 1
                if at == end - start:
                    break
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def _number(codes, start, end, slots, hashes, offsets, arena, known):  # type: ignore[no-untyped-def]
    """The number of a string, which is `known` if it was added."""
    value = _hash(codes, start, end)
    slot = _slot(codes, start, end, value, slots, offsets, arena)
    if slots[slot] < 0:
        slots[slot] = np.int64(value >> np.uint64(33)) << 32 | known
        hashes[known] = value
        offsets[known + 1] = offsets[known] + end - start
        arena[offsets[known] : offsets[known + 1]] = codes[start:end]
    return slots[slot] & 0xFFFFFFFF


@kernel
def _intern(codes, starts, ends, known, slots, hashes, offsets, arena):  # type: ignore[no-untyped-def]
    numbers = np.empty(len(starts), dtype=np.int32)
    for i in range(len(starts)):
        numbers[i] = _number(codes, starts[i], ends[i], slots, hashes, offsets, arena, known)
        known += numbers[i] == known
    return numbers, known


@kernel
def _find(codes, starts, ends, slots, offsets, arena):  # type: ignore[no-untyped-def]
    numbers = np.empty(len(starts), dtype=np.int32)
    for i in range(len(starts)):
        value = _hash(codes, starts[i], ends[i])
        slot = _slot(codes, starts[i], ends[i], value, slots, offsets, arena)
        numbers[i] = slots[slot] & 0xFFFFFFFF if slots[slot] >= 0 else -1
    return numbers


@kernel
def _count_chunks(codes, starts, ends):  # type: ignore[no-untyped-def]
    before = np.zeros(len(starts) + 1, dtype=np.int64)
    for line in range(len(starts)):
        count = np.int64(ends[line] > starts[line])
        for at in range(starts[line], ends[line]):
            count += codes[at] == 32
        before[line + 1] = before[line] + count
    return before


@kernel
def _intern_chunks(  # type: ignore[no-untyped-def]
    codes, starts, ends, before, numbers, known, slots, hashes, offsets, arena
):
    for line in range(len(starts)):
        start = starts[line]
        for chunk in range(before[line], before[line + 1]):
            end = start
            while end < ends[line] and codes[end] != 32:
                end += 1
            numbers[chunk] = _number(codes, start, end, slots, hashes, offsets, arena, known)
            known += numbers[chunk] == known
            start = end + 1
    return known


@kernel
def _place(slots, hashes, known):  # type: ignore[no-untyped-def]
    """Enter strings that are all different."""
    mask = np.uint64(len(slots) - 1)
    for number in range(known):
        slot = hashes[number] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = np.int64(hashes[number] >> np.uint64(33)) << 32 | number
