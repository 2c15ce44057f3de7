"""Predictions as a table that says everything a report needs, and the comparison of two systems on the same items."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lm.evaluate import bootstrap, metrics
from lm.finetune.scores import metric_of, scores
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, MultipleChoice, QuestionAnswering, Regression, Tagging

PREDICTIONS_FILE = "predictions.parquet"
TASK = b"task"
"""Key of the file's metadata that holds the task."""
_CHOSEN = {"label": pa.int32(), "predicted": pa.int32(), "probabilities": pa.list_(pa.float32())}
_TAGS = pa.list_(pa.string())
COLUMNS: dict[type, dict[str, pa.DataType]] = {
    Classification: _CHOSEN,
    MultipleChoice: _CHOSEN,
    Regression: {"label": pa.float64(), "predicted": pa.float64()},
    Tagging: {"label": _TAGS, "predicted": _TAGS, "probabilities": pa.list_(pa.float32())},
    QuestionAnswering: {
        "label": pa.list_(pa.string()),
        "predicted": pa.string(),
        "span": pa.string(),
        "start": pa.int32(),
        "end": pa.int32(),
        "probability": pa.float32(),
        "null_difference": pa.float64(),
    },
}
"""By form, besides `split` and `id`. Of tagging `probabilities` are those of the predicted tags; what the columns of
questions are says `lm.finetune.forms.questions.QuestionForm.answers`."""
LABELS = {Tagging: "tags", QuestionAnswering: "answers"}
"""The column of a labelled set that is `label` here, where it has another name."""


@dataclass(frozen=True)
class Predictions:
    """What a system says about the items of a task: a mapping of the columns for each."""

    task: Task
    rows: Sequence[Mapping[str, Any]]

    @property
    def ids(self) -> list[str]:
        """In the order of the rows."""
        return [row["id"] for row in self.rows]

    @property
    def labels(self) -> np.ndarray:
        """Of a task whose labels are numbers, [n]."""
        return np.array([row["label"] for row in self.rows])

    @property
    def predicted(self) -> np.ndarray:
        """Of such a task, [n]; of a class the most probable, the first of equals."""
        return np.array([row["predicted"] for row in self.rows])

    def scores(self) -> dict[str, Any]:
        """The figures of `lm.finetune.scores.scores`."""
        return scores(self.task, self.rows)

    def figure(self, name: str | None = None) -> Callable[[np.ndarray], float]:
        """A metric (None: the task's first) as a function of the places of items, for `lm.evaluate.bootstrap`."""
        metric = metric_of(self.task, name)
        rows = metric.rows(self.task, self.rows)
        return lambda chosen: metric.value(rows[chosen])


def label_column(task: Task) -> str:
    """The column of a labelled set that holds what is to be predicted."""
    return LABELS.get(type(task.ask), "label")


def write_predictions(path: Path, by_split: Mapping[str, Predictions]) -> None:
    """One Parquet file: split, id and the columns of the task's form, which is in the file's metadata."""
    task = next(iter(by_split.values())).task
    fields = {"split": pa.string(), "id": pa.string(), **COLUMNS[type(task.ask)]}
    schema = pa.schema(list(fields.items()), metadata={TASK: task.model_dump_json()})
    rows = [{**row, "split": split} for split, p in by_split.items() for row in p.rows]
    table = pa.table({name: [row[name] for row in rows] for name in fields}, schema=schema)
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)


def read_predictions(path: Path, split: str) -> Predictions:
    """The predictions of one split ("valid" or "test"). Raises ValueError if there are none."""
    table = pq.ParquetFile(path).read()
    if TASK not in (table.schema.metadata or {}):
        raise ValueError(f"{path}: no predictions of a fine-tuned model: it does not say what task they are for")
    rows = [row for row in table.to_pylist() if row.pop("split") == split]
    if not rows:
        raise ValueError(f"{path}: no predictions for split {split!r}")
    return Predictions(Task.model_validate_json(table.schema.metadata[TASK]), rows)


def compare(
    first: Sequence[Path], second: Sequence[Path], split: str = "test", metric: str | None = None
) -> dict[str, Any]:
    """Two systems, each given as the predictions files of its seeds, on the items of one split.

    Returns for each of them the metric (None: the task's first) over seeds (mean, sd, low, high, seeds), and their
    `difference` (value, low, high, p_value) by a paired bootstrap over items: of the items' mean scores over seeds
    where the metric is a mean over items, else of the figure itself, made anew of each resampled set of items.
    Raises ValueError if the files are not about the same items.
    """
    systems = [[read_predictions(path, split) for path in paths] for paths in (first, second)]
    if not all(systems):
        raise ValueError("give at least one predictions file for each of the two systems")
    reference = systems[0][0]
    for paths, system in zip((first, second), systems, strict=True):
        for path, predictions in zip(paths, system, strict=True):
            same = predictions.ids == reference.ids and predictions.task.ask == reference.task.ask
            if not same or [r["label"] for r in predictions.rows] != [r["label"] for r in reference.rows]:
                raise ValueError(f"{path}: not the same {split} items as {first[0]}")
    asked = metric_of(reference.task, metric)
    rows = [[asked.rows(p.task, p.rows) for p in system] for system in systems]
    spreads = [metrics.over_seeds([asked.value(of) for of in system])._asdict() for system in rows]
    if asked.is_mean:
        difference = metrics.paired_bootstrap(*(np.stack(system).mean(axis=0) for system in rows))
    else:
        figures = [[p.figure(metric) for p in system] for system in systems]
        difference = bootstrap.difference(figures[0], figures[1], len(reference.rows))
    return {"first": spreads[0], "second": spreads[1], "difference": difference._asdict()}
