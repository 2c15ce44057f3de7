"""Metrics of every form against scikit-learn, scipy, the official rules and brute force; calibration; resampling."""

import itertools
import random
import re
import string
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lm.evaluate import bootstrap
from lm.evaluate.metrics import paired_bootstrap
from lm.evaluate.metrics_answers import (
    best,
    chinese_exact_match,
    chinese_f1,
    chinese_parts,
    exact_match,
    scores_of,
    token_f1,
)
from lm.evaluate.metrics_calibration import expected_calibration_error, reliability
from lm.evaluate.metrics_entities import Entity, entities, entity_counts, micro_f1
from lm.evaluate.metrics_labels import binary_f1, matthews, pearson, spearman
from lm.finetune.predictions import Predictions
from lm.finetune.scores import METRICS, metric_of, score
from lm.finetune.threshold import best_threshold
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, Generation, QuestionAnswering, Regression, Tagging


@pytest.mark.parametrize("seed", range(12))
def test_labels_and_numbers_equal_scikit_learn_and_scipy(seed: int) -> None:
    draw = np.random.default_rng(seed)
    classes, n = 2 + seed % 4, 5 + 20 * seed
    truth = draw.integers(classes, size=n)
    guess = np.where(draw.random(n) < 0.6, truth, draw.integers(classes, size=n))
    assert matthews(truth, guess, classes) == pytest.approx(sk.matthews_corrcoef(truth, guess), abs=1e-12)
    assert binary_f1(truth % 2, guess % 2) == pytest.approx(
        sk.f1_score(truth % 2, guess % 2, zero_division=0), abs=1e-12
    )
    x, y = draw.normal(size=n), draw.integers(5, size=n)  # with ties
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_what_is_constant_has_no_correlation() -> None:
    assert pearson([1, 2, 3], [4, 4, 4]) == spearman([1, 1, 1], [1, 2, 3]) == matthews([0, 1, 1], [1, 1, 1], 2) == 0
    assert binary_f1([0, 0], [0, 0]) == 0
    with pytest.raises(ValueError, match="two equally long lists of at least two numbers"):
        pearson([1, 2], [1])


# --- entities --------------------------------------------------------------------------------------------------------


def test_entities_of_every_scheme() -> None:
    assert entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC"]) == [("PER", 0, 1), ("LOC", 3, 3), ("LOC", 4, 4)]
    assert entities(["I-PER", "I-PER", "I-LOC", "B-LOC"]) == [("PER", 0, 1), ("LOC", 2, 2), ("LOC", 3, 3)]  # IOB1
    assert entities(["B-PER", "I-PER", "E-PER", "S-PER", "E-LOC"]) == [("PER", 0, 2), ("PER", 3, 3), ("LOC", 4, 4)]
    assert entities(["O", "I-A-B", "I-A-B"]) == [Entity("A-B", 1, 2)]
    assert entities([]) == []


