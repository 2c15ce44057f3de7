"""Which words a step looks at: frequent ones are left out at random, negatives are drawn by their counts."""

import numpy as np

TWO_32 = 2.0**32


def keep_chances(counts: np.ndarray, sample: float) -> np.ndarray:
    """The chance of each word to stay in the text, uint64 [words] in units of 2**-32.

    (√(f / t) + 1) t / f, f being the word's share of the text, as in the released program; the paper's equation 5 is
    √(t / f). t = `sample`; 0: every word stays.
    """
    if sample == 0.0:
        return np.full(len(counts), int(TWO_32), dtype=np.uint64)
    excess = counts / counts.sum() / sample
    return (np.minimum((np.sqrt(excess) + 1) / excess, 1.0) * TWO_32).astype(np.uint64)


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two tables to draw i with probability weights[i] / Σ weights in constant time (Walker 1977; Vose 1991).

    Draw a cell uniformly; with the chance share[cell] (uint32 [n], in units of 2**-32) it is the cell itself, else
    other[cell] (int32 [n]). Raises ValueError if there is nothing to draw.
    """
    if not len(weights) or not (np.isfinite(weights).all() and weights.min() >= 0.0 and weights.sum() > 0.0):
        raise ValueError("negatives are drawn by weights that are finite, not negative, and not all 0")
    full = (weights.astype(np.float64) / weights.sum() * len(weights)).tolist()
    share, other = [TWO_32] * len(full), list(range(len(full)))
    small = [i for i, height in enumerate(full) if height < 1.0]
    large = [i for i, height in enumerate(full) if height >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        share[low], other[low] = full[low] * TWO_32, high
        full[high] -= 1.0 - full[low]
        if full[high] < 1.0:
            small.append(large.pop())
    # Where the share is all, the other is the cell itself: what 32 bits cannot hold of it is not missed.
    return np.minimum(np.array(share), TWO_32 - 1).astype(np.uint32), np.array(other, dtype=np.int32)
