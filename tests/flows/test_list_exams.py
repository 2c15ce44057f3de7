"""`textmill exams`: many models in one table, and the same from a real MLflow by one query."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import mlflow
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from flows.cli.main import app
from flows.commands import start
from flows.commands.list_exams import exams_taken, runs_filter, view
from flows.config.loading import ConfigError
from lm.labelled.folder import Split, Task, write_labelled
from lm.labelled.forms import Classification
from lm.ngram.build import build_word_ngram
from lm.ngram.config import NgramConfig
from tasks.cards.figures import reached
from tasks.exams.config import EXAMS
from tasks.exams.leaked import Checks, in_words
from tasks.exams.main_figure import KINDS_OF_LESS, MAIN, less_is_better, main_figure
from tasks.storage.files import read_json, write_json
from tasks.storage.integrity import sealed
from tasks.store import Store
from tasks.tracking.shipper import ship_all
from tests.flows.exam_home import asked, write_exam
from tests.lm import exam_models
from tests.lm.exam_models import PROSE


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MlflowClient]:
    """MLflow on SQLite, in this process."""
    former = mlflow.get_tracking_uri()
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(address)
    yield MlflowClient(address, address)
    mlflow.set_tracking_uri(former)


@pytest.fixture
def sat(here: Path, tmp_path: Path) -> Store:
    """Three models on minimal pairs, two of them on fewer of these, and one on a perplexity."""
    rows = [{"sentence_good": text, "sentence_bad": " ".join(reversed(text.split()))} for text in PROSE]
    (tmp_path / "order.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "held.txt").write_text("\n".join(PROSE))
    pairs = write_exam(tmp_path, "order", kind="minimal_pairs", paths=[str(tmp_path / "order.jsonl")])
    held = write_exam(tmp_path, "held", kind="perplexity", paths=[str(tmp_path / "held.txt")])
    exam_models.gpt(tmp_path)
    for model in ("one", "three", str(tmp_path / "gpt")):
        asked(model, pairs)
    for model in ("one", "three"):
        asked(model, pairs, limit="4")
        asked(model, held)
    return Store(here / "store")


def test_all_models_are_in_one_table_and_one_query_of_mlflow(
    sat: Store, tmp_path: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = exams_taken(sat, ["order"])
    whole, fewer = found["exams"]
    assert (whole["name"], whole["items"], whole["settings"], whole["figure"]) == ("order", 6, {}, "accuracy")
    assert (fewer["items"], fewer["settings"], len(fewer["models"])) == (4, {"limit": 4}, 2)
    assert found["mlflow"] is None  # no server answers
    by_model = {row["aliases"][0] if row["aliases"] else "gpt": row for row in whole["models"]}
    assert set(by_model) == {"one", "three", "gpt"}
    pairs = str(tmp_path / "order.yaml")
    for model, row in by_model.items():
        said = asked(str(tmp_path / "gpt") if model == "gpt" else model, pairs)["exams"][0]
        assert row["artifact"] == said["artifact"]
        assert {part: row[part] for part in ("value", "low", "high", "n")} == said["figures"]["accuracy"]
    values = [row["value"] for row in whole["models"]]
    assert values == sorted(values, reverse=True)

    assert ship_all(sat, client)
    experiment = client.get_experiment_by_name("textmill")
    assert experiment is not None
    everywhere = [experiment.experiment_id], runs_filter("order")
    runs = client.search_runs(*everywhere, order_by=["metrics.`order/accuracy` DESC"])
    told = {(run.data.tags["textmill.artifact"], run.data.metrics["order/accuracy"]) for run in runs}
    shown = {(row["artifact"], row["value"]) for table in found["exams"] for row in table["models"]}
    assert {(sat.resolve(name).key, value) for name, value in shown} == told
    assert len(runs) == 5
    measured = [run.data.metrics["order/accuracy"] for run in runs]
    assert measured == sorted(measured, reverse=True)
    assert len(client.search_runs([experiment.experiment_id], runs_filter("held"))) == 2

    monkeypatch.setattr(start, "mlflow_link", lambda: "http://mlflow/#/experiments/1/runs?workflowType=x")
    address = view("order", "accuracy", "minimal_pairs")
    assert address is not None
    assert "metrics.%60a_b/c%60" in str(view("a+b", "c", "cloze"))  # as MLflow has its name
    said = parse_qs(address.partition("?")[2])
    assert said["searchFilter"] == [runs_filter("order")]
    assert (said["orderByKey"], said["orderByAsc"]) == (["metrics.`order/accuracy`"], ["false"])
    assert "orderByAsc=true" in str(view("held", "bits_per_byte", "perplexity"))
    assert exams_taken(sat, ["order"])["mlflow"] == address
    assert exams_taken(sat)["mlflow"] is None  # of several exams there is no one view


def test_what_is_shown_can_be_chosen(sat: Store, here: Path) -> None:
    by_bytes = exams_taken(sat, ["order"], ["three"], "accuracy_per_byte")
    assert [table["figure"] for table in by_bytes["exams"]] == ["accuracy_per_byte"] * 2
    assert {row["aliases"][0] for table in by_bytes["exams"] for row in table["models"]} == {"three"}
    [held] = exams_taken(sat, ["held"])["exams"]
    assert held["figure"] == "bits_per_byte"
    assert held["less_is_better"]
    assert [row["aliases"] for row in held["models"]] == [["three"], ["one"]]  # of its own text
    with pytest.raises(ConfigError, match=r"no exam called nowhere was sat; there are: .*held, order"):
        exams_taken(sat, ["nowhere"])
    with pytest.raises(ConfigError, match=r"no exam called held of vectors was sat"):
        exams_taken(sat, ["held"], ["vectors"])
    with pytest.raises(ConfigError, match=r"no exam called nowhere was sat"):  # though the other was
        exams_taken(sat, ["held", "nowhere"])
    with pytest.raises(ConfigError, match=r"no exam called held of vectors was sat"):
        exams_taken(sat, ["held"], ["one", "vectors"])
    with pytest.raises(ConfigError, match=r"no exam here has a figure 'bleu'; there are bits_per_byte, bits_per_char"):
        exams_taken(sat, ["held"], figure="bleu")
    printed = CliRunner().invoke(app, ["exams", "order", "--model", "one"], catch_exceptions=False).stdout
    assert "order  6 items, accuracy" in printed
    assert "of order.jsonl, limit 4" in printed
    assert "(one)" in printed
    as_json = CliRunner().invoke(app, ["exams", "held", "--json"], catch_exceptions=False).stdout
    assert json.loads(as_json)["exams"][0]["models"][0]["aliases"] == ["three"]


@pytest.fixture
def own(sat: Store, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of the store, whose manifests a test may change."""
    shutil.copytree(here, tmp_path / "home")
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    return Store(tmp_path / "home/store")


