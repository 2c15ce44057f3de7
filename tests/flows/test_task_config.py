"""Tasks: shipped files, local data where it is, keys and values that are wrong, and the pages that tell how."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.config.loading import CONFIGS, ConfigError
from flows.config.task import TaskConfig, load_task
from flows.task_sets import build_task
from lm.labelled.folder import LabelledSet
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tests.conftest import ROOT

SHIPPED = sorted((CONFIGS / "tasks").glob("*.yaml"))
LOCAL = sorted((CONFIGS / "tasks" / "local").glob("*.yaml"))
HOWTO = ROOT / "docs" / "howto"

READ: dict[str, dict[str, int]] = {
    "chnsenticorp": {"train": 6_202, "valid": 775},
    "cmrc-2018": {"train": 1_002},
    "cola": {"train": 8_551, "valid": 527},
    "conll-2003": {"train": 14_041, "valid": 3_250},
    "conll-2003-pos": {"train": 14_041, "valid": 3_250},
    "mctest": {"train": 280 + 1_200, "valid": 120 + 200},
    "mrpc": {"train": 3_576, "valid": 500},
    "msra": {"train": 45_000, "valid": 2_000},
    "multi30k": {"train": 29_000, "valid": 1_014},
    "ocnli": {"train": 2_994, "valid": 500},
    "rte": {"train": 2_490, "valid": 277},
    "sick-entailment": {"train": 4_500, "valid": 500},
    "sick-relatedness": {"train": 4_500, "valid": 500},
    "squad-shifts": {"train": 7_936 + 9_877},
    "sst-2": {"train": 6_920, "valid": 872},
    "sts-b": {"train": 3_000, "valid": 750},
    "trec-chat": {"train": 5_452},
    "trec": {"train": 5_452},
}
"""Records of each file, as the README of the data counts them."""
NOTED = {
    "cmrc-2018": {"answers_moved": 5},
    "msra": {"tags_mended": 6},
    "squad-shifts": {"answers_moved": 869, "answers_left_out": 86, "questions_left_out": 26},  # 8 and 947 are wrong
}


OF_PACKAGES = ("summarise-docs", "summarise-docs-small")
"""Made of what is installed; nothing is asked of the hub."""


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.stem not in OF_PACKAGES], ids=lambda path: path.stem)
def test_a_shipped_task_names_its_set_and_how_to_do_without_the_hub(path: Path) -> None:
    config = load_task(path)
    assert config.name == path.stem
    assert config.hub is not None
    assert config.train.split is not None
    assert config.metrics == config.task().metrics
    head = path.read_text(encoding="utf-8").partition("name:")[0]
    assert f"textmill task check configs/tasks/{path.name}" in head
    settings = dict(item.split("=", 1) for item in re.findall(r"--set (train\.files=\S+|valid\.files=\S+)", head))
    own = load_task(path, settings)
    assert own.train.files
    assert own.train.files[0].startswith("train.")
    assert (own.valid is None) == (config.valid is None and "valid.files" not in settings)


def test_every_form_and_both_languages_are_shipped() -> None:
    configs = [load_task(path) for path in SHIPPED]
    assert {config.ask.form for config in configs} >= {
        "classification",
        "regression",
        "multiple_choice",
        "tagging",
        "question_answering",
        "generation",
    }
    assert {config.language for config in configs} == {"en", "zh"}
    assert len(configs) == 25


@pytest.mark.parametrize("name", OF_PACKAGES)
def test_a_task_of_packages_has_each_on_one_side(name: str) -> None:
    path = CONFIGS / "tasks" / f"{name}.yaml"
    config = load_task(path)
    splits = [set(source.packages) for source in (config.train, config.valid, config.test) if source is not None]
    assert len(splits) == 3
    assert sum(map(len, splits)) == len(set().union(*splits))
    assert f"textmill task check configs/tasks/{path.name}" in path.read_text(encoding="utf-8")
    own = load_task(path, {"train.packages": "[]", "train.files": "[src/a.py]", "valid.packages": "[ftfy]"})
    assert (own.train.files, own.train.packages) == (("src/a.py",), ())
    with pytest.raises(ConfigError, match="train: give either files or packages, not both"):
        load_task(path, {"train.files": "[src/a.py]"})
    with pytest.raises(ConfigError, match="package 'numpyy' is not installed; did you mean"):
        load_task(path, {"train.packages": "[numpyy]"}).request()
    paths = (
        load_task(path, {"train.packages": "[ftfy]", "valid.packages": "[ftfy]", "test": "null"}).request().train.paths
    )
    assert "__init__.py" in {path.name for path in paths}
    assert all(path.suffix == ".py" for path in paths)


def test_local_variants_are_those_that_are_tested() -> None:
    assert sorted(path.stem for path in LOCAL) == sorted(READ)


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs TEXTMILL_DATA")
@pytest.mark.parametrize("path", LOCAL, ids=lambda path: path.stem)
def test_local_data_is_read_as_it_was_counted(path: Path, tmp_path: Path) -> None:
    settings = {"checks.near.enabled": "false", "limits.train": "50", "limits.valid": "50"}
    with use_run(Run(Store(tmp_path), Resources(workers=1, threads=1), Display(quiet=True))):
        made = build_task(load_task(path, settings))
    found = json.loads(made.file("findings.json").read_text())
    assert {split: part["records"] for split, part in found["read"].items()} == READ[path.stem]
    noted: dict[str, int] = {}
    for part in found["read"].values():
        noted |= part["noted"]
    assert noted == NOTED.get(path.stem, {})
    opened = LabelledSet(made.path)
    assert opened.read("train").num_rows == opened.read("valid").num_rows == 50
    assert not found["nowhere"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"read.feilds": "{}"}, r"read\.feilds: unknown key; did you mean 'read\.fields'"),
        ({"read.fields.txet": "a"}, "read.fields: a classification has no 'txet'; did you mean 'text'"),
        ({"cut.columns": "[contxt]"}, "cut.columns: a classification has no 'contxt'; did you mean 'text'"),
        ({"checks.columns": "[label]"}, "checks.columns: a classification has no 'label'; there are text, text_b"),
        ({"checks.leaks": "delete"}, r"checks\.leaks: Input should be 'remove', 'refuse' or 'report'"),
        ({"ask.classes": "[a]"}, r"ask\.classes: Tuple should have at least 2 items"),
        ({"ask.classes": "[a, b, a]"}, r"ask\.classes: 'a' stands twice: answers are told apart by their names"),
        ({"ask.classes": "[no, yes]"}, r"ask\.classes\.0: Input should be a valid string; put quotes around it"),
        ({"ask.clases": "[a, b]"}, r"ask\.clases: unknown key; did you mean 'ask\.classes'"),
        ({"ask.form": "clasification"}, "ask: .*'clasification'"),
        ({"hub": "null"}, r"train: name files, or a split of the hub \(hub\.id and train\.split\)"),
        ({"cut": "{valid: 0.6, test: 0.4}"}, "valid 0.6 . test 0.4 leaves nothing to train on"),
        ({"read.format": "xml"}, r"read\.format: Input should be 'auto'"),
    ],
)
def test_a_wrong_key_or_value_is_named(override: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_task(CONFIGS / "tasks" / "sst-2.yaml", override)


def test_files_are_found_by_pattern_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text('{"sentence": "x", "label": 0}\n')
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    settings = {"train.files": "['${MY_DATA}/*.jsonl']", "valid.files": "['${MY_DATA}/a.jsonl']"}
    config = load_task(CONFIGS / "tasks" / "sst-2.yaml", settings)
    assert [path.name for path in config.request().train.paths] == ["a.jsonl", "b.jsonl"]
    for files, message in (
        ("['${NO_SUCH}/a.jsonl']", "the environment variable NO_SUCH is not set; set it, or name the file in full"),
        ("['${MY_DATA}/*.csv']", r"\*\.csv: no file matches"),
        ("['${MY_DATA}/c.jsonl']", r"c\.jsonl: no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            load_task(CONFIGS / "tasks" / "sst-2.yaml", {**settings, "valid.files": files}).request()


def test_the_list_of_tasks() -> None:
    rows = json.loads(CliRunner().invoke(app, ["task", "ls", "--json"], catch_exceptions=False).stdout)
    [sst] = [row for row in rows if row["name"] == "sst-2"]
    assert (sst["form"], sst["metrics"], sst["hub"]) == ("classification", ["accuracy"], "nyu-mll/glue sst2")
    shown = CliRunner().invoke(app, ["task", "ls"], catch_exceptions=False).stdout
    assert [line.split()[0] for line in shown.splitlines()] == [path.stem for path in SHIPPED]


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language ("" for none)."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    return [body for said, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M) if said == language]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_page_on_your_own_csv_runs(here: Path) -> None:
    [table], [task] = blocks("own-csv.md", "csv"), blocks("own-csv.md", "yaml")
    (here / "reviews.csv").write_text(table, encoding="utf-8")
    (here / "reviews.yaml").write_text(task, encoding="utf-8")
    commands = [line.split() for block in blocks("own-csv.md", "") for line in block.splitlines()]
    assert len(commands) == 3
    found: list[dict[str, Any]] = []
    for command in commands:
        assert command[0] == "textmill"
        result = CliRunner().invoke(app, [*command[1:], "--json"], catch_exceptions=False)
        found.append(json.loads(result.stdout))
    assert found[0]["examples"]["train"] + found[0]["examples"]["valid"] == 12
    assert found[0]["removed"]["duplicates"] == 1
    assert found[0]["contradictions"]["train"]["examples"] == 2
    assert found[1]["removed"] == {"leaks": 0, "duplicates": 0, "contradictions": 2}
    assert found[2]["kept"]["train"] == 5
    shown = CliRunner().invoke(app, commands[0][1:], catch_exceptions=False).stdout
    assert "Nothing worked." in shown
    assert found[0]["artifact"] in shown


def test_the_tasks_of_the_page_on_adding_one_run(here: Path) -> None:
    [columns] = [block for block in blocks("add-a-task.md", "") if block.startswith("-DOCSTART-")]
    (here / "names.conll").write_text(columns)
    (here / "names-dev.conll").write_text("Rome NNP I-NP I-ORG\n")
    paragraphs = [
        {"context": f"Text {n} ends.", "qas": [{"id": str(n), "question": "?", "answers": [], "is_impossible": True}]}
        for n in range(12)
    ]
    (here / "questions.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
    rows = "".join(f"One {n}.,Two.,yes,no,{1 + n % 2}\n" for n in range(12))
    (here / "endings.csv").write_text(f"s1,s2,first,second,right\n{rows}")
    (here / "train.en").write_text("".join(f"number {n}\n" for n in range(12)))
    (here / "train.de").write_text("".join(f"Nummer {n}\n" for n in range(12)))
    turns = "".join(json.dumps({"instruction": f"Say {n}", "output": str(n)}) + "\n" for n in range(12))
    (here / "assistant.jsonl").write_text(turns)
    tasks = blocks("add-a-task.md", "yaml")
    assert len(tasks) == 6
    for number, task in enumerate(tasks):
        path = here / f"task{number}.yaml"
        path.write_text(task, encoding="utf-8")
        config = load_task(path)
        if config.hub is not None:
            continue  # the hub itself is asked by nobody here
        made = json.loads(
            CliRunner().invoke(app, ["task", "check", str(path), "--json"], catch_exceptions=False).stdout
        )
        assert made["kept"]["train"]
        assert made["kept"]["valid"]
    [command] = [block.split() for block in blocks("add-a-task.md", "") if block.startswith("textmill")]
    for name in ("train.jsonl", "dev.jsonl"):
        (here / name).write_text(json.dumps({"sentence": name, "label": 1}) + "\n")
    command[3] = str(ROOT / command[3])
    assert CliRunner().invoke(app, command[1:], catch_exceptions=False).exit_code == 0


def test_a_refused_set_is_one_line_and_a_status(here: Path) -> None:
    (here / "a.jsonl").write_text('{"sentence": "x", "label": 1}\n')
    settings = {"train.files": "[a.jsonl]", "valid.files": "[a.jsonl]", "checks.leaks": "refuse"}
    config: TaskConfig = load_task(CONFIGS / "tasks" / "sst-2.yaml", settings)
    with (
        use_run(Run(Store(here / "store"), Resources(workers=1, threads=1), Display(quiet=True))),
        pytest.raises(ConfigError, match=r"the set is refused: 1 leaks: train:1 is valid:1 \(exact, Jaccard 1\.00\)"),
    ):
        build_task(config)
