"""What an exam is given: models and labelled sets by any of their names, files of any format, and how much of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.commands.compare_exams import compare_exams
from flows.config.learning import LearningConfig
from flows.config.loading import ConfigError
from flows.config.task import TaskConfig
from flows.given import given_labelled, given_model
from flows.task_sets import build_task, labelled_set_of
from tasks.adopt import AdoptConfig, adopt_model
from tasks.exam import exam
from tasks.running.progress import Display
from tasks.running.run import Run, use_run
from tasks.store import Store
from tests.flows.exam_home import QUIET, asked, make_store, write_exam
from tests.lm import exam_models
from tests.lm.exam_models import PROSE

FILMS: dict[str, Any] = {"name": "films", "ask": {"form": "classification", "classes": ["negative", "positive"]}}


def write_task(folder: Path, **more: Any) -> Path:
    """A task's YAML file (JSON is YAML) with its examples."""
    names = FILMS["ask"]["classes"]
    rows = [{"text": f"{text} {n}", "label": names[n % 2]} for n, text in enumerate(PROSE)]
    for split, part in (("train", rows[:4]), ("valid", rows[4:])):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, part)))
    files = {split: {"files": [str(folder / f"{split}.jsonl")]} for split in ("train", "valid")}
    path = folder / "films.yaml"
    path.write_text(json.dumps({**FILMS, **files, **more}))
    return path


def few_shot(folder: Path, labelled: str, **more: Any) -> str:
    return write_exam(folder, "few", **{"kind": "few_shot", "labelled": labelled, "template": "sentiment", **more})


def test_a_set_is_built_of_its_task_and_is_the_same_by_all_its_names(here: Path, tmp_path: Path) -> None:
    task, store = write_task(tmp_path), Store(here / "store")
    first = asked("three", few_shot(tmp_path, str(task), shots=1))["exams"][0]
    assert (first["items"], first["cached"]) == (2, False)
    artifact = store.newest("labelled_set")
    assert artifact is not None
    copy = shutil.copytree(artifact.path, tmp_path / "copy")
    (copy / "evidence.parquet").unlink()  # tells nothing of what is asked
    for name in (str(task), artifact.name, str(artifact.path), str(copy)):
        again = asked("three", few_shot(tmp_path, name, shots=1))["exams"][0]
        assert (again["artifact"], again["cached"]) == (first["artifact"], True), name
    shutil.copytree(copy, tmp_path / "other")
    (tmp_path / "other" / "task.json").write_text((copy / "task.json").read_text().replace('"films"', '"cinema"'))
    asked("one", few_shot(tmp_path, str(tmp_path / "other"), shots=1))
    with pytest.raises(ConfigError, match="no exam called 'few' that both sat"):
        compare_exams(store, "three", "one", "few")
    asked("one", few_shot(tmp_path, str(copy), shots=1))
    [compared] = compare_exams(store, "three", "one", "few")["exams"]
    assert compared["items"] == 2


def test_what_was_taken_in_first_and_made_later_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, elsewhere = write_task(tmp_path), Run(Store(tmp_path / "elsewhere"), QUIET, Display(quiet=True))
    with use_run(elsewhere):
        made = given_labelled(str(task))
    home = tmp_path / "home"
    make_store(home)
    monkeypatch.setenv("TEXTMILL_HOME", str(home))
    store = Store(home / "store")
    model = shutil.copytree(store.resolve("three").path, tmp_path / "model", ignore=shutil.ignore_patterns("manif*"))
    with use_run(Run(store, QUIET, Display(quiet=True))):
        taken = adopt_model(AdoptConfig.of(model))
    asked(taken.name, few_shot(tmp_path, str(made.path), shots=1))
    asked("one", few_shot(tmp_path, str(task), shots=1))
    assert {each.stage for each in store.list() if each.stage.endswith(("labelled", "labelled_set"))} == {
        "adopt_labelled", "labelled_set"}  # fmt: skip
    for name in (taken.name, "three", str(model)):  # three is what was taken in
        assert compare_exams(store, name, "one", "few")["exams"][0]["items"] == 2


