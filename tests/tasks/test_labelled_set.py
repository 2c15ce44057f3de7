"""The stage of labelled sets: findings with their evidence, what is removed or refused, what is reused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.config.loading import ConfigError
from flows.config.task import TaskConfig
from flows.task_sets import build_task
from lm.labelled.folder import LabelledSet
from lm.labelled.read_config import SplitSource
from lm.labelled.streams import BadInput
from tasks.labelled_checks import Refused
from tasks.labelled_set import EVIDENCE, FINDINGS, PAGE, SplitFiles, labelled_set
from tasks.pages.labelled_report import findings_page
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store
from tests.tasks.labelled_cases import task, write_set


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        yield run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def build(folder: Path, **more: Any) -> Artifact:
    return labelled_set(task(folder, **more).request())


def ids(made: Artifact, split: Any) -> list[str]:
    return list(LabelledSet(made.path).read(split)["id"].to_pylist())


def test_findings_have_their_evidence_and_are_removed(run: Run, folder: Path) -> None:
    made = build(folder)
    read = json.loads(made.file(FINDINGS).read_text())
    assert read["examples"] == {"train": 47, "valid": 3}
    assert read["removed"] == {"leaks": 2, "duplicates": 1, "contradictions": 0}
    assert read["kept"] == {"train": 44, "valid": 3}
    leak = read["leaks"]["train-valid"]
    assert (leak["exact"], leak["near"], leak["other_answer"]) == (1, 1, 1)
    [near] = leak["near_first"]
    assert (near["id"], near["other"], near["same_answer"]) == ("leak-near", "v1", True)
    assert 0.8 <= near["jaccard"] < 1
    assert read["contradictions"]["train"]["first"][0]["ids"] == ["yes", "no"]
    assert read["duplicates"]["train"]["first"][0]["id"] == "again"
    assert read["empty"]["first"] == [{"split": "train", "id": "empty", "column": "text"}]
    assert (read["unseen"], read["nowhere"]) == (["odd"], ["never"])
    assert not {"leak-exact", "leak-near", "again"} & set(ids(made, "train"))
    assert {"first", "yes", "no", "empty"} < set(ids(made, "train"))
    evidence = {(row["what"], row["id"]): row for row in pq.read_table(made.file(EVIDENCE)).to_pylist()}
    assert set(evidence) == {
        ("leak", "leak-exact"),
        ("leak", "leak-near"),
        ("duplicate", "again"),
        ("contradiction", "no"),
    }
    assert evidence["leak", "leak-near"]["other"] == "v1"
    counts = made.counts()
    assert counts["train"] == 44
    assert counts["removed_leaks"] == 2
    assert counts["train_valid_near"] == 1
    assert counts["train_contradictions"] == 2
    assert counts["labels_unseen_in_training"] == 1
    page = made.file(PAGE).read_text(encoding="utf-8")
    assert "Nobody agrees on this" in page
    assert "Nobody agrees on this" not in findings_page(read, texts=False)  # what goes to a server
    assert "- leak-near and v1, Jaccard 0." in page
    assert "Labels held out, but never in training: odd." in page
    assert "Empty fields: 1, first empty (text)." in page


@pytest.mark.parametrize(
    ("choice", "gone"),
    [
        ({"leaks": "report", "duplicates": "report"}, set()),
        ({"leaks": "report", "contradictions": "remove"}, {"again", "yes", "no"}),
        ({"near": {"enabled": False}}, {"leak-exact", "again"}),
        ({"near": {"threshold": 0.99}}, {"leak-exact", "again"}),
    ],
)
def test_the_switches_decide_what_goes(run: Run, folder: Path, choice: dict[str, Any], gone: set[str]) -> None:
    every = set(ids(build(folder, checks={"leaks": "report", "duplicates": "report"}), "train"))
    assert every - set(ids(build(folder, checks=choice), "train")) == gone


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leaks", r"2 leaks: leak-exact is v0 \(exact, Jaccard 1\.00\); leak-near is v1 \(near, Jaccard 0\.8"),
        ("duplicates", "1 duplicates: again is first"),
        ("contradictions", "1 contradictions: yes, no are good and bad"),
    ],
)
def test_a_set_is_refused_with_the_evidence(run: Run, folder: Path, name: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        build(folder, checks={name: "refuse"})
    assert "--set checks.NAME=report" in str(caught.value)
    with pytest.raises(ConfigError, match=message):  # as the command line says it
        build_task(task(folder, checks={name: "refuse"}))
    assert list(run.store.list("labelled_set")) == []


def test_a_moved_file_is_found_again_and_a_changed_one_is_not(run: Run, folder: Path, tmp_path: Path) -> None:
    first = build(folder)
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    second = build(moved)
    assert (second.key, run.records[-1].state) == (first.key, "cached")
    with (moved / "train.jsonl").open("a") as file:
        file.write('{"name": "new", "sentence": "another", "label": "bad"}\n')
    third = build(moved)
    assert third.key != first.key
    assert ids(third, "train") == [*ids(first, "train"), "new"]
    other = build(moved, checks={"leaks": "report"})
    assert other.key != third.key
    again = Store(tmp_path / "other-store")
    with use_run(Run(again, Resources(workers=1, threads=2), Display(quiet=True))):
        assert build(moved).digest == third.digest  # whatever the path, the threads and the store


def test_a_missing_split_is_cut_and_limits_are_nested(run: Run, folder: Path) -> None:
    whole = build(folder, valid=None, cut={"valid": 0.3, "test": 0.2})
    parts = {split: set(ids(whole, split)) for split in ("train", "valid", "test")}
    assert all(len(part) > 3 for part in parts.values())
    assert sum(map(len, parts.values())) == whole.counts()["train"] + len(parts["valid"]) + len(parts["test"])
    assert any({"yes", "no"} <= part for part in parts.values())  # one text, one side
    given = {"valid": None, "cut": {"valid": 0.3}, "checks": {"leaks": "report", "duplicates": "report"}}
    few = [set(ids(build(folder, **given, limits={"train": count}), "train")) for count in (5, 12)]
    assert [len(part) for part in few] == [5, 12]
    assert few[0] < few[1] < set(ids(build(folder, **given), "train"))


def test_valid_gives_up_what_is_in_test(run: Run, folder: Path) -> None:
    shutil.copy(folder / "valid.jsonl", folder / "test.jsonl")
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "name": f"t{row['name']}"}) + "\n" for row in rows[:2]]
    (folder / "test.jsonl").write_text("".join(lines))
    made = build(folder, test={"files": [str(folder / "test.jsonl")]})
    assert ids(made, "valid") == ["v2"]
    assert ids(made, "test") == ["tv0", "tv1"]
    leaks = json.loads(made.file(FINDINGS).read_text())["leaks"]
    assert {pair: leak["exact"] for pair, leak in leaks.items()} == {"train-valid": 1, "train-test": 1, "valid-test": 2}


def test_what_cannot_be_used_is_named(run: Run, folder: Path) -> None:
    lines = (folder / "valid.jsonl").read_text().splitlines()
    (folder / "valid.jsonl").write_text(lines[0].replace('"v0"', '"first"'))
    with pytest.raises(BadInput, match=r"id 'first' is in train and in valid; take `id` out of read\.fields"):
        build(folder)
    (folder / "valid.jsonl").write_text("")
    with pytest.raises(BadInput, match="moods: no example is left for valid: its files hold none"):
        build(folder)
    with pytest.raises(BadInput, match=r"no example is left for valid: name its files, or raise cut\.valid"):
        build(folder, valid=None, cut={"valid": 0.0})
    with pytest.raises(BadInput, match=r"nowhere\.jsonl: no such file"):
        build(folder, valid={"files": [str(folder / "nowhere.jsonl")]})


def test_a_folder_in_the_place_of_the_hub_is_read_and_is_in_the_key(run: Run, folder: Path) -> None:
    hub = {"hub": {"id": str(folder)}, "train": {"split": "train"}, "valid": {"split": "validation"}}
    (folder / "valid.jsonl").rename(folder / "validation.jsonl")
    first = build(folder, **hub)
    assert first.counts()["removed_leaks"] == 2
    assert ids(first, "valid") == ["v0", "v1", "v2"]
    text = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(text.replace("Seen twice", "Seen once"))
    assert task(folder, **hub).request().key_material() != first.manifest()["config"]


def test_names_that_the_result_is_made_of_are_in_the_key(run: Run, folder: Path, tmp_path: Path) -> None:
    config = task(folder)
    before = config.request().key_material()
    (folder / "train.jsonl").rename(folder / "other.jsonl")  # findings say `train.jsonl: line 3`
    moved = config.model_copy(update={"train": SplitSource(files=(str(folder / "other.jsonl"),))})
    assert moved.request().key_material() != before
    hub = tmp_path / "hub"
    (hub / "data").mkdir(parents=True)
    shutil.copy(folder / "other.jsonl", hub / "data" / "train.jsonl")
    shutil.copy(folder / "valid.jsonl", hub / "data" / "validation.jsonl")
    asked = {"hub": {"id": str(hub)}, "train": {"split": "train"}, "valid": None}
    one = task(folder, **asked).request().key_material()
    for old, new in (("train", "test"), ("validation", "train")):  # the same hashes in the same order
        (hub / "data" / f"{old}.jsonl").rename(hub / "data" / f"{new}.jsonl")
    assert task(folder, **asked).request().key_material() != one
    for package in ("one", "two"):  # the names of docstrings are those of their modules
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "a.py").write_text("x = 1")
    keys = [SplitFiles.of((tmp_path / package / "a.py",)).key_material() for package in ("one", "two")]
    assert keys[0] != keys[1]


def test_questions_on_a_held_out_context_are_leaks_though_they_differ(run: Run, tmp_path: Path) -> None:
    context = " ".join(f"word{n}" for n in range(60))
    rows = {
        "train": [("near", f"{context} end", "who was it?"), ("other", "quite another text with word3", "who was it?")],
        "valid": [("v", f"{context} stop", "where was that?")],
    }
    for split, asked in rows.items():
        lines = [
            json.dumps({"id": i, "context": c, "question": q, "answers": ["word3"], "starts": [c.index("word3")]})
            + "\n"
            for i, c, q in asked
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    config: dict[str, Any] = {
        "name": "asked",
        "ask": {"form": "question_answering"},
        "read": {"fields": {"id": "id"}},
        **{split: {"files": [str(tmp_path / f"{split}.jsonl")]} for split in rows},
    }
    made = labelled_set(TaskConfig.model_validate(config).request())
    assert ids(made, "train") == ["other"]
    only = {**config, "checks": {"columns": ["question"]}}  # their contexts are not compared
    assert ids(labelled_set(TaskConfig.model_validate(only).request()), "train") == ["near", "other"]
