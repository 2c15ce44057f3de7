"""What a bag of words can do: word tf-idf and logistic regression, the strength of the penalty chosen on dev."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lm.finetune.config import BaselineConfig
from lm.finetune.inputs import class_names, read_labelled
from lm.finetune.predictions import PREDICTIONS_FILE, Predictions, write_predictions


def bag_of_words(train: Path, valid: Path, test: Path, config: BaselineConfig, directory: Path) -> dict[str, Any]:
    """Fit the baseline on `train`, choose C on `valid`, predict `valid` and `test`.

    Writes predictions.parquet and metrics.json to `directory`, as `finetune` does, and returns the latter:
    classes, features, inverse_penalty (the chosen C), and the scores of valid and test.
    """
    labelled = {"train": read_labelled(train), "valid": read_labelled(valid), "test": read_labelled(test)}
    names = class_names(*labelled.values())
    # [LIB] and other marks are no words; one-letter words are (x, n, k say much about a library)
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, config.ngrams), sublinear_tf=True)
    features = {"train": words.fit_transform(labelled["train"].texts)}
    features |= {split: words.transform(labelled[split].texts) for split in ("valid", "test")}

    best: tuple[float, float, LogisticRegression] | None = None
    for c in sorted(config.inverse_penalty):
        model = LogisticRegression(C=c, max_iter=config.max_iterations)
        model.fit(features["train"], labelled["train"].labels)
        accuracy = float(model.score(features["valid"], labelled["valid"].labels))
        if best is None or accuracy > best[0]:
            best = accuracy, c, model
    assert best is not None
    _, chosen, model = best

    predictions = {
        split: Predictions(
            labelled[split].ids,
            labelled[split].labels,
            model.predict_proba(features[split]).astype(np.float32),
        )
        for split in ("valid", "test")
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_predictions(directory / PREDICTIONS_FILE, predictions)
    result = {
        "classes": names,
        "features": len(words.vocabulary_),
        "inverse_penalty": chosen,
        **{split: p.scores() for split, p in predictions.items()},
    }
    partial = directory / "metrics.json.tmp"
    partial.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(partial, directory / "metrics.json")
    return result
