"""Every shipped exam is taken by its name, on small data in the places of the development data."""

from pathlib import Path

import pytest

from flows.config.exam import load_exam, shipped_exams
from tasks.exams.config import EXAMS
from tasks.store import Store
from tests.flows.exam_data import write_data
from tests.flows.exam_home import asked, make_store
from tests.lm import exam_models


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exam")
    make_store(root)
    write_data(root / "data")
    exam_models.gpt(root, context=120)
    (root / "words.txt").write_text(" ".join(f"{a}{b}{c}n" for a in "bdk" for b in "aeiou" for c in "lmrstvw"))
    return root


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTMILL_HOME", str(home))
    monkeypatch.setenv("TEXTMILL_DATA", str(home / "data"))
    monkeypatch.chdir(home)
    return home


SMALL = {
    "hurtful-words": {"texts": "1", "tokens": "4"},
    "memorised": {"prompted": "1", "unprompted": "1", "prompt_tokens": "4", "tokens": "9", "span": "3"},
    "patterns": {"items": "2", "paths": "[words.txt]"},
    "summary": {"labelled": "data/docs.yaml", "limit": "6"},
    "summary-contamination": {"labelled": "data/docs.yaml"},
    "summary-written": {"labelled": "data/docs.yaml", "limit": "2"},
    "translation": {"limit": "2", "shots": "1"},
}
"""What is cut down, where the data are not small themselves."""
NEEDS = {
    **dict.fromkeys(("analogies", "wordsim"), "vectors"),
    **dict.fromkeys(("tag-probe", "pos-probe", "sense-probe", "summary"), "gpt"),
}
"""Which model sits an exam; others: trigrams."""
SAID = {
    "cloze": ("exact", "answer_nats_per_word"),
    "multiple-choice": ("accuracy", "accuracy_unconditional", "chance"),
    "perplexity": (
        "bits_per_byte",
        "bits_per_character",
        "perplexity_per_word",
        "perplexity_per_token",
    ),
    "pos-probe": ("best", "most_frequent", "layer_2"),
    "question-answering": ("exact", "f1"),
    "sense-probe": ("best", "most_frequent", "layer_0"),
    "sentence-similarity": ("spearman", "pearson"),
    "sentiment": ("accuracy", "accuracy/negative"),
    "summary": ("gain_nats", "gain_bits_per_byte", "likelier_with_hint"),
    "summary-written": ("rouge_l", "answer_nats_per_word"),
    "tag-probe": ("best", "most_frequent", "layer_2"),
    "topic": ("accuracy", "chance"),
    "translation": ("bleu", "chrf"),
    "wordsim": ("spearman/wordsim353", "known/simlex999"),
}
"""Figures that an exam is asked for."""


@pytest.mark.parametrize("name", shipped_exams())
def test_every_shipped_exam_is_taken(name: str, here: Path) -> None:
    model = NEEDS.get(name, "vectors" if name == "sentence-similarity" else "three")
    found = asked(model, name, **SMALL.get(name, {}))["exams"][0]
    assert found["name"] == name
    assert found["items"] > 0
    assert all(isinstance(each["value"], float | int) for each in found["figures"].values())
    assert set(SAID.get(name, ())) <= set(found["figures"])
    assert asked(model, name, **SMALL.get(name, {}))["exams"][0]["cached"]


def test_every_kind_of_exam_is_shipped() -> None:
    assert {load_exam(name).kind for name in shipped_exams()} == set(EXAMS)


def test_a_perplexity_says_what_was_seen(here: Path) -> None:
    [found] = asked("gpt", "perplexity")["exams"]
    assert found["definition"] == {
        "context": 120,
        "stride": 60,
        "beginning": "each text behind <|endoftext|>, its first token scored",
        "end_of_text": "not scored",
        "texts": "each by itself, not packed",
    }
    [other] = asked("gpt", "perplexity", stride="1", begin="false")["exams"]
    assert other["definition"]["stride"] == 1
    assert other["definition"]["beginning"] == "the first token of each text is seen, not scored"
    assert other["artifact"] != found["artifact"]


def test_a_set_is_built_once_for_all_exams(here: Path) -> None:
    asked("three", "sentiment")
    store = Store(here / "store")
    sets = len(store.list("labelled_set"))
    asked("one", "sentiment", shots="2")
    assert len(store.list("labelled_set")) == sets
