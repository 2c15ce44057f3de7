"""What a bag of words can do: word tf-idf and logistic regression, the strength of the penalty chosen on dev."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lm.finetune.artifact import write_json
from lm.finetune.config import BaselineConfig
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from lm.finetune.run import as_predictions, held_out_splits
from lm.finetune.scores import score
from lm.labelled.folder import LabelledSet, Split
from lm.labelled.forms import Classification


def bag_of_words(data: Path, config: BaselineConfig, directory: Path) -> dict[str, Any]:
    """Fit the baseline on the train split of a labelled set, choose C on valid by the task's first metric, predict.

    Writes predictions.parquet and metrics.json to `directory`, as `finetune` does, and returns the latter: classes,
    features, inverse_penalty (the chosen C), and the scores of valid and test.
    Raises ValueError if the task is no classification, or fewer than two classes occur in training.
    """
    labelled = LabelledSet(data)
    task = labelled.task
    if not isinstance(task.ask, Classification):
        raise ValueError(f"{task.name}: a bag of words classifies texts; this task is of form {task.ask.form}")
    classes = len(task.ask.classes)
    splits = held_out_splits(labelled)
    rows: dict[str, list[dict[str, Any]]] = {split: labelled.read(split).to_pylist() for split in ("train", *splits)}
    labels = {split: np.array([row["label"] for row in of], np.int64) for split, of in rows.items()}
    if len(set(labels["train"].tolist())) < 2:
        raise ValueError(f"{data / 'train.parquet'}: all examples have the same label: there is nothing to learn")
    # [LIB] and other marks are no words; one-letter words are (x, n, k say much about a library)
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, config.ngrams), sublinear_tf=True)
    texts = {split: [_text(row) for row in of] for split, of in rows.items()}
    features = {"train": words.fit_transform(texts["train"])}
    features |= {split: words.transform(texts[split]) for split in splits}

    def predicted(model: LogisticRegression, split: Split) -> Predictions:
        p = np.zeros((len(rows[split]), classes), np.float32)
        p[:, model.classes_] = model.predict_proba(features[split])  # a class that training lacks has none
        answers = [{"predicted": int(of.argmax()), "probabilities": of.tolist()} for of in p]
        return as_predictions(task, rows[split], answers)

    best: tuple[float, float, LogisticRegression] | None = None
    for c in sorted(config.inverse_penalty):
        model = LogisticRegression(C=c, max_iter=config.max_iterations)
        model.fit(features["train"], labels["train"])
        reached = score(task, predicted(model, "valid").rows)
        if best is None or reached > best[0]:
            best = reached, c, model
    assert best is not None
    _, chosen, model = best
    predictions: dict[str, Predictions] = {split: predicted(model, split) for split in splits}
    directory.mkdir(parents=True, exist_ok=True)
    write_predictions(directory / PREDICTIONS_FILE, predictions)
    result = {
        "classes": list(task.ask.classes),
        "features": len(words.vocabulary_),
        "inverse_penalty": chosen,
        **{split: of.scores() for split, of in predictions.items()},
    }
    write_json(directory / "metrics.json", result)
    return result


def _text(row: dict[str, Any]) -> str:
    return row["text"] if row["text_b"] is None else f"{row['text']} {row['text_b']}"