def test_a_model_is_known_by_its_content(own: Store, tmp_path: Path) -> None:
    """One that was built again under another key need not sit anything again, and is found by its own names."""
    one = own.resolve("one")
    copied = own.artifacts / one.stage / ("0" * len(one.key))
    shutil.copytree(one.path, copied)
    write_json(copied / "manifest.json", sealed({**one.manifest(), "key": copied.name}))
    own.set_alias("again", own.resolve(f"{one.stage}/{copied.name}"))
    assert asked("again", str(tmp_path / "held.yaml"))["exams"][0]["cached"]
    [held] = exams_taken(own, ["held"], ["again"])["exams"]
    assert [row["aliases"] for row in held["models"]] == [["again", "one"]]


def test_a_model_without_the_figure_is_named(sat: Store, tmp_path: Path) -> None:
    """Whoever was asked first: a model of words gives bytes no probability."""
    build_word_ngram(PROSE, NgramConfig(order=2), tmp_path / "words")
    later = write_exam(tmp_path, "later", kind="perplexity", paths=[str(tmp_path / "held.txt")])
    held = str(tmp_path / "held.yaml")
    for model, exams in ((str(tmp_path / "words"), (held, later)), ("one", (later,))):
        asked(model, *exams)
    for name, models in (("held", 2), ("later", 1)):
        [table] = exams_taken(sat, [name])["exams"]
        assert table["figure"] == "bits_per_byte"
        assert len(table["models"]) == models
        assert [row["model"].partition("/")[0] for row in table["without"]] == ["adopt_model"]
    [words] = exams_taken(sat, ["held"], figure="perplexity_per_word")["exams"]
    assert (len(words["models"]), words["without"]) == (3, [])
    printed = CliRunner().invoke(app, ["exams", "later"], catch_exceptions=False).stdout
    assert "without that figure: adopt_model/" in printed


