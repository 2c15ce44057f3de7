"""Several seeds of one system: what they reach, how much they differ, and how sure that is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm.evaluate import bootstrap, metrics
from lm.finetune.predictions import PREDICTIONS_FILE, read_predictions
from lm.finetune.scores import metric_of


def summarise(folders: Sequence[Path], results: Sequence[dict[str, Any]], metric: str | None = None) -> dict[str, Any]:
    """What the runs in `folders`, whose metrics.json say `results`, reach.

    Returns `task`, `metric`, `seeds`, `best` (the place of the run that is best on valid, the first of equals) and
    `splits`: for valid and, if there is one, test, each metric of the task with `mean` and `sd` over the seeds, the
    smallest and largest of them (`least`, `most`), and `low`, `high`: the 95 % bootstrap interval of the mean over the
    items, which says how sure it is for these items' like, and not how other seeds would do.
    """
    splits = [split for split in ("valid", "test") if split in results[0]]
    found: dict[str, Any] = {}
    for split in splits:
        systems = [read_predictions(folder / PREDICTIONS_FILE, split) for folder in folders]
        task = systems[0].task
        found[split] = {}
        for name in task.metrics:
            figures = [p.figure(name) for p in systems]
            items = np.arange(len(systems[0].rows))
            values = [figure(items) for figure in figures]
            spread = metrics.over_seeds(values)
            between = bootstrap.interval(figures, len(items))
            found[split][name] = {
                "mean": spread.mean,
                "sd": spread.sd,
                "low": between.low,
                "high": between.high,
                "least": spread.low,
                "most": spread.high,
                "values": values,
            }
    chosen = metric or task.metrics[0]
    metric_of(task, chosen)
    best = int(np.argmax(found["valid"][chosen]["values"]))
    return {"task": task.name, "metric": chosen, "seeds": len(folders), "best": best, "splits": found}
