"""Every shipped task reads records as its set on the hub has them: columns, class names in their order, nested answers.

The columns are those of the sets' cards. The hub itself is not asked: a folder with the same files stands in for it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from flows.config.loading import CONFIGS
from flows.config.task import load_task
from flows.task_sets import build_task
from lm.labelled.folder import LabelledSet
from lm.labelled.hub import CONVERTED, converted_files
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

TEXT = Value("string")
ENTITIES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
SQUAD = {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT}
SPANS = {"text": List(TEXT), "answer_start": List(Value("int32"))}
ASKED = {
    "id": "q",
    "title": "T",
    "context": "a cat",
    "question": "Who?",
    "answers": {"text": ["cat"], "answer_start": [2]},
}
ANSWERED = {"context": "a cat", "question": "Who?", "answers": ["cat"], "starts": [2]}
SICK = {
    "sentence_A": TEXT,
    "sentence_B": TEXT,
    "label": ClassLabel(names=["entailment", "neutral", "contradiction"]),
    "relatedness_score": Value("float32"),
}
ENDINGS = {f"ending{n}": TEXT for n in range(4)}


def pair(one: str, other: str, *names: str) -> dict[str, Any]:
    return {one: TEXT, other: TEXT, "label": ClassLabel(names=list(names)), "idx": Value("int32")}


HUB: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "mnli": (
        pair("premise", "hypothesis", "entailment", "neutral", "contradiction"),
        {"premise": "p", "hypothesis": "h", "label": 2, "idx": 0},
        {"text": "p", "text_b": "h", "label": 2},
    ),
    "qqp": (
        pair("question1", "question2", "not_duplicate", "duplicate"),
        {"question1": "p", "question2": "h", "label": 1, "idx": 0},
        {"text": "p", "text_b": "h", "label": 1},
    ),
    "qnli": (
        pair("question", "sentence", "entailment", "not_entailment"),
        {"question": "p", "sentence": "h", "label": 1, "idx": 0},
        {"text": "p", "text_b": "h", "label": 1},
    ),
    "sts-b": (
        {**pair("sentence1", "sentence2", "x"), "label": Value("float32")},
        {"sentence1": "p", "sentence2": "h", "label": 3.5, "idx": 0},
        {"text": "p", "text_b": "h", "label": 3.5},
    ),
    "mrpc": (
        pair("sentence1", "sentence2", "not_equivalent", "equivalent"),
        {"sentence1": "p", "sentence2": "h", "label": 1, "idx": 0},
        {"text": "p", "text_b": "h", "label": 1},
    ),
    "rte": (
        pair("sentence1", "sentence2", "entailment", "not_entailment"),
        {"sentence1": "p", "sentence2": "h", "label": 0, "idx": 0},
        {"text": "p", "text_b": "h", "label": 0},
    ),
    "sst-2": (
        {"sentence": TEXT, "label": ClassLabel(names=["negative", "positive"])},
        {"sentence": "p", "label": 1},
        {"text": "p", "text_b": None, "label": 1},
    ),
    "cola": (
        {"sentence": TEXT, "label": ClassLabel(names=["unacceptable", "acceptable"])},
        {"sentence": "p", "label": 1},
        {"text": "p", "text_b": None, "label": 1},
    ),
    "squad-1.1": ({**SQUAD, "answers": SPANS}, ASKED, ANSWERED),
    "squad-2.0": (
        {**SQUAD, "answers": SPANS},
        {**ASKED, "answers": {"text": [], "answer_start": []}},
        {**ANSWERED, "answers": [], "starts": []},
    ),
    "conll-2003": (
        {"tokens": List(TEXT), "ner_tags": List(ClassLabel(names=[*ENTITIES, "B-MISC", "I-MISC"]))},
        {"tokens": ["New", "York", "Swiss"], "ner_tags": [5, 6, 7]},
        {"words": ["New", "York", "Swiss"], "tags": ["B-LOC", "I-LOC", "B-MISC"]},
    ),
    "msra": (
        {"tokens": List(TEXT), "ner_tags": List(ClassLabel(names=ENTITIES))},
        {"tokens": ["北", "京"], "ner_tags": [5, 6]},
        {"words": ["北", "京"], "tags": ["B-LOC", "I-LOC"]},
    ),
    "swag": (
        {"startphrase": TEXT, "sent1": TEXT, "sent2": TEXT, **ENDINGS, "label": ClassLabel(names=["0", "1", "2", "3"])},
        {"startphrase": "s t", "sent1": "s", "sent2": "t", **{name: name for name in ENDINGS}, "label": 2},
        {"context": "s", "question": "t", "choices": list(ENDINGS), "label": 2},
    ),
    "trec": (
        {"text": TEXT, "coarse_label": ClassLabel(names=["ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"])},
        {"text": "p", "coarse_label": 4},
        {"text": "p", "text_b": None, "label": 4},
    ),
    "sick-entailment": (
        SICK,
        {"sentence_A": "p", "sentence_B": "h", "label": 2, "relatedness_score": 3.5},
        {"text": "p", "text_b": "h", "label": 2},
    ),
    "sick-relatedness": (
        SICK,
        {"sentence_A": "p", "sentence_B": "h", "label": 2, "relatedness_score": 3.5},
        {"text": "p", "text_b": "h", "label": 3.5},
    ),
    "mctest": (
        {"story": TEXT, "question": TEXT, "answer_options": dict.fromkeys("ABCD", TEXT), "answer": TEXT},
        {"story": "s", "question": "q", "answer_options": dict(zip("ABCD", "wxyz", strict=True)), "answer": "C"},
        {"context": "s", "question": "q", "choices": ["w", "x", "y", "z"], "label": 2},
    ),
    "multi30k": ({"en": TEXT, "de": TEXT}, {"en": "dog", "de": "Hund"}, {"source": "dog", "target": "Hund"}),
    "chnsenticorp": (
        {"text": TEXT, "label": Value("int64")},
        {"text": "p", "label": 1},
        {"text": "p", "text_b": None, "label": 1},
    ),
    "ocnli": (
        pair("sentence1", "sentence2", "neutral", "entailment", "contradiction"),
        {"sentence1": "p", "sentence2": "h", "label": 1, "idx": 0},
        {"text": "p", "text_b": "h", "label": 0},
    ),
    "cmrc-2018": (
        {"id": TEXT, "context": TEXT, "question": TEXT, "answers": SPANS},
        {name: value for name, value in ASKED.items() if name != "title"},
        ANSWERED,
    ),
    "lcqmc": (
        {"sentence1": TEXT, "sentence2": TEXT, "score": Value("int32")},
        {"sentence1": "p", "sentence2": "h", "score": 1},
        {"text": "p", "text_b": "h", "label": 1},
    ),
}
"""Columns, a record, and the example that it is."""

# The columns of the first are those of the files that are handed out (tests/lm/test_labelled_read.py); the second is
# made of installed packages.
NO_FILES = {"story-cloze", "summarise-docs", "summarise-docs-small"}


def test_every_shipped_task_is_here() -> None:
    assert set(HUB) | NO_FILES == {path.stem for path in (CONFIGS / "tasks").glob("*.yaml")}


@pytest.mark.parametrize("name", HUB)
def test_a_record_of_the_hub_is_the_example_it_should_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    features, record, example = HUB[name]
    config = load_task(CONFIGS / "tasks" / f"{name}.yaml", {"hub.id": str(tmp_path / "set")})
    assert config.hub is not None
    settings = {"hub.id": str(tmp_path / "set"), "checks": json.dumps({"leaks": "report", "near": {"enabled": False}})}
    for split, source in (("train", config.train), ("valid", config.valid)):
        if source is None:  # cut off on the hub: here, too little is there to cut
            settings["valid"] = json.dumps({"split": "train", "data_files": ["valid.parquet"]})
        file = f"{split}.parquet"
        if source is not None and config.hub.revision == CONVERTED:
            file = converted_files(config.hub, str(source.split))[0].replace("*", "0000")
        elif source is not None:
            settings[f"{split}.data_files"] = f"[{file}]"
        path = tmp_path / "set" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        named = {**record, "id": split} if "id" in features else record
        Dataset.from_list([named], features=Features(features)).to_parquet(path)
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        made = build_task(load_task(CONFIGS / "tasks" / f"{name}.yaml", settings))
    opened = LabelledSet(made.path)
    for split in ("train", "valid"):
        [found] = opened.read(split).to_pylist()  # type: ignore[arg-type]  # str for Split
        assert found.pop("id") in (split, f"{split}:1")
        assert found == example
