"""Systems against a baseline on the same items, and how small a difference such a set of items can show."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm.evaluate import bootstrap, metrics
from lm.finetune.predictions import compare, read_predictions
from lm.finetune.scores import metric_of

Z = 1.959964
DISAGREEMENTS = (0.05, 0.1, 0.2, 0.3)
"""Shares of items that only one of two systems gets right, for which `resolution` is told."""


def reached(files: Sequence[Path], split: str, metric: str | None = None) -> dict[str, Any]:
    """What one system reaches: `metric`, `values` of its seeds in their order, `mean`, `sd`, and `low`, `high`: the
    95 % bootstrap interval of the mean over the items; `items`: how many there are.

    Args:
        files: predictions of each seed.
        metric: None: the task's first.

    Raises ValueError for a metric that the task has not, or a split without predictions.
    """
    systems = [read_predictions(path, split) for path in files]
    task, items = systems[0].task, len(systems[0].rows)
    chosen = metric or task.metrics[0]
    metric_of(task, chosen)
    figures = [p.figure(chosen) for p in systems]
    values = [figure(np.arange(items)) for figure in figures]
    spread, between = metrics.over_seeds(values), bootstrap.interval(figures, items)
    found = {"metric": chosen, "values": values, "mean": spread.mean, "sd": spread.sd}
    return found | {"low": between.low, "high": between.high, "items": items}


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
