"""Minimal pairs: decisions against scores taken one by one, files of both kinds, faults."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.evaluate.metrics import wilson
from lm.evaluate.minimal_pairs import minimal_pair_decisions, minimal_pair_figures, read_minimal_pairs
from lm.text_model import TextModel
from lm.texts.decoder import DecoderText
from lm.tokenizer import encode_documents, end_of_text_id
from tests.lm import exam_models
from tests.lm.exam_models import PROSE


def pairs_file(folder: Path) -> Path:
    path = folder / "order.jsonl"
    rows = [
        {
            "sentence_good": text,
            "sentence_bad": " ".join(reversed(text.split())),
            "UID": f"order_{number % 2}",
            "field": "syntax",
        }
        for number, text in enumerate(PROSE)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def log_prob(model: DecoderText, text: str) -> float:
    """ln p of a text token by token, in float64, as the definition says."""
    ids = [end_of_text_id(model.tokenizer), *encode_documents(model.tokenizer, [text])[0].tolist()]
    with torch.no_grad():
        logs = model.model(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)
    return float(sum(logs[at, token] for at, token in enumerate(ids[1:])))


def test_a_causal_model_decides_by_the_sum_of_its_log_probabilities(tmp_path: Path) -> None:
    model = exam_models.gpt(tmp_path)
    assert isinstance(model, DecoderText)
    pairs = read_minimal_pairs(pairs_file(tmp_path))
    table = minimal_pair_decisions(model, pairs)
    for pair, row in zip(pairs, table.to_pylist(), strict=True):
        good, bad = log_prob(model, pair.good), log_prob(model, pair.bad)
        assert row["good_log_prob"] == pytest.approx(good, rel=1e-4)
        assert row["bad_log_prob"] == pytest.approx(bad, rel=1e-4)
        assert row["score"] == float(good > bad)
        assert row["per_byte"] == float(good / len(pair.good.encode()) > bad / len(pair.bad.encode()))
    figures = minimal_pair_figures(table)
    right = int(sum(table["score"].to_pylist()))
    assert [figures["accuracy"][name] for name in ("value", "low", "high")] == pytest.approx(list(wilson(right, 6)))
    assert figures["accuracy/order_0"]["n"] == 3
    assert figures["field/syntax"]["n"] == 6
    values = [figures[f"accuracy/order_{n}"]["value"] for n in (0, 1)]
    assert figures["mean_of_paradigms"]["value"] == pytest.approx(np.mean(values))


def test_an_ngram_prefers_text_that_it_has_read(tmp_path: Path) -> None:
    model = exam_models.ngram(tmp_path)
    figures = minimal_pair_figures(minimal_pair_decisions(model, read_minimal_pairs(pairs_file(tmp_path))))
    assert figures["accuracy"]["value"] == 1.0


@pytest.mark.parametrize("variant", ["original", "within_word_l2r"])
def test_a_masked_model_decides_by_pseudo_likelihood(variant: str, tmp_path: Path) -> None:
    model: TextModel = exam_models.bert(tmp_path)
    pairs = read_minimal_pairs(pairs_file(tmp_path))
    table = minimal_pair_decisions(model, pairs, variant)  # type: ignore[arg-type]
    for pair, row in zip(pairs, table.to_pylist(), strict=True):
        [good] = model.pseudo_log_likelihood([pair.good], variant)  # type: ignore[attr-defined]
        assert row["good_log_prob"] == pytest.approx(good.sum(), rel=1e-4)
    assert model.kind == "bert"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        'sentence_good,sentence_bad\n"Yes, he is.","Yes, he are."\nA cat sits.,A cat sit.\n'
    )
    pairs = read_minimal_pairs(tmp_path / "mine.csv")
    assert [(pair.id, pair.good, pair.paradigm) for pair in pairs] == [
        ("mine/0", "Yes, he is.", "mine"),
        ("mine/1", "A cat sits.", "mine"),
    ]


def test_twice_the_same_sentence_is_a_wrong_decision_that_is_counted(tmp_path: Path) -> None:
    (tmp_path / "same.jsonl").write_text('{"sentence_good": "A cat.", "sentence_bad": "A cat."}\n')
    table = minimal_pair_decisions(exam_models.ngram(tmp_path), read_minimal_pairs(tmp_path / "same.jsonl"))
    figures = minimal_pair_figures(table)
    assert (figures["accuracy"]["value"], figures["equal"]["value"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"sentence_good": "A."}\n', "line 1: needs sentence_good and sentence_bad, it has sentence_good"),
        ("a.jsonl", b'{"sentence_good": "A.", "sentence_bad": "B."}\n{', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("a.csv", b"good,bad\nA,B\n", "line 2: needs sentence_good and sentence_bad, it has good, bad"),
        ("a.csv", b"sentence_good,sentence_bad\n,x\n", "needs sentence_good and sentence_bad, it has sentence_bad$"),
        ("a.jsonl", b"\n", "there are no pairs in it"),
        ("a.jsonl", b"\xff", "line 1 is not UTF-8"),
        ("a.jsonl.zst", b"no zstd", "damaged after 0 bytes"),
        ("a.txt", b"A cat.", "read from files of columns: jsonl, csv, tsv, parquet"),
    ],
)
def test_faults_name_file_and_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        read_minimal_pairs(tmp_path / name)


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs TEXTMILL_DATA")
def test_blimp_is_read(tmp_path: Path) -> None:
    folder = Path(os.environ["TEXTMILL_DATA"]) / "labelled" / "blimp"
    pairs = read_minimal_pairs(folder / "passive_1.jsonl.zst")
    assert len(pairs) == 1000
    assert {(pair.paradigm, pair.field) for pair in pairs} == {("passive_1", "syntax")}
    assert sum(pair.good == pair.bad for pair in pairs) > 0  # BLiMP has such
