"""Every shipped exam is taken, on small data in the places of the development data."""

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from flows.exam_config import shipped_exams
from lm.labelled.folder import Task, write_labelled
from lm.labelled.forms import Classification, MultipleChoice
from tests.flows.exam_home import asked, make_store
from tests.lm.exam_models import PROSE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exam")
    make_store(root)
    return root


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTMILL_HOME", str(home))
    return home


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Development data for the shipped exams, small."""
    folder = tmp_path / "data" / "labelled"
    (folder / "blimp").mkdir(parents=True)
    (folder / "word_similarity").mkdir()
    rows = [{"sentence_good": text, "sentence_bad": text[::-1], "UID": "order", "field": "syntax"} for text in PROSE]
    with pa.output_stream(str(folder / "blimp" / "order.jsonl.zst"), compression="zstd") as stream:
        stream.write("\n".join(map(json.dumps, rows)).encode())
    words = sorted({word.strip(".,;") for text in PROSE for word in text.lower().split()})
    pairs = "\n".join(f"{a}\t{b}\t{n}" for n, (a, b) in enumerate(pairwise(words)))
    for name in ("wordsim353.tsv", "simlex999.txt"):
        (folder / "word_similarity" / name).write_text(pairs)
    (folder / "word_similarity" / "questions-words.txt").write_text(": all\nthe a the a\na the a the\n")
    (tmp_path / "words.txt").write_text(" ".join(f"{a}{b}{c}n" for a in "bdk" for b in "aeiou" for c in "lmrstvw"))
    monkeypatch.setenv("TEXTMILL_DATA", str(tmp_path / "data"))
    for name, classes in (("two", ("negative", "positive")), ("six", ("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM"))):
        task = Task(name=name, ask=Classification(classes=classes), metrics=("accuracy",))
        examples = [{"id": str(n), "text": text, "text_b": None, "label": n % 2} for n, text in enumerate(PROSE)]
        write_labelled(tmp_path / name, task, {"train": examples, "valid": examples[:2]})
    stories = [{"id": str(n), "context": text, "question": "Who?", "choices": ["he", "she"], "label": n % 2}
               for n, text in enumerate(PROSE)]  # fmt: skip
    write_labelled(tmp_path / "stories", Task(name="stories", ask=MultipleChoice(), metrics=("accuracy",)),
                   {"train": stories, "valid": stories[:2]})  # fmt: skip
    return tmp_path


SMALL = {
    "analogies": {},
    "wordsim": {},
    "blimp": {},
    "blimp-contamination": {},
    "hurtful-words": {"texts": "1", "tokens": "4"},
    "memorised": {"prompted": "1", "unprompted": "1", "prompt_tokens": "4", "tokens": "9", "span": "3"},
    "multiple-choice": {"labelled": "stories"},
    "patterns": {"items": "2", "paths": "words.txt"},
    "pronouns": {},
    "sentiment": {"labelled": "two"},
    "topic": {"labelled": "six"},
}
"""What each shipped exam is cut down by; names of files and folders are those of `data`."""


@pytest.mark.parametrize("name", shipped_exams())
def test_every_shipped_exam_is_taken(name: str, here: Path, data: Path) -> None:
    settings = dict(SMALL[name])
    if "labelled" in settings:
        settings["labelled"] = str(data / settings["labelled"])
    if "paths" in settings:
        settings["paths"] = f"[{data / settings['paths']}]"
    model = "vectors" if name in ("analogies", "wordsim") else "three"
    found = asked(model, name, **settings)["exams"][0]
    assert found["name"] == name
    assert found["items"] > 0
    assert all(isinstance(each["value"], float | int) for each in found["figures"].values())
