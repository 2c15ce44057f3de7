"""The bag-of-words baseline, the predictions file and the comparison of systems."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lm.evaluate.metrics_entities import entity_counts, micro_f1
from lm.finetune.baseline import bag_of_words
from lm.finetune.baseline_tags import features_of, shape
from lm.finetune.config import BaselineConfig
from lm.finetune.predictions import Predictions, compare, read_predictions, write_predictions
from lm.labelled.folder import Split, Task, write_labelled
from lm.labelled.forms import Classification, Regression, Tagging

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


NAMES = Task(name="names", ask=Tagging(tags=("O", "B-PER", "I-PER", "B-LOC")), metrics=("entity_f1", "accuracy"))


def _sentences(n: int, seed: int) -> list[dict[str, Any]]:
    """Persons of one or two words and places; no two names are alike, but persons end in -son and places stand behind
    `in`. A third of the words in lower case end in -son as well."""
    draw = random.Random(seed)

    def letters() -> str:
        return "".join(draw.choices("abcdefghijklm", k=5))

    rows = []
    for i in range(n):
        person = [f"{letters().title()}son" for _ in range(draw.randint(1, 2))]
        rest = [draw.choice(("saw", "met", f"{letters()}son")), "in", letters().title()]
        tags = [*["B-PER", "I-PER"][: len(person)], "O", "O", "B-LOC"]
        rows.append({"id": f"{seed}-{i}", "words": person + rest, "tags": tags})
    return rows


@pytest.fixture
def names(tmp_path: Path) -> Path:
    splits: dict[Split, list[dict[str, Any]]] = {
        "train": _sentences(60, 0),
        "valid": _sentences(30, 1),
        "test": _sentences(31, 2),
    }
    write_labelled(tmp_path / "names", NAMES, splits)
    return tmp_path / "names"


def test_tags_are_chosen_on_dev_as_brute_force_does(names: Path, tmp_path: Path) -> None:
    result = bag_of_words(names, BaselineConfig(inverse_penalty=(10.0, 0.001, 1.0)), tmp_path / "out")
    train, valid, test = (pq.read_table(names / f"{s}.parquet").to_pylist() for s in ("train", "valid", "test"))
    columns = DictVectorizer()
    seen = columns.fit_transform([dict.fromkeys(f, 1.0) for row in train for f in features_of(row["words"])])
    told = [tag for row in train for tag in row["tags"]]
    by_c: dict[float, list[float]] = {}
    for c in (0.001, 1.0, 10.0):
        model = LogisticRegression(C=c, max_iter=1000).fit(seen, told)
        by_c[c] = []
        for part in (valid, test):
            said = [
                model.predict(columns.transform([dict.fromkeys(f, 1.0) for f in features_of(row["words"])])).tolist()
                for row in part
            ]
            counts = [entity_counts(row["tags"], of) for row, of in zip(part, said, strict=True)]
            by_c[c].append(micro_f1(np.array(counts)))
    best = max(by_c, key=lambda c: by_c[c][0])
    assert result["inverse_penalty"] == best
    assert [result[split]["entity_f1"] for split in ("valid", "test")] == pytest.approx(by_c[best])
    assert result["features"] == len(columns.vocabulary_)
    assert result["test"]["entity_f1"] > 0.95  # of names that no sentence of training has
    stored = read_predictions(tmp_path / "out/predictions.parquet", "test")
    assert stored.ids == [row["id"] for row in test]
    for row, words in zip(stored.rows, test, strict=True):
        assert len(row["predicted"]) == len(row["probabilities"]) == len(words["words"])
        assert all(0.25 <= p <= 1 for p in row["probabilities"])  # of the best of four tags
    bag_of_words(names, BaselineConfig(inverse_penalty=(10.0, 0.001, 1.0)), tmp_path / "again")
    for file in ("metrics.json", "predictions.parquet"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_a_tag_that_training_lacks_is_never_said(names: Path, tmp_path: Path) -> None:
    rows = [{**row, "tags": ["O" if tag == "B-LOC" else tag for tag in row["tags"]]} for row in _sentences(40, 0)]
    write_labelled(tmp_path / "fewer", NAMES, {"train": rows, "valid": _sentences(9, 1)})
    bag_of_words(tmp_path / "fewer", BaselineConfig(), tmp_path / "out")
    said = {t for row in read_predictions(tmp_path / "out/predictions.parquet", "valid").rows for t in row["predicted"]}
    assert said == {"O", "B-PER", "I-PER"}
    nothing = [{**row, "tags": ["O"] * len(row["tags"])} for row in rows]
    write_labelled(tmp_path / "nothing", NAMES, {"train": nothing, "valid": nothing})
    with pytest.raises(ValueError, match=r"train.parquet: all words have the same tag: there is nothing to learn"):
        bag_of_words(tmp_path / "nothing", BaselineConfig(), tmp_path / "out")


def test_what_a_word_looks_like() -> None:
    shapes = {"McDonald's": "XxXx'x", "1996-08-30": "9-9-9", "EU": "X", "U.N.": "X.X.", "北京": "x", ".": "."}
    assert {word: shape(word) for word in shapes} == shapes
    first, last = features_of(["In", "Bonn"])
    assert {"word=In", "low=in", "shape=Xx", "ends=n", "ends=In", "begins=I"} <= set(first)
    assert {"-2=<s>", "-1=<s>", "+1=bonn", "+2=</s>"} <= set(first)
    assert {"before=<s> in", "behind=in bonn", "shape behind=Xx"} <= set(first)
    assert {"begins=Bonn", "-1=in", "+1=</s>", "before=in bonn", "behind=bonn </s>", "shape before=Xx"} <= set(last)
    assert not any(of.startswith("begins=") and len(of) > len("begins=") + 4 for of in last)
    assert list(features_of([])) == []


def test_only_texts_and_words_have_a_bag_of_words(data: Path, tmp_path: Path) -> None:
    rows = [{**row, "label": 0} for row in _rows(9, 0)]
    write_labelled(tmp_path / "one", TASK, {"train": rows, "valid": rows})
    with pytest.raises(ValueError, match=r"train.parquet: all examples have the same label"):
        bag_of_words(tmp_path / "one", BaselineConfig(), tmp_path / "out")
    numbers = Task(name="numbers", ask=Regression(), metrics=("pearson",))
    write_labelled(tmp_path / "numbers", numbers, {"train": [{**row, "label": 1.0} for row in rows]})
    with pytest.raises(ValueError, match=r"numbers: a bag of words classifies texts or tags words; .* form reg"):
        bag_of_words(tmp_path / "numbers", BaselineConfig(), tmp_path / "out")


def test_bad_baseline_configs_are_refused() -> None:
    with pytest.raises(ValidationError, match="every candidate must be above 0"):
        BaselineConfig(inverse_penalty=(1.0, 0.0))
