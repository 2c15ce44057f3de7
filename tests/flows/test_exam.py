"""`textmill evaluate` and `textmill compare`: exams are artifacts, asked once, and compared item by item."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands.compare_exams import compare_exams
from flows.config.exam import load_exam
from flows.config.loading import ConfigError
from flows.exams import ExamsConfig, exams_flow
from lm.labelled.folder import Task, write_labelled
from lm.labelled.forms import Classification, Regression, Tagging
from tasks.store import Store
from tests.flows.exam_home import QUIET, asked, write_exam
from tests.lm import exam_models
from tests.lm.exam_models import PROSE

SENSES = (("captain", "apples"), ("garden", "letters"))


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    rows = [{"sentence_good": text, "sentence_bad": " ".join(reversed(text.split()))} for text in PROSE]
    (tmp_path / "order.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return write_exam(tmp_path, "order", kind="minimal_pairs", paths=[str(tmp_path / "order.jsonl")])


def test_asking_again_is_free_whatever_the_model_is_called(here: Path, pairs: str) -> None:
    store = Store(here / "store")
    first = asked("three", pairs)["exams"][0]
    assert not first["cached"]
    again = asked(store.resolve("three").name, pairs)["exams"][0]
    assert again["cached"]
    assert (again["artifact"], again["figures"]) == (first["artifact"], first["figures"])
    artifact = store.resolve(first["artifact"])
    assert artifact.counts()["order/accuracy"] == first["figures"]["accuracy"]["value"]
    assert artifact.manifest()["inputs"]["model"][0]["key"] == store.resolve("three").key
    assert asked("one", pairs)["exams"][0]["artifact"] != first["artifact"]


def test_a_folder_is_known_by_its_content(here: Path, pairs: str, tmp_path: Path) -> None:
    exam_models.gpt(tmp_path)
    first = asked(str(tmp_path / "gpt"), pairs)["exams"][0]
    (tmp_path / "gpt").rename(tmp_path / "moved")
    assert asked(str(tmp_path / "moved"), pairs)["exams"][0]["cached"]
    (tmp_path / "order.jsonl").rename(tmp_path / "renamed.jsonl")
    moved = asked(str(tmp_path / "moved"), pairs, paths=f"[{tmp_path / 'renamed.jsonl'}]")["exams"][0]
    assert not moved["cached"]  # its paradigm is named by the file
    assert moved["figures"]["accuracy"] == first["figures"]["accuracy"]


def test_two_models_are_compared_on_what_both_sat(here: Path, pairs: str, tmp_path: Path) -> None:
    store = Store(here / "store")
    for model in ("one", "three"):
        asked(model, pairs)
    found = compare_exams(store, "three", "one", "order")
    [exam] = found["exams"]
    scores = [dict(asked(model, pairs)["exams"][0]["figures"]["accuracy"]) for model in ("three", "one")]
    assert exam["figures"]["accuracy"] == [score["value"] for score in scores]
    assert exam["difference"]["value"] == pytest.approx(scores[0]["value"] - scores[1]["value"])
    assert exam["difference"]["low"] <= exam["difference"]["value"] <= exam["difference"]["high"]
    changed = exam["changed"]
    assert changed["first_better"] - changed["second_better"] == pytest.approx(6 * exam["difference"]["value"])
    assert len(exam["examples"]["first_better"]) == min(5, changed["first_better"])
    by_exam = compare_exams(store, exam["first"], exam["second"])
    assert by_exam["exams"][0]["difference"] == exam["difference"]
    with pytest.raises(ConfigError, match=r"there is no exam called 'other' that both sat \(three sat .*order"):
        compare_exams(store, "three", "one", "other")
    exam_models.gpt(tmp_path, context=50)
    with pytest.raises(ConfigError, match="sat none"):
        compare_exams(store, str(tmp_path / "gpt"), "one")


def test_prompts_and_perplexity_and_patterns(here: Path, tmp_path: Path) -> None:
    task = Task(name="films", ask=Classification(classes=("negative", "positive")), metrics=("accuracy",))
    rows = [{"id": str(n), "text": text, "text_b": None, "label": n % 2} for n, text in enumerate(PROSE)]
    write_labelled(tmp_path / "films", task, {"train": rows, "valid": rows[:3]})
    few = write_exam(tmp_path, "few", kind="few_shot", labelled=str(tmp_path / "films"), template="sentiment", shots=2)
    (tmp_path / "held.txt").write_text("\n".join(PROSE) + "\n\n")
    held = write_exam(tmp_path, "held", kind="perplexity", paths=[str(tmp_path / "held.txt")])
    formats = write_exam(
        tmp_path,
        "formats",
        kind="patterns",
        items=3,
        shots=[0, 2],
        patterns=["repeat"],
        paths=[str(tmp_path / "words.txt")],
    )
    (tmp_path / "words.txt").write_text(" ".join(f"{a}{b}{c}n" for a in "bdk" for b in "aeiou" for c in "lmrstvw"))
    last = write_exam(tmp_path, "last", kind="cloze", paths=[str(tmp_path / "held.txt")])
    found = {each["name"]: each for each in asked("three", few, held, formats, last)["exams"]}
    assert found["last"]["items"] == len(PROSE)
    assert found["last"]["figures"]["exact"]["n"] == len(PROSE)
    assert found["few"]["items"] == 3
    assert found["few"]["definition"]["examples"] == 2
    assert found["held"]["figures"]["bits_per_byte"]["value"] > 0
    assert found["held"]["definition"]["beginning"] == "each text behind <|endoftext|>, its first token scored"
    assert found["formats"]["figures"]["shots_2"]["n"] == 3
    assert set(found["formats"]["figures"]) == {"shots_0", "shots_2", "gain_2", "repeat/0", "repeat/2"} | {
        f"bits_per_byte_{k}" for k in (0, 2)
    }


def test_vectors_and_sentences_and_tags(here: Path, tmp_path: Path) -> None:
    words = sorted({word for text in PROSE for word in text.split()})
    (tmp_path / "pairs.tsv").write_text("\n".join(f"{a}\t{b}\t{n}" for n, (a, b) in enumerate(pairwise(words))))
    (tmp_path / "questions.txt").write_text(": all\nthe a the a\na the a the\n")
    likeness = write_exam(tmp_path, "likeness", kind="word_similarity", paths=[str(tmp_path / "pairs.tsv")])
    questions = write_exam(tmp_path, "questions", kind="analogies", paths=[str(tmp_path / "questions.txt")])
    task = Task(name="sts", ask=Regression(), metrics=("spearman",))
    rows = [{"id": str(n), "text": text, "text_b": PROSE[n - 1], "label": float(n)} for n, text in enumerate(PROSE)]
    write_labelled(tmp_path / "sts", task, {"valid": rows})
    sentences = write_exam(tmp_path, "sentences", kind="sentence_similarity", labelled=str(tmp_path / "sts"))
    found = {each["name"]: each for each in asked("vectors", likeness, questions, sentences)["exams"]}
    assert -1 <= found["likeness"]["figures"]["spearman/pairs"]["value"] <= 1
    assert found["questions"]["figures"]["accuracy"]["n"] == 2
    assert found["sentences"]["items"] == len(PROSE)
    tagging = Task(name="tags", ask=Tagging(tags=("LONG", "SHORT"), spans=False), metrics=("accuracy",))
    tagged = [
        {"id": str(n), "words": text.split(), "tags": ["LONG" if len(w) > 4 else "SHORT" for w in text.split()]}
        for n, text in enumerate(PROSE)
    ]
    write_labelled(tmp_path / "tags", tagging, {"train": tagged, "valid": tagged[:2]})
    tags = write_exam(tmp_path, "tags", kind="tag_probe", labelled=str(tmp_path / "tags"))
    exam_models.gpt(tmp_path)
    [probe] = asked(str(tmp_path / "gpt"), tags)["exams"]
    assert probe["figures"]["most_frequent"]["value"] == 1.0
    (tmp_path / "senses.txt").write_text("\n".join(f"the {w} saw {s} today" for w, s in SENSES * 10))
    senses = write_exam(
        tmp_path, "senses", kind="sense_probe", paths=[str(tmp_path / "senses.txt")], pairs=[["apples", "letters"]]
    )
    [told] = asked(str(tmp_path / "gpt"), senses)["exams"]
    assert told["figures"]["most_frequent"]["value"] == 0.5
    assert told["figures"]["layer_2"]["n"] == 10
    with pytest.raises(ConfigError, match="sts is a set of regression; tag_probe asks tagging"):
        asked(str(tmp_path / "gpt"), tags, labelled=str(tmp_path / "sts"))
    with pytest.raises(ConfigError, match="an n-gram model has counts and no vectors"):
        asked("three", sentences)


def test_what_a_model_was_trained_on_is_found_by_its_lineage(here: Path, tmp_path: Path) -> None:
    remembered = write_exam(
        tmp_path, "remembered", kind="memorised", prompted=2, unprompted=2, prompt_tokens=5, tokens=12, span=3
    )
    rows = [
        {"text": f"{PROSE[0]} {PROSE[1]}"},
        {"text": "Not one of these many words stands there in this order at all."},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    leaks = write_exam(tmp_path, "leaks", kind="contamination", paths=[str(tmp_path / "items.jsonl")])
    found = {each["name"]: each for each in asked("three", remembered, leaks)["exams"]}
    assert found["remembered"]["figures"]["prompted/runs"]["value"] > 0
    assert found["remembered"]["definition"]["training documents"] > 0
    assert found["leaks"]["items"] == 2
    assert found["leaks"]["figures"]["found"]["value"] == 0.5
    exam_models.gpt(tmp_path)
    with pytest.raises(
        ConfigError, match=r"leaks: asks about the training documents, and the lineage of adopt_model/.* names none"
    ):
        asked(str(tmp_path / "gpt"), leaks)


def test_the_flow_asks_every_model_everything(here: Path, pairs: str) -> None:
    made = exams_flow.fn(ExamsConfig(models=("one", "three"), exams=(pairs,), resources=QUIET))
    store = Store(here / "store")
    assert sorted(made) == ["one order", "three order"]
    assert all(store.resolve(name).stage == "exam" for name in made.values())


def test_the_commands(here: Path, pairs: str) -> None:
    for model in ("one", "three"):
        result = CliRunner().invoke(app, ["evaluate", model, pairs, "--json"], catch_exceptions=False)
        assert json.loads(result.stdout)["exams"][0]["name"] == "order"
    shown = CliRunner().invoke(app, ["evaluate", "one", pairs], catch_exceptions=False).stdout
    assert "asked before" in shown
    assert "mean_of_paradigms" in shown
    assert "decided by: sum of ln p(token | all before) behind <|endoftext|>" in shown
    compared = CliRunner().invoke(app, ["compare", "three", "one", "--task", "order"], catch_exceptions=False).stdout
    assert "paired bootstrap" in compared
    assert "better by the first" in compared


def test_faults_name_the_exam_and_what_is_wrong(here: Path, pairs: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such exam; shipped are analogies, blimp"):
        load_exam("nowhere")
    with pytest.raises(ConfigError, match=r"order\.yaml:\n  varient: unknown key; did you mean 'variant'"):
        load_exam(pairs, {"varient": "original"})
    with pytest.raises(ConfigError, match="kind: no exam of kind 'minimal_pear'; did you mean 'minimal_pairs'"):
        load_exam(pairs, {"kind": "minimal_pear"})
    with pytest.raises(ConfigError, match=r"gone\.jsonl: no such file"):
        asked("one", pairs, paths=f"[{tmp_path / 'gone.jsonl'}]")
    with pytest.raises(ConfigError, match="the environment variable NOT_SET is not set"):
        asked("one", pairs, paths="['${NOT_SET}/a.jsonl']")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"order: .*bad\.jsonl: line 1: needs sentence_good"):
        asked("one", pairs, paths=f"[{tmp_path / 'bad.jsonl'}]")
    few = write_exam(tmp_path, "few", kind="few_shot", labelled=str(tmp_path), template="sentiment")
    with pytest.raises(ConfigError, match=r"few: .*task\.json: not there: .* is no labelled set"):
        asked("one", few)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty is no model's folder: .*config\.json is not there"):
        asked(str(tmp_path / "empty"), pairs)
