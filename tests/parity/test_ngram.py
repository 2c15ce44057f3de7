"""Probabilities of every smoothing against the definitions, nltk and KenLM's lmplz; they sum to one."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.ngram.build import build_from_stream, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import NgramModel, load_ngram
from lm.ngram.smoothing import counts_of_counts, modified_discounts, single_discount
from tests.lm.ngram_oracle import ORACLE, sentences
from tests.lm.ngram_reference import Reference

SMOOTHINGS = ["mle", "add_k", "absolute_discounting", "kneser_ney", "modified_kneser_ney", "stupid_backoff"]
LINES = [" ".join(sentence) for sentence in sentences()]


def build(folder: Path, lines: list[str] = LINES, **config: Any) -> NgramModel:
    build_word_ngram(lines, NgramConfig(**config), folder)
    return load_ngram(folder)


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(ORACLE.read_text(encoding="utf-8"))
    return answers


def ids(model: NgramModel, words: list[str]) -> list[int]:
    return [model.boundary if word in ("<s>", "</s>") else int(model.encode(word)[0]) for word in words]


def test_the_discounts_are_the_closed_form() -> None:
    y = 50 / (50 + 2 * 20)
    expected = (1 - 2 * y * 20 / 50, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10)
    assert modified_discounts([0, 50, 20, 10, 6], (0.5, 1.0, 1.5)) == pytest.approx(expected, rel=1e-15)
    assert single_discount([0, 50, 20, 10, 6]) == pytest.approx(y)
    assert counts_of_counts(np.array([1, 1, 2, 3, 4, 4, 4, 5, 900, 0], dtype=np.uint32)) == [0, 2, 1, 1, 3]


@pytest.mark.parametrize(
    "n", [[0, 0, 5, 5, 5], [0, 5, 0, 5, 5], [0, 5, 5, 0, 5], [0, 1, 5, 90, 1], [0, 100, 1, 90, 1], [0, 9, 9, 1, 99]]
)
def test_counts_that_are_not_natural_fall_back(n: list[int]) -> None:
    assert modified_discounts(n, (0.5, 1.0, 1.5)) == (0.5, 1.0, 1.5)


def test_one_discount_falls_back_too() -> None:
    assert single_discount([0, 0, 7]) == single_discount([0, 7, 0]) == 0.5


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize(("order", "prune"), [(1, (0,)), (2, (0,)), (4, (0,)), (4, (0, 0, 1)), (3, (0, 2))])
def test_probabilities_are_the_definitions(tmp_path: Path, smoothing: str, order: int, prune: tuple[int, ...]) -> None:
    model = build(tmp_path, order=order, smoothing=smoothing, prune=prune, precision="float64")
    text = [ids(model, sentence) for sentence in sentences()]
    reference = Reference(text, model.vocab, model.boundary, order, smoothing, prune)
    draw = np.random.default_rng(0)
    scored = [[*text[i], model.boundary] for i in range(0, len(text), 10)]  # seen
    scored += [[*draw.integers(2, model.vocab, 6), model.boundary] for _ in range(10)]  # hardly seen
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in scored])])
    got = np.split(model.probs(np.concatenate(scored), offsets), offsets[1:-1])
    for sequence, p in zip(scored, got, strict=True):
        padded = (model.boundary, *map(int, sequence))
        expected = [
            reference.p(padded[max(0, i - order + 1) : i] if order > 1 else (), padded[i])
            for i in range(1, len(padded))
        ]
        np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("prune", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_probabilities_sum_to_one(tmp_path: Path, smoothing: str, prune: tuple[int, ...]) -> None:
    model = build(tmp_path, order=4, smoothing=smoothing, prune=prune)
    draw = np.random.default_rng(1)
    text = np.concatenate([[model.boundary, *ids(model, sentence)] for sentence in sentences()])
    places = draw.integers(0, len(text), 500)
    histories = [text[max(0, i - draw.integers(0, 4)) : i] for i in places]  # seen
    histories += [draw.integers(0, model.vocab, draw.integers(1, 4)) for _ in range(500)]  # most of them not
    sums = np.array([model.distribution(history.tolist()).sum() for history in histories])
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)


def test_mle_lidstone_and_absolute_discounting_equal_nltk(tmp_path: Path, oracle: dict[str, Any]) -> None:
    settings: dict[str, dict[str, Any]] = {
        "mle": {"smoothing": "mle"},
        "lidstone": {"smoothing": "add_k", "k": 0.1},
        "absolute": {"smoothing": "absolute_discounting", "discounts": (0.0, 0.75)},  # nltk's unigrams: frequencies
    }
    for name, config in settings.items():
        model = build(tmp_path / name, order=3, precision="float64", **config)
        for context, word, expected in oracle["nltk"][name]:
            history = ids(model, context)
            if name == "mle" and model.node(history) is None:
                continue  # no frequency is defined there: nltk says 0, we ask the shorter context
            p = math.exp(model.log_prob(history, ids(model, [word])[0])) if expected else None
            got = p if p is not None else model.distribution(history)[ids(model, [word])[0]]
            assert got == pytest.approx(expected, rel=1e-9, abs=1e-15), (name, context, word)


@pytest.mark.parametrize(
    ("name", "order", "prune"), [("whole", 4, (0,)), ("pruned", 4, (0, 0, 1)), ("trigram", 3, (0,))]
)
def test_modified_kneser_ney_equals_lmplz(
    tmp_path: Path, oracle: dict[str, Any], name: str, order: int, prune: tuple[int, ...]
) -> None:
    model, expected = build(tmp_path, order=order, prune=prune), oracle["lmplz"][name]
    sizes = model.described["ngrams"]
    assert [sizes[0] + 1, *sizes[1:]] == expected["sizes"]  # lmplz counts <s> and </s>
    for log10_p, gram, log10_backoff in expected["lines"]:
        node = model.node(ids(model, gram.split(" ")))
        assert node is not None
        if gram != "<s>":
            assert math.log10(model.arrays.probs[node]) == pytest.approx(log10_p, abs=2e-5), gram
        if log10_backoff:
            assert math.log10(model.arrays.backoffs[node]) == pytest.approx(log10_backoff, abs=2e-5), gram
    for text, log10_p in expected["sentences"]:  # the kenlm module, on lmplz's file
        assert model.sequence_log_prob(model.encode(text)) / math.log(10) == pytest.approx(log10_p, abs=1e-4)


def test_smoothing_pays_off_on_other_text(tmp_path: Path) -> None:
    held_out = [sentence for i, sentence in enumerate(sentences()) if i % 10 == 0]
    rest = [" ".join(sentence) for i, sentence in enumerate(sentences()) if i % 10]
    nats = {}
    for smoothing in SMOOTHINGS[:5]:
        model = build(tmp_path / smoothing, rest, order=3, smoothing=smoothing, k=0.1)
        nats[smoothing] = -sum(model.sequence_log_prob(ids(model, sentence)) for sentence in held_out)
    assert nats["modified_kneser_ney"] < nats["add_k"] < nats["mle"] == math.inf
    assert nats["kneser_ney"] < nats["absolute_discounting"] < nats["add_k"]


def test_a_stream_that_is_not_of_words_works_as_well(tmp_path: Path) -> None:
    """Ids as they are: 0 0 1 | 0 1 | with the boundary 2; the trigrams by hand."""
    stream = iter([np.array([2, 0, 0, 1, 2, 0, 1, 2], dtype=np.uint32)])
    config = NgramConfig(order=3, smoothing="mle")
    described = build_from_stream(stream, 3, 2, config, tmp_path, tmp_path, "1GB", 1, lambda _: None, lambda: False)
    assert described["ngrams"] == [3, 4, 4]  # 00 01 12 20; 001 012 200 201
    assert described["sequences"] == 2
    assert described["tokens"] == 5