def test_an_exam_of_an_older_version_says_so(own: Store) -> None:
    """As one of other files does: two tables of one name are told apart."""
    [table] = exams_taken(own, ["held"], ["one"])["exams"]
    path = own.resolve(table["models"][0]["artifact"]).path / "manifest.json"
    write_json(path, sealed({**read_json(path), "version": 1}))
    tables = exams_taken(own, ["held"])["exams"]
    assert sorted(str(table["version"]) for table in tables) == ["1", "None"]
    assert [table["of"] for table in tables] == [["held.txt"]] * 2
    printed = CliRunner().invoke(app, ["exams", "held"], catch_exceptions=False).stdout
    assert printed.count("of held.txt") == 2
    assert printed.count("version 1 of exams, which is no longer today's") == 1


def test_a_figure_says_how_many_of_its_items_were_read(here: Path, tmp_path: Path) -> None:
    """Two of three long enough stand in the training documents; another split and another set say nothing of them."""
    task = Task(name="films", ask=Classification(classes=("negative", "positive")), metrics=("accuracy",))
    texts = [
        PROSE[0],
        "Not one of these many words stands there in this order at all, whoever looks.",
        PROSE[2],
        "Short.",
    ]
    rows = [{"id": str(n), "text": text, "text_b": None, "label": n % 2} for n, text in enumerate(texts)]
    splits: dict[Split, list[dict[str, object]]] = {"train": rows[1:2], "valid": rows, "test": rows[:2]}
    write_labelled(tmp_path / "films", task, splits)
    files = {"labelled": str(tmp_path / "films")}
    few = write_exam(tmp_path, "few", kind="few_shot", template="sentiment", **files)
    leaks = write_exam(tmp_path, "leaks", kind="contamination", **files)
    assert asked("three", few)["exams"][0]["leaked"] is None  # nobody has looked
    leaks_on_test = asked("three", leaks, split="test")["exams"][0]
    assert leaks_on_test["leaked"] is None  # a check has none itself
    assert asked("three", few)["exams"][0]["leaked"] is None
    [both, check] = asked("three", few, leaks)["exams"]
    assert both["cached"]
    assert both["leaked"] == {"found": 2, "looked_for": 3, "items": 4, "check": check["artifact"], "unknown": []}
    assert check["figures"]["found"]["value"] == pytest.approx(2 / 3)
    smaller = asked("three", few, limit="2")["exams"][0]
    ids = decided(here, smaller["artifact"])
    looked_for = [id for id in ids if id != "3"]
    assert (smaller["leaked"]["items"], smaller["leaked"]["looked_for"]) == (2, len(looked_for))
    assert smaller["leaked"]["found"] == sum(id in ("0", "2") for id in looked_for)
    assert asked("one", few)["exams"][0]["leaked"] is None  # another model
    assert asked("three", few, split="test")["exams"][0]["leaked"]["found"] == 1

    store = Store(here / "store")
    tables = exams_taken(store, ["few"], ["one", "three"])["exams"]
    whole = next(table for table in tables if table["settings"] == {})
    assert {row["aliases"][0]: row["leaked"] for row in whole["models"]} == {"one": None, "three": both["leaked"]}
    printed = CliRunner().invoke(app, ["exams", "few"], catch_exceptions=False).stdout
    assert "(2 of 3 looked for stand in its training documents)" in printed
    shown = CliRunner().invoke(app, ["evaluate", "three", few], catch_exceptions=False).stdout
    assert "of its 4 items 2 of 3 looked for stand in its training documents" in shown
    on = {row["on"] for row in reached(store, store.resolve("three")) if row["from"] == both["artifact"]}
    assert on == {"exam few (few_shot), 4 items, 2 of 3 looked for stand in its training documents"}


def test_files_are_matched_by_their_content(sat: Store, here: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "order.jsonl").read_bytes())
    leaks = write_exam(tmp_path, "order-leaks", kind="contamination", paths=[str(tmp_path / "copy.jsonl")])
    asked("three", leaks)
    pairs = write_exam(tmp_path, "order", kind="minimal_pairs", paths=[str(tmp_path / "copy.jsonl")])
    leaked = asked("three", pairs)["exams"][0]["leaked"]
    assert (leaked["found"], leaked["looked_for"]) == (6, 6)
    held = asked("three", str(tmp_path / "held.yaml"))["exams"][0]
    assert held["leaked"] is None  # the same sentences in another file were not looked for


