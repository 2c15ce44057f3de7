"""What a linear model without pretraining can do: of a text the tf-idf of its words, of a word its spelling and its
neighbours; logistic regression, the strength of the penalty chosen on dev."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lm.finetune.artifact import write_json
from lm.finetune.baseline_tags import WordTagger
from lm.finetune.config import BaselineConfig
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from lm.finetune.run import as_predictions, held_out_splits
from lm.finetune.scores import score
from lm.labelled.folder import LabelledSet, Split, Task
from lm.labelled.forms import Classification, Tagging

Rows = dict[str, list[dict[str, Any]]]
Predict = Callable[[LogisticRegression, Split], Predictions]


def bag_of_words(data: Path, config: BaselineConfig, directory: Path) -> dict[str, Any]:
    """Fit the baseline on the train split of a labelled set, choose C on valid by the task's first metric, predict.

    Writes predictions.parquet and metrics.json to `directory`, as `finetune` does, and returns the latter: classes (of
    classification), features, inverse_penalty (the chosen C), and the scores of valid and test.
    Raises ValueError if the task is neither classification nor tagging, or fewer than two labels occur in training.
    """
    labelled = LabelledSet(data)
    task = labelled.task
    if not isinstance(task.ask, Classification | Tagging):
        raise ValueError(
            f"{task.name}: a bag of words classifies texts or tags words; this task is of form {task.ask.form}"
        )
    splits = held_out_splits(labelled)
    rows: Rows = {split: labelled.read(split).to_pylist() for split in ("train", *splits)}
    made = _texts(task, rows, config.ngrams) if isinstance(task.ask, Classification) else _tags(task, rows)
    features, labels, known, predicted = made
    if len(set(labels.tolist())) < 2:
        what = "examples have the same label" if isinstance(task.ask, Classification) else "words have the same tag"
        raise ValueError(f"{data / 'train.parquet'}: all {what}: there is nothing to learn")

    best: tuple[float, float, LogisticRegression] | None = None
    for c in sorted(config.inverse_penalty):
        model = LogisticRegression(C=c, max_iter=config.max_iterations)
        model.fit(features, labels)
        reached = score(task, predicted(model, "valid").rows)
        if best is None or reached > best[0]:
            best = reached, c, model
    assert best is not None
    _, chosen, model = best
    predictions: dict[str, Predictions] = {split: predicted(model, split) for split in splits}
    directory.mkdir(parents=True, exist_ok=True)
    write_predictions(directory / PREDICTIONS_FILE, predictions)
    result = {
        **({"classes": list(task.ask.classes)} if isinstance(task.ask, Classification) else {}),
        "features": known,
        "inverse_penalty": chosen,
        **{split: of.scores() for split, of in predictions.items()},
    }
    write_json(directory / "metrics.json", result)
    return result


def _texts(task: Task, rows: Rows, ngrams: int) -> tuple[Any, np.ndarray, int, Predict]:
    """Features and labels of training, how many features there are, and how a model predicts a split."""
    assert isinstance(task.ask, Classification)
    classes = len(task.ask.classes)
    # [LIB] and other marks are no words; one-letter words are (x, n, k say much about a library)
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, ngrams), sublinear_tf=True)
    learned = words.fit_transform([_text(row) for row in rows["train"]])
    features = {split: words.transform([_text(row) for row in of]) for split, of in rows.items() if split != "train"}

    def predicted(model: LogisticRegression, split: Split) -> Predictions:
        p = np.zeros((len(rows[split]), classes), np.float32)
        p[:, model.classes_] = model.predict_proba(features[split])  # a class that training lacks has none
        answers = [{"predicted": int(of.argmax()), "probabilities": of.tolist()} for of in p]
        return as_predictions(task, rows[split], answers)

    labels = np.array([row["label"] for row in rows["train"]], np.int64)
    return learned, labels, len(words.vocabulary_), predicted


def _tags(task: Task, rows: Rows) -> tuple[Any, np.ndarray, int, Predict]:
    """The same of words and their tags."""
    assert isinstance(task.ask, Tagging)
    tagger = WordTagger(task.ask.tags)
    sentences = {split: [row["words"] for row in of] for split, of in rows.items()}
    learned = tagger.learn_features(sentences["train"])
    features = {split: tagger.look_up(of) for split, of in sentences.items() if split != "train"}

    def predicted(model: LogisticRegression, split: Split) -> Predictions:
        return as_predictions(task, rows[split], tagger.answers(model, features[split], sentences[split]))

    return learned, tagger.numbers([row["tags"] for row in rows["train"]]), tagger.features, predicted


def _text(row: dict[str, Any]) -> str:
    return row["text"] if row["text_b"] is None else f"{row['text']} {row['text_b']}"
