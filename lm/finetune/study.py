"""Systems against a baseline on the same items, and how small a difference such a set of items can show."""

import math
from collections.abc import Sequence
from pathlib import Path

from lm.finetune.predictions import compare

Z = 1.959964
DISAGREEMENTS = (0.05, 0.1, 0.2, 0.3)
"""Shares of items that only one of two systems gets right, for which `resolution` is told."""


def against(
    files: Sequence[Path], baseline: Sequence[Path], split: str, metric: str | None = None
) -> dict[str, float | bool]:
    """How much better a system is than a baseline (`compare`): `value`, `low`, `high`, `p_value`; `resolved`, whether
    the interval is without 0; and `resolves`, half the interval's width: about the smallest difference between two such
    systems that a set of these items would call one.

    The interval is over items. How other seeds would do is another question, which the standard deviations answer.
    """
    found = compare(files, baseline, split, metric)["difference"]
    apart = found["low"] > 0 or found["high"] < 0
    return {**found, "resolved": apart, "resolves": (found["high"] - found["low"]) / 2}


def resolution(items: int) -> dict[float, float]:
    """The smallest difference of two accuracies on the same `items` that is significant at 5 %, for several shares of
    items that only one of the two gets right: z * sqrt(share / items), the normal approximation of McNemar's test
    (1947) where the difference is small beside the share.

    Raises ValueError for no items.
    """
    if items < 1:
        raise ValueError("a set without items can show nothing")
    return {share: Z * math.sqrt(share / items) for share in DISAGREEMENTS}
