"""When to say that a question has no answer: the threshold that is best on dev (SQuAD 2.0, `find_best_thresh`)."""

import numpy as np

from lm.evaluate.metrics_answers import best, scores_of
from lm.finetune.predictions import Predictions
from lm.labelled.forms import QuestionAnswering


def best_threshold(predictions: Predictions, metric: str = "f1") -> float:
    """The threshold of `null_difference` above which "" is said that has the largest mean of `metric`; the smallest of
    equals. It is halfway between the differences of two questions, so that a little noise changes no answer.
    """
    task = predictions.task
    assert isinstance(task.ask, QuestionAnswering)
    rule = scores_of(task.language, True)[metric]
    rows = sorted(predictions.rows, key=lambda row: row["null_difference"])
    differences = np.array([row["null_difference"] for row in rows])
    answered = np.array([best(rule, row["label"], row["span"], True) for row in rows])
    silent = np.array([best(rule, row["label"], "", True) for row in rows])
    # of the first n an answer is given, of the rest none
    sums = np.concatenate([[0.0], np.cumsum(answered)]) + silent.sum() - np.concatenate([[0.0], np.cumsum(silent)])
    possible = np.ones(len(rows) + 1, bool)
    possible[1:-1] = differences[1:] > differences[:-1]
    count = int(np.where(possible, sums, -np.inf).argmax())
    if count == 0:
        return float(differences[0] - 1)
    if count == len(rows):
        return float(differences[-1])
    return float((differences[count - 1] + differences[count]) / 2)
