"""The ladder: one table over models of several kinds, each scored on the same tokens."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import textmill
from flows.commands import start
from flows.config.ladder import LadderConfig, ModelConfig, load_ladder, load_model_config
from flows.config.loading import CONFIGS, ConfigError
from flows.ladder import Ladder, build_ladder, build_models
from lm.config import OptimizerConfig, TrainConfig
from lm.text_model import open_model
from tasks.ladder import FIGURES, REPORT, _seconds, read_board
from tasks.running import pool
from tasks.running.journal import JOURNAL, Journal, read_events
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import sidecar
from tasks.store import RUN_DIRECTORY, Store
from tests.tasks.tiny_corpus import configuration, write_documents

pytestmark = pytest.mark.heavy

MODELS = {
    "unigram": {"kind": "ngram", "order": 1, "smoothing": "add_k", "k": 1.0},
    "trigram": {"kind": "ngram", "order": 3, "smoothing": "kneser_ney"},
    "gru": {"kind": "rnn", "cell": "gru", "embedding": 16, "width": 16, "layers": 1, "stream": {"bptt": 16}},
    "gpt": {"kind": "gpt", "preset": "pico"},
}


def ladder_config(documents: Path) -> LadderConfig:
    shared = configuration(documents).model_dump(
        exclude={"model", "pretrain", "task", "finetune", "evaluate", "refresh"}
    )
    train = {"steps": 6, "batch": 4, "eval_sequences": 4}
    return LadderConfig.model_validate({**shared, "models": MODELS, "train": train, "context": 32, "prompt": "The "})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ladder, Run, LadderConfig]]:
    root = tmp_path_factory.mktemp("ladder")
    write_documents(root / "documents")
    config = ladder_config(root / "documents")
    with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        yield build_ladder(config), run, config
    pool.shut_down()


def test_every_model_is_scored_on_the_same_text_and_the_best_comes_first(
    made: tuple[Ladder, Run, LadderConfig],
) -> None:
    ladder, _, _ = made
    rows = read_board(ladder.leaderboard)
    assert {row["model"]: row["kind"] for row in rows} == {
        "unigram": "ngram",
        "trigram": "ngram",
        "gru": "rnn",
        "gpt": "gpt",
    }
    scores = {row["model"]: row["bits_per_byte"] for row in rows}
    assert list(scores.values()) == sorted(scores.values())
    assert scores["trigram"] < scores["unigram"]
    figures = [json.loads(found.file(FIGURES).read_text()) for found in ladder.figures]
    assert len({(each["bytes"], each["tokens"]) for each in figures}) == 1
    assert [row["model"] for row in rows if row["carried_bits_per_byte"] is not None] == ["gru"]
    assert all(each["sample"] for each in figures)
    models = dict(zip(MODELS, ladder.models, strict=True))
    assert all(row["seconds"] == _seconds(models[row["model"]]) for row in rows)
    assert all(row["parameters"] > 0 for row in rows)
    table = (ladder.leaderboard.path / "leaderboard.md").read_text(encoding="utf-8")
    assert all(f"| {name} | {score:.4f} |" in table for name, score in scores.items())


def test_the_page_has_the_table_and_is_where_the_command_points(
    made: tuple[Ladder, Run, LadderConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder, run, config = made
    page = ladder.leaderboard.file(REPORT).read_text(encoding="utf-8")
    for row in read_board(ladder.leaderboard):
        assert f'<td class="n">{row["bits_per_byte"]:.4f}</td>' in page
        assert row["artifact"] in page
    assert f"<h1>{config.name}</h1>" in page
    assert page.count("<b>The </b>") == len(MODELS) + 1  # before each sample, and in the words above them
    monkeypatch.setattr(start, "mlflow_link", lambda: "http://mlflow")
    assert start._links(run)["report"] == str(ladder.leaderboard.path / REPORT)
    events = [event for _, event in read_events(ladder.leaderboard.path / RUN_DIRECTORY / JOURNAL)]
    files = [(event["path"], event["directory"]) for event in events if event["event"] == "file"]
    assert files == [("leaderboard.md", "leaderboard"), (REPORT, "leaderboard")]


def test_its_models_open_from_a_notebook(
    made: tuple[Ladder, Run, LadderConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder, run, _ = made
    monkeypatch.setattr(textmill, "open_store", lambda: run.store)
    for model, found in zip(ladder.models, ladder.figures, strict=True):
        opened = textmill.open_model(model.name)
        assert opened.kind == json.loads(found.file(FIGURES).read_text())["kind"]
        short, long = opened.score(["The rose.", "The rose. The rose. The rose."])
        assert 0 < short.nats < long.nats
        assert (short.bytes, long.bytes) == (9, 29)


def test_a_model_that_is_added_is_the_only_one_trained(made: tuple[Ladder, Run, LadderConfig]) -> None:
    ladder, run, config = made
    models = {**config.model_dump()["models"], "bigram": {"kind": "ngram", "order": 2}}
    before = len(run.records)
    again = build_ladder(LadderConfig.model_validate({**config.model_dump(), "models": models}))
    built = [record.label for record in run.records[before:] if record.state != "cached"]
    assert built == ["bigram", "held out: bigram", "leaderboard"]
    assert again.models[:4] == ladder.models


def test_a_model_with_a_document_mask_is_scored_with_it(made: tuple[Ladder, Run, LadderConfig]) -> None:
    ladder, _, config = made
    models = {**config.model_dump()["models"], "apart": {**MODELS["gpt"], "document_mask": True}}
    again = build_ladder(LadderConfig.model_validate({**config.model_dump(), "models": models}))
    assert again.models[:4] == ladder.models
    for model, figures, mask in zip(again.models, again.figures, [None] * 4 + [True], strict=True):
        assert model.manifest()["config"].get("settings", {}).get("document_mask") is mask
        assert figures.manifest()["config"].get("document_mask") is mask
    apart, together = (json.loads(again.figures[number].file(FIGURES).read_text()) for number in (4, 3))
    assert apart["bytes"] == together["bytes"]
    assert apart["nats"] != together["nats"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"kind": "ngram", "smoothing": "stupid_backoff"}, "models.odd: stupid_backoff gives scores that do not"),
        ({"kind": "ngram", "smoothing": "mle"}, "models.odd: mle gives what it never saw no probability"),
        ({"kind": "gpt", "preset": "pico", "context": 16}, "models.odd: its context of 16 tokens is less than the 32"),
        ({"kind": "bert"}, r"models\.odd: a masked language model defines no probability of a text"),
        ({"kind": "bert", "preset": "bert-tinny"}, "did you mean 'bert-tiny'"),
        ({"kind": "bert", "segments": {"length": 1024}}, "1024 is more than the model's context of 512"),
        ({"kind": "rnn", "document_mask": True}, r"models\.odd\.rnn\.document_mask\n  Extra inputs are not permitted"),
    ],
)
def test_what_could_not_be_scored_is_refused_before_anything_is_trained(
    model: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_documents(tmp_path)
    raw = ladder_config(tmp_path).model_dump()
    with pytest.raises(ValidationError, match=message):
        LadderConfig.model_validate({**raw, "models": {"odd": model}})


@pytest.mark.parametrize("smoothing", ["mle", "stupid_backoff"])
def test_what_has_no_place_on_a_table_is_trained_alone(made: tuple[Ladder, Run, LadderConfig], smoothing: str) -> None:
    _, _, config = made
    model = {"kind": "ngram", "order": 2, "smoothing": smoothing}
    shared = {name: value for name, value in config.model_dump().items() if name != "models"}
    [counted], figures = build_models(ModelConfig.model_validate({**shared, "model": model}))
    assert figures == []
    opened = open_model(counted.path)
    assert opened.generate("The ", 5)
    if smoothing == "mle":
        assert opened.score(["Qqqq xyzzy"])[0].nats == math.inf
    else:
        with pytest.raises(ValueError, match="do not sum to one"):
            opened.score(["Qqqq xyzzy"])


def test_the_seconds_of_all_attempts_count(made: tuple[Ladder, Run, LadderConfig], tmp_path: Path) -> None:
    # of a copy: other tests of this file ask what the board says of the model itself
    model = replace(made[0].models[0], path=tmp_path / "model")
    shutil.copytree(made[0].models[0].path, model.path)
    last = float(sidecar(model)["seconds"])
    assert _seconds(model) == last
    journal = Journal(model.path / RUN_DIRECTORY)
    journal.start(name="again", parent=None, tags={}, params={})
    for _ in range(7):
        key = "system/cpu_utilization_percentage"
        journal.metrics({key: 1.0}, journal.next_step(key))
    journal.close()
    assert _seconds(model) == max(last, 7 * 5.0)


def test_the_shipped_one_is_read_and_faults_are_named() -> None:
    config = load_ladder(CONFIGS / "ladder.yaml")
    assert len({type(rung) for rung in config.models.values()}) == 5
    with pytest.raises(
        ConfigError, match=r"models\.unigram\.odrer: unknown key; did you mean 'models\.unigram\.order'"
    ):
        load_ladder(CONFIGS / "ladder.yaml", {"models.unigram.odrer": "2"})
    with pytest.raises(ConfigError, match="kind"):
        load_ladder(CONFIGS / "ladder.yaml", {"models.unigram.kind": "markov"})


@pytest.mark.parametrize(
    ("load", "file", "overrides", "message"),
    [
        (load_model_config, "translation/seq2seq.yaml", {}, "`textmill train-translator` takes this file"),
        (load_ladder, "translation/seq2seq.yaml", {}, "`textmill train-translator` takes this file"),
        (
            load_model_config,
            "models/gpt2.yaml",
            {"model.kind": "transformer"},
            "model.kind: a transformer is trained on pairs of texts: `textmill train-translator`",
        ),
        (
            load_ladder,
            "ladder.yaml",
            {"models.odd": "{kind: seq2seq}"},
            "models.odd.kind: a seq2seq is trained on pairs of texts: `textmill train-translator`",
        ),
    ],
)
def test_who_asks_for_a_translator_is_told_the_command(
    load: Any, file: str, overrides: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(CONFIGS / file, overrides)
    assert message in str(error.value)
    assert "(given:" not in str(error.value)


def test_the_short_one_reads_less_and_has_the_same_models() -> None:
    short, whole = (load_ladder(CONFIGS / f"{name}.yaml") for name in ("ladder-short", "ladder"))
    assert short.models == whole.models
    assert short.train.model_copy(update={"tokens": None, "epochs": 1}) == whole.train


def test_a_model_has_the_rate_that_it_names() -> None:
    models = load_ladder(CONFIGS / "ladder.yaml").models
    shared = TrainConfig(steps=1, optimizer=OptimizerConfig(learning_rate=0.003))
    assert models["gru"].trained_with(shared) == shared
    assert models["lstm"].trained_with(shared).optimizer == OptimizerConfig(learning_rate=0.006)
    with pytest.raises(ConfigError, match=r"learning_rate: the modern decoder has its own optimiser: set optimizer\."):
        load_model_config(CONFIGS / "models" / "modern.yaml", {"model.learning_rate": "0.1"})


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        ("modern", {"processes": "2", "sharding": "fsdp"}, "sharding fsdp: optimizer.method muon needs whole matrices"),
        ("word2vec", {"processes": "2"}, "a model of kind word2vec has a loop of its own, in one process"),
        ("gpt2", {"nodes": "2", "rendezvous": "here"}, "rendezvous: String should match pattern"),
    ],
)
def test_what_cannot_be_shared_is_refused_when_it_is_read(model: str, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_model_config(CONFIGS / "models" / f"{model}.yaml", overrides)
    assert message in str(error.value)


def test_the_shipped_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        ladder = build_ladder(load_ladder(CONFIGS / "ladder.yaml").smoke())
    pool.shut_down()
    assert len(read_board(ladder.leaderboard)) == 11


@pytest.mark.parametrize("model", ["elmo", "bert"])
def test_a_tokenizer_that_does_not_fit_is_refused_at_once(model: str) -> None:
    with pytest.raises(ConfigError, match=r"model: a model of kind \w+ needs a tokenizer of kind .*, not character"):
        load_model_config(CONFIGS / "models" / f"{model}.yaml", {"tokenizer.train": "{kind: character}"})
