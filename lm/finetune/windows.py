"""Long inputs in windows that overlap, and which window is right about what stands in several."""

from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """Places begin .. end - 1."""

    begin: int
    end: int


def windows(length: int, size: int, stride: int) -> list[Window]:
    """Windows of `size` places, each `stride` further on, until the last place is in one; the last may be shorter
    (google-research/bert `run_squad.py`, "doc spans"). One empty window for nothing.

    Raises ValueError for a stride that leaves places out.
    """
    if not 1 <= stride <= size:
        raise ValueError(f"windows of {size} tokens cannot move on by {stride}: the stride must be within 1..{size}")
    found = [Window(0, min(size, length))]
    while found[-1].end < length:
        begin = found[-1].begin + stride
        found.append(Window(begin, min(begin + size, length)))
    return found


def best_windows(found: list[Window], causal: bool = False) -> np.ndarray:
    """Which window has most around each place, int64 [places]: that with the larger smaller side (as in `run_squad.py`,
    "max context"), plus a hundredth of its length; for a causal model, which sees what is before a place alone, that
    with the larger left side. The first of equals."""
    begin = np.array([window.begin for window in found])[:, None]
    end = np.array([window.end for window in found])[:, None]
    place = np.arange(found[-1].end)
    left, right = place - begin, end - 1 - place
    score = left.astype(np.float64) if causal else np.minimum(left, right) + 0.01 * (end - begin)
    best: np.ndarray = np.where((left >= 0) & (right >= 0), score, -np.inf).argmax(0)
    return best
