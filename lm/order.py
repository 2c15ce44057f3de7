"""Order is a function, randomness is a function: what comes at position p follows from the seed and p.

The order of an epoch is a keyed bijection of [0, n): a Feistel network over the next power of four, walked
until it lands inside (Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 4). Any position
is found in O(1), so that a checkpoint needs one integer to know where the data stands.
"""

import hashlib
from collections.abc import Callable

import numpy as np

ROUNDS = 8

Order = Callable[[int, int, int, int], np.ndarray]
"""(start, count, n, seed) -> the examples at positions start .. start + count - 1 of an endless run over n."""


def draw_seed(seed: int, *purpose: int | str) -> int:
    """63 random bits for one purpose, such as `draw_seed(seed, step, "dropout")`."""
    text = "\x1f".join([str(seed), *(f"{type(p).__name__}:{p}" for p in purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Permutation:
    """The permutation of [0, n) that belongs to (seed, epoch)."""

    def __init__(self, n: int, seed: int, epoch: int = 0) -> None:
        if n < 1:
            raise ValueError(f"cannot order {n} examples")
        self.n = n
        self._half_bits = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
        self._half_mask = np.uint64((1 << int(self._half_bits)) - 1)
        self._keys = [np.uint64(draw_seed(seed, "order", epoch, r)) for r in range(ROUNDS)]

    def _encipher(self, x: np.ndarray) -> np.ndarray:
        left, right = x >> self._half_bits, x & self._half_mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right + key) & self._half_mask)
        return (left << self._half_bits) | right

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Which examples stand at `positions` (integers in [0, n)), as int64 of the same shape."""
        positions = np.asarray(positions)
        if positions.size and not (positions.min() >= 0 and positions.max() < self.n):
            raise IndexError(f"positions must lie in [0, {self.n})")
        x = self._encipher(positions.astype(np.uint64))
        while (outside := x >= self.n).any():
            x[outside] = self._encipher(x[outside])
        return x.astype(np.int64)


def examples_at(start: int, count: int, n: int, seed: int) -> np.ndarray:
    """The examples at positions start .. start + count - 1 of the endless run of epochs over n examples."""
    positions = np.arange(start, start + count, dtype=np.int64)
    epochs = positions // n
    chosen = np.empty(count, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        chosen[here] = Permutation(n, seed, int(epoch))[positions[here] % n]
    return chosen


def in_order(start: int, count: int, n: int, seed: int) -> np.ndarray:
    """The examples of a stream, whose number goes on over the epochs: start .. start + count - 1 (`lm.streams`)."""
    return np.arange(start, start + count, dtype=np.int64)


def numbered_by_epoch(start: int, count: int, n: int, seed: int) -> np.ndarray:
    """`examples_at`, each as epoch * n + example: for examples that differ from epoch to epoch (dynamic masks)."""
    positions = np.arange(start, start + count, dtype=np.int64)
    return examples_at(start, count, n, seed) + positions // n * n
