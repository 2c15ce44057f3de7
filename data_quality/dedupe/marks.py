"""A set of hashes as bits: every hash that was added is found in it, and of the others about one in fifty."""

import numpy as np
import numpy.typing as npt

from data_quality.compiled import kernel

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

_BITS_PER_HASH = 64  # the number of bits is a power of two, so that it may be half of this
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

    def found_in(self, hashes: UInt64s, offsets: Int64s, ranks: Int64s) -> UInt64s:
        """(hash, rank << 32 | place in the row) of the marked hashes of rows with a rank: uint64 of shape [n, 2].

        Row i has the hashes from offsets[i] to offsets[i + 1], and takes no part where its rank is negative.
        """
        most = int(np.diff(offsets)[ranks >= 0].sum())
        found = np.empty((most + 1, 2), dtype=np.uint64)  # one more, which is written to behind the last
        return found[: _find(hashes, offsets, ranks, self._shift, self._words, found)]


@kernel
def _add(hashes, shift, words):  # type: ignore[no-untyped-def]
    for value in hashes:
        slot = value >> shift
        words[slot >> np.uint64(6)] |= np.uint64(1) << (slot & np.uint64(63))


@kernel
def _find(hashes, offsets, ranks, shift, words, found):  # type: ignore[no-untyped-def]
    """Fill `found` and return how many there are. Without a branch: which hash is marked cannot be foretold."""
    count = 0
    half = np.uint64(32)
    for row in range(len(ranks)):
        if ranks[row] < 0:
            continue
        rank = np.uint64(ranks[row]) << half
        for at in range(offsets[row], offsets[row + 1]):
            value = hashes[at]
            slot = value >> shift
            found[count, 0] = value
            found[count, 1] = rank | np.uint64(at - offsets[row])
            count += np.int64((words[slot >> np.uint64(6)] >> (slot & np.uint64(63))) & np.uint64(1))
    return count
