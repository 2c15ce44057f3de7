"""Rows of unequal length as one array."""

from collections.abc import Sequence

import numpy as np


def padded(rows: Sequence[np.ndarray], padding: float) -> np.ndarray:
    """Rows padded on the right with `padding`: [rows, longest], of the type of the first. At least one row."""
    out = np.full((len(rows), max(map(len, rows))), padding, dtype=rows[0].dtype)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out