def test_a_model_is_the_same_by_all_its_names(here: Path, tmp_path: Path) -> None:
    store, exam_ = Store(here / "store"), write_exam(tmp_path, "he", kind="pronouns")
    artifact = store.resolve("three")
    first = asked("three", exam_)["exams"][0]
    copy = shutil.copytree(artifact.path, tmp_path / "copy")
    (copy / "manifest.json").unlink()
    for name in (artifact.name, str(artifact.path), str(copy)):
        found = asked(name, exam_)
        assert (found["model"], found["exams"][0]["artifact"]) == (artifact.name, first["artifact"]), name
        assert found["exams"][0]["cached"]
    exam_models.gpt(tmp_path, context=60)
    outside = asked(str(tmp_path / "gpt"), exam_)
    assert outside["model"].startswith("adopt_model/")
    assert asked(outside["model"], exam_)["exams"][0]["cached"]
    assert asked(str(store.resolve(outside["model"]).path), exam_)["exams"][0]["cached"]
    assert compare_exams(store, str(tmp_path / "gpt"), str(copy), "he")["exams"][0]["items"] > 0


@pytest.mark.parametrize("kind", ["gpt", "rnn", "bert", "ngram"])
def test_every_kind_of_model_is_taken_from_a_folder_and_answers_as_there(kind: str, here: Path, tmp_path: Path) -> None:
    model = getattr(exam_models, kind)(tmp_path)
    with use_run(Run(Store(here / "store"), QUIET, Display(quiet=True))):
        taken = given_model(str(tmp_path / kind))
    assert taken.counts()["parameters"] > 0
    from lm.text_model import open_model

    if kind == "bert":
        assert (open_model(taken.path).embed(PROSE[:2]) == model.embed(PROSE[:2])).all()  # type: ignore[attr-defined]
    else:
        assert open_model(taken.path).score(PROSE[:2]) == model.score(PROSE[:2])


def test_a_template_of_a_conversation_travels_with_its_model(here: Path, tmp_path: Path) -> None:
    from lm.tokenizer import chat_template

    exam_models.gpt(tmp_path, context=44)
    described = json.loads((tmp_path / "gpt" / "tokenizer_config.json").read_text())
    described["chat_template"] = "{{ messages[0].content }}"
    (tmp_path / "gpt" / "tokenizer_config.json").write_text(json.dumps(described))
    with use_run(Run(Store(here / "store"), QUIET, Display(quiet=True))):
        first = given_model(str(tmp_path / "gpt"))
        assert chat_template(first.path) == described["chat_template"]
        described["chat_template"] += " "
        (tmp_path / "gpt" / "tokenizer_config.json").write_text(json.dumps(described))
        assert given_model(str(tmp_path / "gpt")).key != first.key


def test_a_folder_that_no_exam_can_be_put_to_is_named(here: Path, tmp_path: Path) -> None:
    exam_models.gpt(tmp_path, context=40)
    (tmp_path / "gpt" / "config.json").write_text('{"kind": "finetuned"}')
    with pytest.raises(ConfigError, match=r"a model of kind .finetuned. cannot be put to exams; ngram, gpt, .*glove"):
        asked(str(tmp_path / "gpt"), write_exam(tmp_path, "he", kind="pronouns"))
    (tmp_path / "gpt" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"gpt is no model's folder: .*model\.safetensors is not there"):
        asked(str(tmp_path / "gpt"), write_exam(tmp_path, "he", kind="pronouns"))


def test_a_stage_is_no_labelled_set(here: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"few: 'labelled_set' is a stage, and its newest artifact may be .*any task"):
        asked("three", few_shot(tmp_path, "labelled_set"))
    store = Store(here / "store")
    with use_run(Run(store, QUIET, Display(quiet=True))):
        made = build_task(TaskConfig.model_validate(json.loads(write_task(tmp_path).read_text())))
        with pytest.raises(ConfigError, match=r"'labelled_set' is a stage"):  # nor for fine-tuning
            labelled_set_of(LearningConfig(name="x", data="labelled_set"))
        store.set_alias("sst-2", made)  # an alias goes before a shipped task, of which nothing is read
        assert given_labelled("sst-2") == made
        store.remove_alias("sst-2")


def test_a_template_must_have_a_word_for_every_class(here: Path, tmp_path: Path) -> None:
    sets = len(Store(here / "store").list("labelled_set"))
    classes = {"ask": {"form": "classification", "classes": ["negative", "positve"]}}
    for path in (tmp_path / "train.jsonl", tmp_path / "valid.jsonl"):
        path.touch()
    task = write_task(tmp_path, **classes)
    with pytest.raises(ConfigError, match="few: the template sentiment has no choice for 'positve' of films: negative"):
        asked("three", few_shot(tmp_path, str(task)))
    with pytest.raises(ConfigError, match="few: the template translation is for generation, the set films is classif"):
        asked("three", few_shot(tmp_path, str(task), template="translation"))
    assert len(Store(here / "store").list("labelled_set")) == sets  # said before anything was built


