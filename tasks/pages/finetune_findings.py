"""What the report of a fine-tuning shows of its best run: where it errs, how sure it is of that, and on what it hangs.

Texts are read back from the labelled set by id. They are shortened, and stand without e-mail addresses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lm.evaluate.metrics_calibration import Bin, expected_calibration_error, reliability
from lm.finetune.predictions import Predictions
from lm.finetune.saliency import Saliency
from lm.finetune.scores import METRICS, score
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, MultipleChoice, QuestionAnswering, Regression, Tagging
from tasks.reports.excerpts import cut, without_addresses

MOST_ERRORS = 12
PICTURES = 3
"""Of wrong and of right predictions each."""
MOST_TAGS = 30

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """One example: its texts by column, what is right and what was said, and how sure the model was of that."""

    id: str
    texts: dict[str, str]
    right: str
    said: str
    sure: float | None
    words: list[tuple[str, str, str]] = field(default_factory=list)
    """Of a tagging the words whose tag is wrong: word, right, said."""


def calibration(predictions: Predictions) -> tuple[list[Bin], float] | None:
    """The bins of the reliability diagram and the expected calibration error; None where nothing has a probability.

    Of a tagging words are counted; of questions an answer is right where it matches exactly.
    """
    sure, right = [], []
    for row in predictions.rows:
        found = _judged(predictions.task, row)
        sure += [p for p, _ in found]
        right += [ok for _, ok in found]
    if not sure:
        return None
    bins = reliability(np.clip(sure, 0, 1), right)
    return bins, expected_calibration_error(bins)


def _judged(task: Task, row: Row) -> list[tuple[float, bool]]:
    """Probability and verdict of each decision of a row."""
    if isinstance(task.ask, Classification | MultipleChoice):
        return [(row["probabilities"][row["predicted"]], row["predicted"] == row["label"])]
    if isinstance(task.ask, Tagging):
        pairs = zip(row["predicted"], row["label"], strict=True)
        return [(p, a == b) for p, (a, b) in zip(row["probabilities"], pairs, strict=True)]
    if isinstance(task.ask, QuestionAnswering):
        return [(row["probability"], score(task, [row], "exact_match") == 1)]
    return []


def confusion(predictions: Predictions) -> tuple[list[str], list[list[int]]] | None:
    """The names and the matrix [true][said]: of classes, or of the tags of words; None where there are none."""
    ask = predictions.task.ask
    if isinstance(ask, Classification):
        names, pairs = list(ask.classes), [(row["label"], row["predicted"]) for row in predictions.rows]
    elif isinstance(ask, Tagging) and len(ask.tags) <= MOST_TAGS:
        names, place = list(ask.tags), {tag: n for n, tag in enumerate(ask.tags)}
        both = [zip(row["label"], row["predicted"], strict=True) for row in predictions.rows]
        pairs = [(place[a], place[b]) for of in both for a, b in of]
    else:
        return None
    counts = np.zeros((len(names), len(names)), np.int64)
    for true, said in pairs:
        counts[true, said] += 1
    return names, counts.tolist()


def ranked(predictions: Predictions) -> tuple[list[int], list[int]]:
    """Places of the wrong rows, the worst first, and of the right ones, the surest first.

    Worst is: wrong and most sure of it; of a regression the farthest from the label; of a tagging the surest wrong tag.
    A sentence without words is neither.
    """
    task = predictions.task
    wrong: list[tuple[float, int]] = []
    right: list[tuple[float, int]] = []
    for place, row in enumerate(predictions.rows):
        if isinstance(task.ask, Regression):
            far = abs(row["predicted"] - row["label"])
            wrong.append((far, place))
            right.append((-far, place))
            continue
        judged = _judged(task, row)
        if not judged:  # a sentence without words
            continue
        errors = [p for p, ok in judged if not ok]
        (wrong if errors else right).append((max(errors) if errors else min(p for p, _ in judged), place))
    order = [[place for _, place in sorted(of, key=lambda pair: (-pair[0], pair[1]))] for of in (wrong, right)]
    return order[0], order[1]


def shown(task: Task, row: Row, example: Row) -> Shown:
    """A row beside its example."""
    texts = {name: cut(_text(task, name, example[name])) for name in task.ask.inputs if example.get(name)}
    sure: float | None = None
    words: list[tuple[str, str, str]] = []
    if isinstance(task.ask, Classification):
        right, said = task.ask.classes[row["label"]], task.ask.classes[row["predicted"]]
        sure = row["probabilities"][row["predicted"]]
    elif isinstance(task.ask, MultipleChoice):
        right, said = (cut(example["choices"][row[name]]) for name in ("label", "predicted"))
        sure = row["probabilities"][row["predicted"]]
    elif isinstance(task.ask, Regression):
        right, said = f"{row['label']:.2f}", f"{row['predicted']:.2f}"
    elif isinstance(task.ask, Tagging):
        both = zip(example["words"], row["label"], row["predicted"], strict=True)
        words = [(without_addresses(word), a, b) for word, a, b in both if a != b]
        right, said = ("all tags", "all tags") if not words else ("", "")
        sure = max((p for p, ok in _judged(task, row) if not ok), default=None)
    else:
        right = " / ".join(cut(answer) for answer in dict.fromkeys(row["label"])) or "no answer"
        said, sure = cut(row["predicted"]) or "no answer", row["probability"]
    return Shown(row["id"], texts, right, said, sure, words)


def _text(task: Task, name: str, value: Any) -> str:
    """A column as it is read; of several choices with a sign between them."""
    if isinstance(value, str):
        return value
    joined = isinstance(task.ask, Tagging) and task.ask.joined
    return {"words": "" if joined else " ", "choices": " · "}[name].join(value)


def pictured(predictor: Any, task: Task, row: Row, example: Row) -> Saliency | None:
    """The saliency of a prediction; of a tagging at the first word that is wrong, or the first of a span.

    None where the model has no embeddings to derive by, and for a text with an e-mail address, whose pieces would show.
    """
    given = {name: example[name] for name in task.ask.inputs if name in example}
    texts = [_text(task, name, value) for name, value in given.items() if value]
    if any(without_addresses(text) != text for text in texts):
        return None
    word = 0
    if isinstance(task.ask, Tagging):
        both = list(enumerate(zip(row["label"], row["predicted"], strict=True)))
        wanted = [n for n, (a, b) in both if a != b] or [n for n, (_, b) in both if b != "O"] or [0]
        word = wanted[0]
    from lm.finetune.saliency import saliency

    return saliency(predictor, given, word)


def metric_names(task: Task) -> Sequence[str]:
    """Every metric of the task's form that the task reports, the deciding one first."""
    return [name for name in task.metrics if name in METRICS[type(task.ask)]]
