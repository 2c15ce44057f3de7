"""Predictions as a table, their figures, and the comparison of two systems on the same items."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lm.evaluate import metrics

PREDICTIONS_FILE = "predictions.parquet"
_SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "id": pa.string(),
        "label": pa.int32(),
        "predicted": pa.int32(),
        "probabilities": pa.list_(pa.float32()),
    }
)


@dataclass(frozen=True)
class Predictions:
    """What a system says about n items: ids, labels [n] and probabilities [n, C]."""

    ids: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """int64 [n]: the most probable class, the first of equals."""
        return self.probabilities.argmax(axis=1)

    def scores(self) -> dict[str, Any]:
        """examples, accuracy with its 95 % Wilson interval, macro_f1, nats per example, confusion [C][C]."""
        classes = self.probabilities.shape[1]
        share = metrics.accuracy(self.labels, self.predicted)
        of_label = self.probabilities[np.arange(len(self.labels)), self.labels].astype(np.float64)
        return {
            "examples": len(self.labels),
            "accuracy": share.value,
            "accuracy_low": share.low,
            "accuracy_high": share.high,
            "macro_f1": metrics.macro_f1(self.labels, self.predicted, classes),
            "nats": float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()),
            "confusion": metrics.confusion_matrix(self.labels, self.predicted, classes).tolist(),
        }


def write_predictions(path: Path, by_split: Mapping[str, Predictions]) -> None:
    """One Parquet file: split, id, label, predicted, probabilities (list of float)."""
    tables = [
        pa.table(
            {
                "split": [split] * len(p.ids),
                "id": list(p.ids),
                "label": p.labels,
                "predicted": p.predicted,
                "probabilities": p.probabilities.astype(np.float32).tolist(),
            },
            schema=_SCHEMA,
        )
        for split, p in by_split.items()
    ]
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.concat_tables(tables), temporary, compression="zstd")
    os.replace(temporary, path)


def read_predictions(path: Path, split: str) -> Predictions:
    """The predictions of one split ("valid" or "test"). Raises ValueError if there are none."""
    rows = [row for row in pq.ParquetFile(path).read().to_pylist() if row["split"] == split]
    if not rows:
        raise ValueError(f"{path}: no predictions for split {split!r}")
    return Predictions(
        [row["id"] for row in rows],
        np.array([row["label"] for row in rows], np.int64),
        np.array([row["probabilities"] for row in rows], np.float32),
    )


def compare(first: Sequence[Path], second: Sequence[Path], split: str = "test") -> dict[str, Any]:
    """Two systems, each given as the predictions files of its seeds, on the items of one split.

    Returns for each of them `accuracy` over seeds (mean, sd, low, high, seeds), and their `difference` in
    accuracy (value, low, high, p_value): a paired bootstrap over items of the mean correctness over seeds.
    Raises ValueError if the files are not about the same items.
    """
    systems = [[read_predictions(path, split) for path in paths] for paths in (first, second)]
    if not all(systems):
        raise ValueError("give at least one predictions file for each of the two systems")
    reference = systems[0][0]
    correct = []
    for paths, system in zip((first, second), systems, strict=True):
        for path, predictions in zip(paths, system, strict=True):
            if list(predictions.ids) != list(reference.ids) or (predictions.labels != reference.labels).any():
                raise ValueError(f"{path}: not the same {split} items as {first[0]}")
        correct.append(np.stack([p.predicted == p.labels for p in system]).astype(np.float64))
    spreads = [metrics.over_seeds(c.mean(axis=1).tolist())._asdict() for c in correct]
    difference = metrics.paired_bootstrap(correct[0].mean(axis=0), correct[1].mean(axis=0))
    return {"first": spreads[0], "second": spreads[1], "difference": difference._asdict()}
