"""The bag-of-words baseline, the predictions file and the comparison of systems."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lm.finetune.baseline import bag_of_words
from lm.finetune.config import BaselineConfig
from lm.finetune.predictions import Predictions, compare, read_predictions, write_predictions

WORDS = [f"w{i}" for i in range(60)]


def _file(path: Path, n: int, seed: int) -> Path:
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        label = i % 3
        own = [WORDS[label * 20 + draw.randrange(20)] for _ in range(3)]
        text = " ".join(own + draw.choices(WORDS, k=8))
        rows.append({"id": f"{seed}-{i}", "text": text, "label": label, "label_name": "abc"[label]})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [_file(tmp_path / f"{n}.parquet", n, seed) for seed, n in enumerate((90, 60, 61))]


def test_baseline_chooses_on_dev_as_brute_force_does(files: list[Path], tmp_path: Path) -> None:
    config = BaselineConfig(inverse_penalty=(100.0, 0.001, 1.0))
    result = bag_of_words(*files, config, tmp_path / "out")
    (train, valid, test) = (pq.read_table(f).to_pydict() for f in files)
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


def test_baseline_is_deterministic(files: list[Path], tmp_path: Path) -> None:
    for name in "ab":
        bag_of_words(*files, BaselineConfig(), tmp_path / name)
    for file in ("metrics.json", "predictions.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def _predictions(correct: list[int], classes: int = 3) -> Predictions:
    """Item i has label i mod C and is predicted right where correct[i] is 1."""
    labels = np.arange(len(correct)) % classes
    guess = (labels + 1 - np.array(correct)) % classes
    return Predictions([f"i{i}" for i in labels], labels, np.eye(classes, dtype=np.float32)[guess] * 0.4 + 0.2)


def _saved(path: Path, **by_split: Predictions) -> Path:
    write_predictions(path, by_split)
    return path


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    valid, test = _predictions([1, 0, 1, 1]), _predictions([1, 1, 0, 0, 1])
    path = _saved(tmp_path / "p.parquet", valid=valid, test=test)
    assert pq.read_schema(path).names == ["split", "id", "label", "predicted", "probabilities"]
    for split, original in (("valid", valid), ("test", test)):
        back = read_predictions(path, split)
        assert list(back.ids) == list(original.ids)
        np.testing.assert_array_equal(back.labels, original.labels)
        np.testing.assert_array_equal(back.probabilities, original.probabilities)
        assert back.scores() == original.scores()
    with pytest.raises(ValueError, match="no predictions for split 'train'"):
        read_predictions(path, "train")


def test_scores_of_a_known_case() -> None:
    scores = _predictions([1, 1, 0, 0]).scores()
    assert (scores["examples"], scores["accuracy"]) == (4, 0.5)
    assert scores["accuracy_low"] < 0.5 < scores["accuracy_high"]
    assert scores["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
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


def test_bad_baseline_configs_are_refused() -> None:
    with pytest.raises(ValidationError, match="every candidate must be above 0"):
        BaselineConfig(inverse_penalty=(1.0, 0.0))