def test_another_order_of_files_says_nothing(here: Path, tmp_path: Path) -> None:
    """Ids come again in several files: among those of a check `1` may be another text."""
    strange = "Not one of these many words stands there in this order at all, whoever looks."
    for name, text in (("a", PROSE[0]), ("b", strange)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "1", "text": text}))
    a, b = (str(tmp_path / f"{name}.jsonl") for name in "ab")
    asked("three", write_exam(tmp_path, "leaks", kind="contamination", paths=[a, b]))
    both = write_exam(tmp_path, "both", kind="cloze", paths=[a, b])
    leaked = asked("three", both)["exams"][0]["leaked"]
    assert (leaked["found"], leaked["looked_for"]) == (1, 2)
    assert asked("three", write_exam(tmp_path, "second", kind="cloze", paths=[b]))["exams"][0]["leaked"] is None
    assert asked("three", write_exam(tmp_path, "turned", kind="cloze", paths=[b, a]))["exams"][0]["leaked"] is None


def test_of_several_checks_that_counts_which_looked_for_the_most(here: Path, tmp_path: Path) -> None:
    (tmp_path / "held.txt").write_text("\n".join(PROSE))
    held = write_exam(tmp_path, "held", kind="perplexity", paths=[str(tmp_path / "held.txt")])
    leaks = write_exam(tmp_path, "leaks", kind="contamination", paths=[str(tmp_path / "held.txt")])
    whole = asked("three", leaks)["exams"][0]["artifact"]
    asked("three", leaks, limit="2")
    leaked = asked("three", held)["exams"][0]["leaked"]
    assert (leaked["check"], leaked["looked_for"]) == (whole, 6)
    newer = asked("three", leaks, words="5")["exams"][0]["artifact"]
    assert asked("three", held)["exams"][0]["leaked"]["check"] == newer  # of as many, the newest


def test_what_nobody_knows_is_not_passed_over(own: Store, tmp_path: Path) -> None:
    leaks = write_exam(tmp_path, "leaks", kind="contamination", paths=[str(tmp_path / "order.jsonl")])
    path = own.resolve(asked("three", leaks)["exams"][0]["artifact"]).path / "manifest.json"
    manifest = read_json(path)
    write_json(path, sealed({**manifest, "config": {**manifest["config"], "unknown": ["adopt_model/1"]}}))
    taken = own.resolve(asked("three", str(tmp_path / "order.yaml"))["exams"][0]["artifact"])
    assert (
        in_words(Checks(own).of(taken)) == "6 of 6 looked for stand in those of its training documents that are known"
    )


def decided(here: Path, name: str) -> list[str]:
    """The ids of the items of an exam."""
    table = pq.read_table(Store(here / "store").resolve(name).file("decisions.parquet"))
    return [str(id) for id in table["id"].to_pylist()]


def test_the_page_has_the_query_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs/howto/evaluate.md").read_text(encoding="utf-8")
    assert f'filter_string="{runs_filter("blimp")}",' in page


def test_every_kind_has_a_figure_that_stands_for_it() -> None:
    assert set(MAIN) | {"few_shot", "patterns"} == set(EXAMS)
    assert set(KINDS_OF_LESS) <= set(EXAMS)
    assert less_is_better("perplexity", "perplexity_per_word")
    assert less_is_better("few_shot", "answer_nats_per_word")
    assert less_is_better("patterns", "bits_per_byte_16")
    assert not less_is_better("patterns", "shots_16")
    assert not less_is_better("few_shot", "gain_bits_per_byte")
    sure = {"value": 1.0, "low": 0.9, "high": 1.0, "n": 3}
    bare = {**sure, "low": None, "high": None}
    assert main_figure("patterns", dict.fromkeys(("shots_4", "shots_16", "shots_0", "gain_4"), sure)) == "shots_16"
    for ask, metric, name in (
        ("choose", "exact", "accuracy"),
        ("generate", "bleu", "bleu"),
        ("hint", "f1", "gain_nats"),
    ):
        figures = dict.fromkeys((name, "examples_dropped", "another"), sure)
        assert main_figure("few_shot", figures, {"ask": ask, "metric": metric}) == name
    assert (
        main_figure("word_similarity", {"spearman/wordsim353": sure, "known/wordsim353": bare}) == "spearman/wordsim353"
    )
    assert main_figure("memorised", {"unprompted/texts": sure, "unprompted/runs": bare}) == "unprompted/texts"
    assert main_figure("perplexity", {"perplexity_per_word": bare}) == "perplexity_per_word"
    assert main_figure("perplexity", {"bytes": bare, "impossible": sure, "tokens": bare}) == "impossible"
    assert main_figure("cloze", {"b": sure, "a": bare}) == "b"
    assert main_figure("cloze", {"b": bare, "a": bare}) == "a"
