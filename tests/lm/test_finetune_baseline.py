"""The bag-of-words baseline, the predictions file and the comparison of systems."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lm.finetune.baseline import bag_of_words
from lm.finetune.config import BaselineConfig
from lm.finetune.predictions import Predictions, compare, read_predictions, write_predictions
from lm.labelled.folder import Split, Task, write_labelled
from lm.labelled.forms import Classification, Regression

WORDS = [f"w{i}" for i in range(60)]


TASK = Task(name="abc", ask=Classification(classes=("a", "b", "c")), metrics=("accuracy", "macro_f1"))


def _rows(n: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        label = i % 3
        own = [WORDS[label * 20 + draw.randrange(20)] for _ in range(3)]
        text = " ".join(own + draw.choices(WORDS, k=8))
        rows.append({"id": f"{seed}-{i}", "text": text, "text_b": None, "label": label})
    return rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    splits: dict[Split, list[dict[str, Any]]] = {"train": _rows(90, 0), "valid": _rows(60, 1), "test": _rows(61, 2)}
    write_labelled(tmp_path / "data", TASK, splits)
    return tmp_path / "data"


def test_baseline_chooses_on_dev_as_brute_force_does(data: Path, tmp_path: Path) -> None:
    config = BaselineConfig(inverse_penalty=(100.0, 0.001, 1.0))
    result = bag_of_words(data, config, tmp_path / "out")
    (train, valid, test) = (pq.read_table(data / f"{s}.parquet").to_pydict() for s in ("train", "valid", "test"))
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(train["text"])
    by_c = {}
    for c in (0.001, 1.0, 100.0):
        model = LogisticRegression(C=c, max_iter=1000).fit(vectorizer.transform(train["text"]), train["label"])
        by_c[c] = [model.score(vectorizer.transform(part["text"]), part["label"]) for part in (valid, test)]
    best = max(by_c, key=lambda c: by_c[c][0])
    assert result["inverse_penalty"] == best
    assert [result["valid"]["accuracy"], result["test"]["accuracy"]] == by_c[best]
    assert result["test"]["accuracy"] > 0.5
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == result
    assert read_predictions(tmp_path / "out/predictions.parquet", "test").ids == test["id"]


def test_baseline_is_deterministic(data: Path, tmp_path: Path) -> None:
    for name in "ab":
        bag_of_words(data, BaselineConfig(), tmp_path / name)
    for file in ("metrics.json", "predictions.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def _predictions(correct: list[int], classes: int = 3) -> Predictions:
    """Item i has label i mod C and is predicted right where correct[i] is 1."""
    labels = np.arange(len(correct)) % classes
    guess = (labels + 1 - np.array(correct)) % classes
    p = (np.eye(classes, dtype=np.float32)[guess] * 0.4 + 0.2).tolist()
    rows = [
        {"id": f"i{i}", "label": int(label), "predicted": int(said), "probabilities": of}
        for i, (label, said, of) in enumerate(zip(labels, guess, p, strict=True))
    ]
    return Predictions(TASK, rows)


def _saved(path: Path, **by_split: Predictions) -> Path:
    write_predictions(path, by_split)
    return path


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    valid, test = _predictions([1, 0, 1, 1]), _predictions([1, 1, 0, 0, 1])
    path = _saved(tmp_path / "p.parquet", valid=valid, test=test)
    assert pq.read_schema(path).names == ["split", "id", "label", "predicted", "probabilities"]
    for split, original in (("valid", valid), ("test", test)):
        back = read_predictions(path, split)
        assert back.task == TASK
        assert list(back.rows) == list(original.rows)
        np.testing.assert_array_equal(back.labels, original.labels)
        assert back.scores() == original.scores()
    with pytest.raises(ValueError, match="no predictions for split 'train'"):
        read_predictions(path, "train")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="no predictions of a fine-tuned model"):
        read_predictions(tmp_path / "other.parquet", "test")


def test_scores_of_a_known_case() -> None:
    scores = _predictions([1, 1, 0, 0]).scores()
    assert (scores["examples"], scores["accuracy"]) == (4, 0.5)
    assert scores["accuracy_low"] < 0.5 < scores["accuracy_high"]
    assert scores["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert scores["calibration_error"] == pytest.approx(0.1)
    assert scores["nats"] == pytest.approx(-np.log([0.6, 0.6, 0.2, 0.2]).mean())


def test_systems_are_compared_item_by_item_over_seeds(tmp_path: Path) -> None:
    runs: dict[str, Any] = {"a1": [1] * 30 + [0] * 10, "a2": [1] * 34 + [0] * 6, "b1": [0, 1] * 20, "b2": [0, 1] * 20}
    path = {name: _saved(tmp_path / f"{name}.parquet", test=_predictions(c)) for name, c in runs.items()}
    found = compare([path["a1"], path["a2"]], [path["b1"], path["b2"]])
    assert found["first"]["mean"] == pytest.approx(0.8)
    assert found["first"]["sd"] == pytest.approx(np.std([0.75, 0.85], ddof=1))
    assert found["second"] == pytest.approx({"mean": 0.5, "sd": 0, "low": 0.5, "high": 0.5, "seeds": 2})
    difference = found["difference"]
    assert difference["value"] == pytest.approx(0.3)
    assert 0 < difference["low"] < 0.3 < difference["high"]
    assert json.loads(json.dumps(found)) == found
    other = _saved(tmp_path / "other.parquet", test=_predictions([1] * 39))
    with pytest.raises(ValueError, match=r"other.parquet: not the same test items as .*a1.parquet"):
        compare([path["a1"]], [other])
    with pytest.raises(ValueError, match="at least one predictions file"):
        compare([path["a1"]], [])


def test_other_metrics_are_compared_by_resampling_items(tmp_path: Path) -> None:
    good = _saved(tmp_path / "good.parquet", test=_predictions([1] * 34 + [0] * 6))
    bad = _saved(tmp_path / "bad.parquet", test=_predictions([0, 1] * 20))
    found = compare([good], [bad], metric="macro_f1")
    values = [read_predictions(path, "test").figure("macro_f1")(np.arange(40)) for path in (good, bad)]
    assert found["difference"]["value"] == pytest.approx(values[0] - values[1])
    assert 0 < found["difference"]["low"] < found["difference"]["value"] < found["difference"]["high"]
    assert compare([good], [good], metric="macro_f1")["difference"] == {"value": 0, "low": 0, "high": 0, "p_value": 1}
    with pytest.raises(ValueError, match="classification has no metric 'bleu'; it has accuracy, f1, macro_f1"):
        compare([good], [bad], metric="bleu")


def test_only_classification_has_a_bag_of_words(data: Path, tmp_path: Path) -> None:
    rows = [{**row, "label": 0} for row in _rows(9, 0)]
    write_labelled(tmp_path / "one", TASK, {"train": rows, "valid": rows})
    with pytest.raises(ValueError, match=r"train.parquet: all examples have the same label"):
        bag_of_words(tmp_path / "one", BaselineConfig(), tmp_path / "out")
    numbers = Task(name="numbers", ask=Regression(), metrics=("pearson",))
    write_labelled(tmp_path / "numbers", numbers, {"train": [{**row, "label": 1.0} for row in rows]})
    with pytest.raises(ValueError, match="numbers: a bag of words classifies texts; this task is of form regression"):
        bag_of_words(tmp_path / "numbers", BaselineConfig(), tmp_path / "out")


def test_bad_baseline_configs_are_refused() -> None:
    with pytest.raises(ValidationError, match="every candidate must be above 0"):
        BaselineConfig(inverse_penalty=(1.0, 0.0))
