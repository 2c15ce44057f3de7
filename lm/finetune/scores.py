"""The metrics of every form of task, by name: what each needs of an item, and the figure of many of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lm.evaluate import metrics
from lm.evaluate.metrics_answers import best, scores_of
from lm.evaluate.metrics_calibration import expected_calibration_error, reliability
from lm.evaluate.metrics_entities import entity_counts, micro_f1
from lm.evaluate.metrics_labels import binary_f1, matthews, pearson, spearman
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, MultipleChoice, QuestionAnswering, Regression, Tagging

Answered = Mapping[str, Any]
"""`label` and what was predicted, as `lm.finetune.predictions` stores them."""


@dataclass(frozen=True)
class Metric:
    """A figure of items that are resampled together: larger is better."""

    rows: Callable[[Task, Sequence[Answered]], np.ndarray]
    """What it needs of each item, [items, ...]."""
    value: Callable[[np.ndarray], float]
    """The figure of rows, of which some may occur several times."""
    is_mean: bool = False
    """Whether it is the mean of its rows, one number each."""


def _labels(task: Task, answered: Sequence[Answered]) -> np.ndarray:
    return np.array([(a["label"], a["predicted"]) for a in answered], np.int64).reshape(-1, 2)


def _right(task: Task, answered: Sequence[Answered]) -> np.ndarray:
    return np.array([a["label"] == a["predicted"] for a in answered], np.float64)


def _numbers(task: Task, answered: Sequence[Answered]) -> np.ndarray:
    return np.array([(a["label"], a["predicted"]) for a in answered], np.float64).reshape(-1, 2)


def _entities(task: Task, answered: Sequence[Answered]) -> np.ndarray:
    return np.array([entity_counts(a["label"], a["predicted"]) for a in answered], np.int64).reshape(-1, 3)


def _right_words(task: Task, answered: Sequence[Answered]) -> np.ndarray:
    pairs = [(a["label"], a["predicted"]) for a in answered]
    return np.array([(sum(x == y for x, y in zip(*pair, strict=True)), len(pair[0])) for pair in pairs], np.int64)


def _answers(name: str) -> Callable[[Task, Sequence[Answered]], np.ndarray]:
    def rows(task: Task, answered: Sequence[Answered]) -> np.ndarray:
        assert isinstance(task.ask, QuestionAnswering)
        none = task.ask.unanswerable
        score = scores_of(task.language, none)[name]
        return np.array([best(score, a["label"], a["predicted"], none) for a in answered], np.float64)

    return rows


def _mean(rows: np.ndarray) -> float:
    return float(rows.mean())


def _share(rows: np.ndarray) -> float:
    right, total = rows.sum(0)
    return float(right / max(total, 1))


def _classes(rows: np.ndarray) -> int:
    return int(rows.max()) + 1


ACCURACY = Metric(_right, _mean, is_mean=True)
METRICS: dict[type, dict[str, Metric]] = {
    Classification: {
        "accuracy": ACCURACY,
        "f1": Metric(_labels, lambda rows: binary_f1(rows[:, 0], rows[:, 1])),
        "macro_f1": Metric(_labels, lambda rows: metrics.macro_f1(rows[:, 0], rows[:, 1], _classes(rows))),
        "matthews": Metric(_labels, lambda rows: matthews(rows[:, 0], rows[:, 1], _classes(rows))),
    },
    Regression: {
        "pearson": Metric(_numbers, lambda rows: pearson(rows[:, 0], rows[:, 1])),
        "spearman": Metric(_numbers, lambda rows: spearman(rows[:, 0], rows[:, 1])),
    },
    MultipleChoice: {"accuracy": ACCURACY},
    Tagging: {"entity_f1": Metric(_entities, micro_f1), "accuracy": Metric(_right_words, _share)},
    QuestionAnswering: {name: Metric(_answers(name), _mean, is_mean=True) for name in ("exact_match", "f1")},
}
"""By form. `accuracy` of tagging is of words; `f1` of classification that of class 1 of two."""


def metric_of(task: Task, name: str | None = None) -> Metric:
    """A metric of a task by name; None: its first.

    Raises ValueError for a name that its form does not have, with those that it has.
    """
    wanted = name or task.metrics[0]
    known = METRICS.get(type(task.ask), {})
    if wanted not in known:
        raise ValueError(
            f"{task.name}: a task of form {task.ask.form} has no metric {wanted!r}; it has {', '.join(known) or 'none'}"
        )
    if wanted == "f1" and isinstance(task.ask, Classification) and len(task.ask.classes) != 2:
        raise ValueError(f"{task.name}: f1 is for two classes, the second being sought; take macro_f1 for more")
    if wanted == "entity_f1" and isinstance(task.ask, Tagging) and not task.ask.spans:
        raise ValueError(f"{task.name}: entity_f1 is for tags that mark spans (spans: true); take accuracy")
    return known[wanted]


def score(task: Task, answered: Sequence[Answered], name: str | None = None) -> float:
    """A metric of a task over answers, at least one."""
    metric = metric_of(task, name)
    return metric.value(metric.rows(task, answered))


def scores(task: Task, answered: Sequence[Answered]) -> dict[str, Any]:
    """`examples`, every metric of the task and what goes with its form.

    Classification and choice: accuracy with its 95 % Wilson interval, `nats` per example, `calibration_error`. With
    classes also macro_f1 and the confusion [C][C] (row: true class). Regression: mean_squared_error. Questions that may
    have no answer: `has_answer_f1`, `no_answer_accuracy`.
    """
    found: dict[str, Any] = {"examples": len(answered)}
    ask = task.ask
    if isinstance(ask, Classification | MultipleChoice):
        found |= _label_scores(answered)
    if isinstance(ask, Classification):
        labels, predicted, classes = (
            [a["label"] for a in answered],
            [a["predicted"] for a in answered],
            len(ask.classes),
        )
        found["macro_f1"] = metrics.macro_f1(labels, predicted, classes)
        found["confusion"] = metrics.confusion_matrix(labels, predicted, classes).tolist()
    if isinstance(ask, Regression):
        rows = _numbers(task, answered)
        found["mean_squared_error"] = float(np.square(rows[:, 0] - rows[:, 1]).mean())
    if isinstance(ask, QuestionAnswering) and ask.unanswerable:
        without = [a for a in answered if not a["label"]]
        with_one = [a for a in answered if a["label"]]
        found["no_answer_accuracy"] = score(task, without, "exact_match") if without else None
        found["has_answer_f1"] = score(task, with_one, "f1") if with_one else None
    return found | {name: score(task, answered, name) for name in task.metrics}


def _label_scores(answered: Sequence[Answered]) -> dict[str, Any]:
    right = [a["label"] == a["predicted"] for a in answered]
    share = metrics.wilson(sum(right), len(right))
    p = np.array([a["probabilities"][a["label"]] for a in answered], np.float64)
    confidence = [max(a["probabilities"]) for a in answered]
    return {
        "accuracy": share.value,
        "accuracy_low": share.low,
        "accuracy_high": share.high,
        "nats": float(-np.log(np.maximum(p, np.finfo(np.float32).tiny)).mean()),
        "calibration_error": expected_calibration_error(reliability(np.minimum(confidence, 1.0), right)),
    }