def test_a_limit_is_of_all_files_together_and_not_the_first(here: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        rows = [{"sentence_good": f"{text} {n}", "sentence_bad": f"{n} {text}"} for n, text in enumerate(PROSE * 2)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = write_exam(tmp_path, "pairs", kind="minimal_pairs", paths=[str(tmp_path / "*.jsonl")])
    store, chosen = Store(here / "store"), []
    for limit in ("6", "12"):
        found = asked("three", pairs, limit=limit)["exams"][0]
        assert found["items"] == int(limit)
        chosen.append(_ids(store, found["artifact"]))
    assert set(chosen[0]) < set(chosen[1])
    assert chosen[1] == sorted(chosen[1], key=lambda id: (id.split("/")[0], int(id.split("/")[1])))  # in their order
    assert {id.split("/")[0] for id in chosen[1]} == {"first", "second"}
    (tmp_path / "texts.txt").write_text("\n".join(PROSE * 5))
    text = write_exam(tmp_path, "text", kind="perplexity", paths=[str(tmp_path / "texts.txt")], limit=6)
    found = asked("three", text)["exams"][0]
    assert _ids(store, found["artifact"]) != [f"texts.txt:{n}" for n in range(1, 7)]


def _ids(store: Store, name: str) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_table(store.resolve(name).file("decisions.parquet"))["id"].to_pylist())


def test_a_bad_row_of_pairs_is_no_text(here: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"sentence_good,sentence_bad\n{PROSE[0]},{PROSE[0][::-1]}\nThe second has no bad one.,\n")
    leaks = write_exam(tmp_path, "leaks", kind="contamination", paths=[str(path)])
    with pytest.raises(ConfigError, match=r"leaks: .*pairs\.csv: line 3: needs sentence_good and sentence_bad"):
        asked("three", leaks)
    path.write_text(f"text,id\n{PROSE[0]},a\n")  # columns say that these are texts
    found = asked("three", leaks)["exams"][0]
    assert (found["items"], found["figures"]["found"]["value"]) == (1, 1.0)
    path.write_text("words\nx\n")
    with pytest.raises(ConfigError, match=r"leaks: .*pairs\.csv: line 2: no column text; it has words"):
        asked("three", leaks)


def test_texts_of_every_format_are_read_alike(here: Path, tmp_path: Path) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    files = {name: tmp_path / name for name in ("a.jsonl", "a.csv", "a.parquet", "a.txt.gz")}
    files["a.jsonl"].write_text("\n".join(json.dumps({"text": text}) for text in PROSE))
    files["a.csv"].write_text("text\n" + "".join(f'"{text}"\n' for text in PROSE))
    pq.write_table(pa.table({"text": PROSE}), files["a.parquet"])
    files["a.txt.gz"].write_bytes(gzip.compress("\n\n".join(PROSE).encode()))
    figures = []
    for path in files.values():
        exam_ = write_exam(tmp_path, "text", kind="perplexity", paths=[str(path)])
        figures.append(asked("three", exam_)["exams"][0]["figures"])
    assert all(each == figures[0] for each in figures)
    figures = []
    for end in ("\n", "\r\n"):
        (tmp_path / "ends.txt").write_bytes(end.join(PROSE).encode())
        exam_ = write_exam(tmp_path, "text", kind="perplexity", paths=[str(tmp_path / "ends.txt")], whole=True)
        figures.append(asked("three", exam_)["exams"][0]["figures"])
    assert figures[0] == figures[1]
    (tmp_path / "latin.txt").write_bytes("très".encode("latin-1"))
    for whole in (False, True):
        exam_ = write_exam(tmp_path, "text", kind="perplexity", paths=[str(tmp_path / "latin.txt")], whole=whole)
        with pytest.raises(ConfigError, match=r"text: .*latin\.txt: .*not UTF-8"):
            asked("three", exam_)


def test_what_shapes_an_answer_is_in_the_key() -> None:
    assert {"sacrebleu", "scikit-learn", "tokenizers", "torch"} <= set(exam.libraries)
