"""A set of hashes as bits: every hash that was added is found in it, and of the others at most one in eight."""

import numpy as np
import numpy.typing as npt

from data_quality.compiled import kernel

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

_BITS_PER_HASH = 16  # the number of bits is a power of two, so that it may be half of this
_LEAST_BITS, _MOST_BITS = 1 << 16, 1 << 34


class Marks:
    """Which hashes are looked for. They are taken for well mixed: the upper bits say where one has its bit."""

    def __init__(self, expected: int, most_bytes: int) -> None:
        """An empty set.

        Args:
            expected: how many hashes are added at most; with more of them, or little memory, more others are found.
            most_bytes: of memory.
        """
        wanted = min(_BITS_PER_HASH * expected, 8 * most_bytes, _MOST_BITS)
        bits = max(_LEAST_BITS.bit_length() - 1, wanted.bit_length() - 1)
        self._shift = np.uint64(64 - bits)
        self._words = np.zeros(1 << (bits - 6), dtype=np.uint64)

    def add(self, hashes: UInt64s) -> None:
        """Mark some hashes."""
        _add(hashes, self._shift, self._words)

    def places(self, hashes: UInt64s) -> Int64s:
        """Where in an array a marked hash stands, ascending."""
        found = np.empty(len(hashes), dtype=np.int64)
        return found[: _places(hashes, self._shift, self._words, found)].copy()


@kernel
def _add(hashes, shift, words):  # type: ignore[no-untyped-def]
    for value in hashes:
        slot = value >> shift
        words[slot >> np.uint64(6)] |= np.uint64(1) << (slot & np.uint64(63))


@kernel
def _places(hashes, shift, words, found):  # type: ignore[no-untyped-def]
    """Fill `found` and return how many there are. Without a branch: which hash is marked cannot be foretold."""
    count = 0
    for at in range(len(hashes)):
        slot = hashes[at] >> shift
        found[count] = at
        count += np.int64((words[slot >> np.uint64(6)] >> (slot & np.uint64(63))) & np.uint64(1))
    return count