def by_marks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Another way: mark every word as begin (b), inside (i) or outside, then read stretches by a pattern."""
    marks = []
    for before, tag in itertools.pairwise(["O", *tags]):
        if tag == "O":
            marks.append("-")
        elif tag[0] in "BS" or before == "O" or before[0] in "ES" or before[2:] != tag[2:]:
            marks.append("b")
        else:
            marks.append("i")
    return {(tags[m.start()][2:], m.start(), m.end() - 1) for m in re.finditer("bi*", "".join(marks))}


@pytest.mark.parametrize("prefixes", ["BI", "I", "BIES"])
def test_entity_f1_equals_brute_force_on_any_sequence(prefixes: str) -> None:
    """Sequences that no scheme allows included; `test_official_metrics.py` compares such with seqeval."""
    draw = random.Random(len(prefixes))
    tags = ["O", *(f"{p}-{t}" for p in prefixes for t in ("PER", "LOC"))]
    labels = [[draw.choice(tags) for _ in range(draw.randint(0, 12))] for _ in range(300)]
    said = [[t if draw.random() < 0.6 else draw.choice(tags) for t in of] for of in labels]
    for of in labels:
        assert set(entities(of)) == by_marks(of)
    found = Counter({"both": 0, "there": 0, "said": 0})
    for true, guess in zip(labels, said, strict=True):
        found.update({"both": len(by_marks(true) & by_marks(guess)), "there": len(by_marks(true))})
        found.update({"said": len(by_marks(guess))})
    precision, recall = found["both"] / found["said"], found["both"] / found["there"]
    counts = np.array([entity_counts(*pair) for pair in zip(labels, said, strict=True)])
    assert micro_f1(counts) == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)
    with pytest.raises(ValueError, match="2 tags and 1 predicted ones"):
        entity_counts(["O", "O"], ["O"])


# --- answers ---------------------------------------------------------------------------------------------------------


def official(text: str) -> list[str]:
    """SQuAD's `normalize_answer`, step by step as the paper's script has it, and its split."""
    text = text.lower()
    text = "".join(ch for ch in text if ch not in set(string.punctuation))
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split()).split()


@pytest.mark.parametrize(
    ("answer", "said", "exact", "f1"),
    [
        ("The Normans", "normans", 1, 1),
        ("10th and 11th centuries", "in the 10th century", 0, 2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4)),
        ("Denmark, Iceland and Norway", "Denmark, Norway", 0, 2 * 1 * 0.5 / 1.5),
        ("it's", "its", 1, 1),
        ("a a b b", "b b b", 0, 0.8),
        ("the", "", 1, 0),
        ("Paris", "", 0, 0),
    ],
)
def test_squad_by_hand(answer: str, said: str, exact: float, f1: float) -> None:
    assert exact_match(answer, said) == exact
    assert token_f1(answer, said) == pytest.approx(f1, abs=1e-12)
    words, guess = official(answer), official(said)
    both = sum((Counter(words) & Counter(guess)).values())
    p, r = both / max(1, len(guess)), both / max(1, len(words))
    assert token_f1(answer, said) == pytest.approx(2 * p * r / (p + r) if both else 0, abs=1e-12)


def test_squad_2_counts_no_answer_and_takes_the_best_of_several() -> None:
    rules = scores_of("en", True)
    for rule in rules.values():
        assert best(rule, [], "", True) == best(rule, ["the"], "", True) == 1
        assert best(rule, [], "Paris", True) == best(rule, ["Paris"], "", True) == 0
        assert best(rule, ["Rome", "the city of Paris", "Paris"], "paris!", True) == 1
    assert best(rules["f1"], ["Rome", "city of Paris"], "Paris", True) == pytest.approx(0.5)
    assert scores_of("en", False)["f1"]("the", "a") == 0  # as in the script of 1.1
    assert best(token_f1, [], "x") == 0


def test_chinese_answers_are_compared_by_character() -> None:
    assert chinese_parts("《范廷颂》，1919年 in Hanoi City") == ["范", "廷", "颂", "1919", "年", "in", "hanoi", "city"]
    assert chinese_exact_match("“范廷颂”。", "范廷颂") == 1
    assert chinese_exact_match("范廷颂", "范廷") == 0
    assert chinese_f1("范廷颂主教", "主教范廷颂") == pytest.approx(2 * 0.6 * 0.6 / 1.2)  # the longest run: 范廷颂
    assert chinese_f1("光绪二十五年", "二十五年") == pytest.approx(2 * 1 * (4 / 6) / (1 + 4 / 6))
    assert chinese_f1("甲", "乙") == chinese_f1("", "乙") == 0
    assert scores_of("zh-Hans", False)["f1"] is chinese_f1
    none = scores_of("zh", True)["f1"]  # SQuAD 2.0's rule: no answer is right where there is none
    assert best(none, [], "", unanswerable=True) == 1
    assert best(none, [], "甲", unanswerable=True) == best(none, ["甲"], "", unanswerable=True) == 0
    assert best(none, ["范廷颂"], "范廷", unanswerable=True) == pytest.approx(2 * 2 / 5)


# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibration_by_hand() -> None:
    bins = reliability([0.95, 0.85, 0.91, 0.1, 0.10001, 1.0, 0.0], [1, 1, 0, 0, 1, 1, 0])
    assert [b.predictions for b in bins] == [2, 1, 0, 0, 0, 0, 0, 0, 1, 3]
    assert bins[9].accuracy == pytest.approx(2 / 3)
    assert bins[9].confidence == pytest.approx((0.95 + 0.91 + 1) / 3)
    by_hand = (2 * abs(0 - 0.05) + abs(1 - 0.10001) + abs(1 - 0.85) + 3 * abs(2 / 3 - 2.86 / 3)) / 7
    assert expected_calibration_error(bins) == pytest.approx(by_hand)
    draw = np.random.default_rng(0)
    p = draw.random(100_000)
    assert expected_calibration_error(reliability(p, draw.random(100_000) < p)) < 0.01
    with pytest.raises(ValueError, match=r"probabilities must lie in 0\.\.1"):
        reliability([1.5], [1])
    with pytest.raises(ValueError, match="a probability and a verdict of each item"):
        reliability([], [])


# --- by name ---------------------------------------------------------------------------------------------------------


def rows(labels: list[Any], predicted: list[Any]) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "label": label, "predicted": said, "probabilities": [0.5, 0.5]}
        for n, (label, said) in enumerate(zip(labels, predicted, strict=True))
    ]


def test_metrics_are_found_by_name_or_refused() -> None:
    two = Task(name="two", ask=Classification(classes=("no", "yes")), metrics=("f1", "matthews"))
    answered = rows([0, 1, 1, 0], [0, 1, 0, 1])
    assert score(two, answered) == pytest.approx(0.5)
    assert score(two, answered, "matthews") == 0
    three = Task(name="three", ask=Classification(classes=("a", "b", "c")), metrics=("f1",))
    with pytest.raises(ValueError, match="three: f1 is for two classes, the second being sought; take macro_f1"):
        metric_of(three)
    speech = Task(name="speech", ask=Tagging(tags=("N", "V"), spans=False), metrics=("entity_f1",))
    with pytest.raises(ValueError, match=r"speech: entity_f1 is for tags that mark spans \(spans: true\)"):
        metric_of(speech)
    assert score(speech, rows([["N", "V"], ["N"]], [["N", "N"], ["N"]]), "accuracy") == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="a task of form generation has no metric 'bleu'; it has none"):
        metric_of(Task(name="t", ask=Generation(), metrics=("bleu",)))
    for form, named in METRICS.items():
        assert named, form


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_figures_that_are_no_means_are_made_anew_of_each_resampling(name: str) -> None:
    draw = np.random.default_rng(3)
    x = draw.normal(size=60)
    task = Task(name="numbers", ask=Regression(), metrics=(name,))
    good, bad = (Predictions(task, rows(x.tolist(), (x + s * draw.normal(size=60)).tolist())) for s in (0.3, 2.0))
    oracle = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[name]
    found = bootstrap.difference([good.figure()], [bad.figure()], 60, draws=200)
    chosen = [g.integers(60, size=60) for g in [np.random.Generator(np.random.Philox(0))] for _ in range(200)]
    values = [oracle(x[c], good.predicted[c]).statistic - oracle(x[c], bad.predicted[c]).statistic for c in chosen]
    assert found.value == pytest.approx(oracle(x, good.predicted).statistic - oracle(x, bad.predicted).statistic)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-9)
    assert found.low > 0
    assert found.p_value < 0.05
    between = bootstrap.interval([good.figure(), bad.figure()], 60, draws=200)
    assert between.low < between.value < between.high


def test_means_are_compared_alike_by_both_ways() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.integers(2, size=(2, 150)).astype(float)
    by_means = paired_bootstrap(a, b, draws=2000)
    by_items = bootstrap.difference([lambda c: float(a[c].mean())], [lambda c: float(b[c].mean())], 150)
    assert by_items.value == pytest.approx(by_means.value)
    assert (by_items.low, by_items.high) == pytest.approx((by_means.low, by_means.high), abs=1e-9)
    with pytest.raises(ValueError, match="no items to resample"):
        bootstrap.interval([lambda c: 0.0], 0)


def test_the_threshold_is_the_best_of_all() -> None:
    draw = random.Random(0)
    task = Task(name="q", ask=QuestionAnswering(unanswerable=True), metrics=("f1",))
    given = []
    for n in range(40):
        none = draw.random() < 0.4
        difference = round(draw.gauss(1.5 if none else -1.0, 2.0), 1)  # with ties
        span = draw.choice(["Paris", "Rome", "the city of Rome"])
        given.append(
            {
                "id": str(n),
                "label": [] if none else ["Rome"],
                "span": span,
                "null_difference": difference,
                "predicted": "",
            }
        )

    def mean(threshold: float) -> float:
        said = [{**row, "predicted": "" if row["null_difference"] > threshold else row["span"]} for row in given]
        return score(task, said)

    found = best_threshold(Predictions(task, given))
    differences = sorted({row["null_difference"] for row in given})
    assert mean(found) == pytest.approx(max(mean(t) for t in [differences[0] - 1, *differences]))
    assert found not in differences or found == differences[-1]
