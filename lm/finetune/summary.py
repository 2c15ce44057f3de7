"""Several seeds of one system: what they reach, how much they differ, and how sure that is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm.evaluate import bootstrap, metrics
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, read_predictions
from lm.finetune.scores import metric_of


def reached(systems: Sequence[Predictions], metric: str) -> dict[str, Any]:
    """What one system reaches: `values` of its seeds in their order, their `mean` and `sd`, and `low`, `high`: the 95 %
    bootstrap interval of the mean over the items, which says how sure it is for these items' like, and not how other
    seeds would do.

    Args:
        systems: predictions of each seed, of the same items.
    """
    items = len(systems[0].rows)
    figures = [p.figure(metric) for p in systems]
    values = [figure(np.arange(items)) for figure in figures]
    spread, between = metrics.over_seeds(values), bootstrap.interval(figures, items)
    return {"values": values, "mean": spread.mean, "sd": spread.sd, "low": between.low, "high": between.high}


def summarise(folders: Sequence[Path], results: Sequence[dict[str, Any]], metric: str | None = None) -> dict[str, Any]:
    """What the runs in `folders`, whose metrics.json say `results`, reach.

    Returns `task`, `metric`, `seeds`, `best` (the place of the run that is best on valid, the first of equals), `lost`
    (of each split, how many examples did not fit) and `splits`: for valid and, if there is one, test, each metric of
    the task as `reached` has it, with the smallest and largest of the seeds (`least`, `most`).
    """
    splits = [split for split in ("valid", "test") if split in results[0]]
    found: dict[str, Any] = {}
    for split in splits:
        systems = [read_predictions(folder / PREDICTIONS_FILE, split) for folder in folders]
        task = systems[0].task
        figures = {name: reached(systems, name) for name in task.metrics}
        found[split] = {
            name: {**of, "least": min(of["values"]), "most": max(of["values"])} for name, of in figures.items()
        }
    chosen = metric or task.metrics[0]
    metric_of(task, chosen)
    best = int(np.argmax(found["valid"][chosen]["values"]))
    about = {"task": task.name, "metric": chosen, "seeds": len(folders), "best": best}
    return {**about, "lost": results[0].get("lost", {}), "splits": found}
