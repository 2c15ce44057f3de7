"""The quality classifier: learns what can be told, agrees with scikit-learn, depends on the set of documents alone."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from data_quality.classifier import (
    FeatureReader,
    _ngram_buckets,
    auc,
    calibrate,
    load_classifier,
    save_classifier,
    score_shard,
    train_classifier,
)
from data_quality.config import ClassifierConfig, Selection
from data_quality.interning import encode_strings
from data_quality.vocabulary import Vocabulary
from data_quality.words import split_words

CONFIG = ClassifierConfig(bits=14, ngrams=2, epochs=3)
GOOD = ["theorem", "proof", "lemma", "because", "therefore", "measured", "result", "section", "follows"]
BAD = ["winner", "click", "free", "viagra", "casino", "offer", "now", "discount", "unsubscribe"]
BOTH = ["the", "of", "and", "to", "in", "a", "is", "that", "it", "for", "was", "on", "are", "with", "as"]


def corpora(count: int = 300, seed: int = 0) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)

    def text(own: list[str]) -> str:
        return " ".join(draw.choice(own if draw.random() < 0.15 else BOTH) for _ in range(draw.randint(20, 60)))

    return [text(GOOD) for _ in range(count)], [text(BAD) for _ in range(count)]


def test_what_can_be_told_is_told() -> None:
    model, figures = train_classifier(*corpora(), CONFIG)
    assert figures["auc"] > 0.99
    assert figures["reference_held_out"] + figures["reference_trained"] == 300
    good, bad = corpora(50, seed=1)
    reader = FeatureReader(CONFIG.bits, CONFIG.ngrams)
    assert np.median(model.scores(reader(good))) > 0.9
    assert np.median(model.scores(reader(bad))) < 0.1


def test_what_cannot_be_told_is_not() -> None:
    good, _ = corpora(400)
    _, figures = train_classifier(good[:200], good[200:], CONFIG)
    assert 0.3 < figures["auc"] < 0.7


def test_chinese_is_read_in_words_or_characters() -> None:
    draw = random.Random(2)
    good = ["".join(draw.choices("证明定理数学分析结果研究", k=30)) for _ in range(150)]
    bad = ["".join(draw.choices("中奖免费点击赌博优惠发票", k=30)) for _ in range(150)]
    _, figures = train_classifier(good, bad, CONFIG)
    assert figures["auc"] > 0.99


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("今天天气很好，我们去公园。", None),
        ("今天天气很好，我们去公园。", "zh-Hant"),
        ("我们在document中使用北京大学 and not so much Chinese in it.", "zh"),
        ("漢字だけの文ではない。", None),
        ("東京大学", "ja"),
        ("It's fine.", "en"),
        ("เราไปสวน", "th"),
    ],
)
def test_words_are_those_of_the_signals(text: str, language: str | None) -> None:
    """Features are of the words that `words.split_words` gives, each hashed alone and then in pairs."""
    vocabulary = Vocabulary()
    words = vocabulary.intern(*encode_strings(split_words(text, language)))
    expected = np.unique(_ngram_buckets(vocabulary.hashes[words], 2, 20))
    assert FeatureReader(20, 2)([text], [language]).indices.tolist() == expected.tolist()


def test_a_shards_languages_are_those_of_its_table(tmp_path: Path) -> None:
    text = "コンピュータを使って, or as one says in English, with a computer"
    good, bad = corpora(40)
    model, _ = train_classifier([*good, text], bad, CONFIG, languages={text: "ja"})
    shard, known = tmp_path / "in.parquet", tmp_path / "languages.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": [text, text], "language": ["zh", None]}), shard)
    pq.write_table(pa.table({"id": ["b", "a"], "language": ["ja", "zh"]}), known)
    reader = FeatureReader(CONFIG.bits, CONFIG.ngrams)
    by_language = {code: model.scores(reader([text], [code]))[0] for code in ("zh", "ja", None)}
    assert by_language["zh"] != by_language["ja"]
    for tables, expected in (([], ["zh", None]), ([known], ["zh", "ja"])):
        score_shard(shard, tmp_path / "out.parquet", model, languages=tables)
        scores = pq.read_table(tmp_path / "out.parquet")["classifier_score"].to_pylist()
        assert scores == [by_language[code] for code in expected]


def test_the_order_of_the_documents_changes_nothing() -> None:
    good, bad = corpora(80)
    one, figures = train_classifier(good, bad, CONFIG)
    other, same = train_classifier(good[::-1], sorted(bad), CONFIG)
    assert np.array_equal(one.weights, other.weights)
    assert (one.bias, one.slope, one.intercept, figures) == (other.bias, other.slope, other.intercept, same)


def test_a_reference_text_is_no_raw_one() -> None:
    good, bad = corpora(60)
    model, alone = train_classifier(good, bad, CONFIG)
    same, within = train_classifier(good, [*bad, *good], CONFIG)  # raw: the whole corpus
    assert alone == within
    assert np.array_equal(model.weights, same.weights)


def test_a_score_is_a_probability() -> None:
    """Among many held-out documents with a score near p, a share of about p is reference."""
    draw = random.Random(5)

    def texts(lean: float, count: int) -> list[str]:
        return [
            " ".join(draw.choice((GOOD if draw.random() < lean else BAD) if draw.random() < 0.1 else BOTH)
                     for _ in range(25))
            for _ in range(count)
        ]  # fmt: skip

    model, _ = train_classifier(texts(0.75, 3000), texts(0.25, 3000), CONFIG)
    fresh = texts(0.75, 3000) + texts(0.25, 3000)
    truth = np.repeat([1.0, 0.0], 3000)
    scores = model.scores(FeatureReader(CONFIG.bits, CONFIG.ngrams)(fresh))
    for low in np.arange(0.1, 0.9, 0.2):
        inside = (scores >= low) & (scores < low + 0.2)
        assert inside.sum() > 100
        assert abs(truth[inside].mean() - scores[inside].mean()) < 0.12


def test_platt_scaling_is_logistic_regression_on_the_logit() -> None:
    draw = np.random.default_rng(0)
    labels = (draw.random(4000) < 0.3).astype(float)
    logits = draw.normal(labels * 2 - 1, 1.5)
    peer = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10).fit(logits[:, None], labels)
    slope, intercept = calibrate(logits, labels)
    assert slope == pytest.approx(float(peer.coef_[0, 0]), rel=0.01)
    assert intercept == pytest.approx(float(peer.intercept_[0]), abs=0.01)


def test_platt_scaling_ends_where_a_line_separates() -> None:
    slope, intercept = calibrate(np.array([-2.0, -1.0, 1.0, 2.0] * 50), np.array([0.0, 0.0, 1.0, 1.0] * 50))
    assert 0 < slope < 100
    assert abs(intercept) < 1e-6


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60))
def test_auc_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)
    if 0 < labels.sum() < len(labels):
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


@given(st.lists(st.text(max_size=80), max_size=5))
def test_any_text_has_features_of_unit_length(texts: list[str]) -> None:
    features = FeatureReader(12, 3)(texts)
    assert len(features) == len(texts)
    for number in range(len(texts)):
        own = features.values[features.offsets[number] : features.offsets[number + 1]]
        assert not len(own) or np.isclose(np.square(own).sum(), 1, atol=1e-4)


def test_a_saved_classifier_gives_the_same_scores(tmp_path: Path) -> None:
    good, bad = corpora(40)
    model, figures = train_classifier(good, bad, CONFIG)
    save_classifier(model, figures, tmp_path)
    again = load_classifier(tmp_path)
    assert np.array_equal(again.weights, model.weights)
    shard = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": [good[0], "", bad[0]]}), shard)
    assert score_shard(shard, tmp_path / "out.parquet", again) == {"documents": 3}
    rows = pq.read_table(tmp_path / "out.parquet").to_pydict()
    expected = model.scores(FeatureReader(CONFIG.bits, CONFIG.ngrams)([good[0], "", bad[0]]))
    assert rows == {"id": ["a", "b", "c"], "classifier_score": expected.tolist()}


def test_an_empty_side_is_named() -> None:
    with pytest.raises(ValueError, match=r"no reference document to be trained on: 0 texts are reference, 3 raw"):
        train_classifier([], ["a", "b", "c"], CONFIG)


def test_two_equal_selections_are_refused() -> None:
    with pytest.raises(ValueError, match=r"classifier\.reference and classifier\.raw select the same documents"):
        ClassifierConfig(enabled=True)
    ClassifierConfig(enabled=True, reference=Selection(sources=("manuals",)))
