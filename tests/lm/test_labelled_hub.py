"""Sets through `datasets`: a folder as the hub has them, names of classes, and what is said without a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from lm.labelled.forms import Classification, QuestionAnswering, Tagging
from lm.labelled.hub import CONVERTED, converted_files, read_hub
from lm.labelled.read_config import HubConfig, ReadConfig
from lm.labelled.reading import read_examples
from lm.labelled.streams import BadInput


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def write(folder: Path, split: str, rows: list[dict[str, object]], features: Features) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def test_class_numbers_become_names_whatever_their_order(tmp_path: Path) -> None:
    names = ClassLabel(names=["contradiction", "entailment"])  # not the order that the task has
    features = Features({"premise": Value("string"), "label": names, "tags": List(ClassLabel(names=["O", "B-X"]))})
    rows = [{"premise": "p", "label": 1, "tags": [0, 1]}, {"premise": "q", "label": 0, "tags": []}]
    write(tmp_path / "set" / "data", "train", rows, features)
    hub = HubConfig(id=str(tmp_path / "set"))
    config = ReadConfig(fields={"text": "premise"})
    form = Classification(classes=("entailment", "contradiction"))
    made = read_examples(form, read_hub(hub, "train"), config, "train").examples
    assert [(e["id"], e["text"], e["label"]) for e in made] == [("train:1", "p", 0), ("train:2", "q", 1)]
    words = Tagging(tags=("B-X", "O"), spans=False)
    config = ReadConfig(fields={"words": "tags"})
    assert read_examples(words, read_hub(hub, "train"), config, "train").examples[0]["tags"] == ["O", "B-X"]


def test_answers_of_squad_as_the_hub_has_them(tmp_path: Path) -> None:
    inner = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
    features = Features(
        {"id": Value("string"), "context": Value("string"), "question": Value("string"), "answers": inner}
    )
    answers = {"text": ["cat"], "answer_start": [2]}
    write(tmp_path / "set", "train", [{"id": "x", "context": "a cat", "question": "?", "answers": answers}], features)
    config = ReadConfig(fields={"id": "id", "answers": "answers.text", "starts": "answers.answer_start"})
    records = read_hub(HubConfig(id=str(tmp_path / "set")), "train")
    [example] = read_examples(QuestionAnswering(), records, config, "train").examples
    assert (example["id"], example["answers"], example["starts"]) == ("x", ["cat"], [2])


def test_files_of_the_converted_branch_are_named_by_config_and_split(tmp_path: Path) -> None:
    hub = HubConfig(id=str(tmp_path / "set"), config="mc500", revision=CONVERTED)
    assert converted_files(hub, "validation") == ("mc500/validation/*.parquet",)
    assert converted_files(HubConfig(id="x"), "train") == ("default/train/*.parquet",)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    for config, text in (("mc160", "other"), ("mc500", "this")):
        write(tmp_path / "set" / config / "validation", "0000", [{"text": text, "label": 1}], features)
    [record] = read_hub(hub, "validation", converted_files(hub, "validation"))
    assert record.values == {"text": "this", "label": "yes"}
    assert record.short == "validation: record 1"


def test_examples_without_a_label_are_named(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    write(tmp_path / "set", "test", [{"text": "t", "label": -1}], features)
    form = Classification(classes=("no", "yes"))
    with pytest.raises(
        BadInput, match=r"test: record 1: label .*label -1 means that there is none; test splits of the"
    ):
        read_examples(form, read_hub(HubConfig(id=str(tmp_path / "set")), "test"), ReadConfig(), "test")


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    features = Features({"text": Value("string")})
    write(tmp_path / "set", "train", [{"text": "t"}], features)
    with pytest.raises(BadInput, match=r"set, dev: cannot be read from the hub after 0 records: .*Check hub\.id"):
        list(read_hub(HubConfig(id=str(tmp_path / "set")), "dev"))


OFFLINE = """
from lm.labelled.hub import read_hub
from lm.labelled.read_config import HubConfig
from lm.labelled.streams import BadInput
try:
    list(read_hub(HubConfig(id="nyu-mll/glue", config="sst2", revision="0" * 40), "train"))
except BadInput as error:
    print(error)
"""


def test_without_a_network_it_says_how_to_go_on() -> None:
    # in a process of its own: huggingface_hub reads HF_HUB_OFFLINE when it is imported
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    said = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("nyu-mll/glue, train: cannot be read from the hub after 0 records: ")
    assert "without a network, name files: --set train.files=[FILE]" in said.stdout
