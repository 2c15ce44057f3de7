"""Fine-tuning through the mill: a set, a model and seeds to a summary; what is wrong is said; predictions of files."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import main as cli  # noqa: F401  the commands register themselves
from flows.cli.common import app
from flows.commands.predict import predict_file
from flows.commands.start import _tuned
from flows.config.finetune import TuningConfig, load_tuning
from flows.config.loading import CONFIGS, ConfigError
from flows.finetune import build_tuned
from lm.finetune.config import FinetuneConfig
from lm.finetune.presets import FINETUNE_PRESETS
from lm.finetune.train import finetune
from tasks.running.journal import JOURNAL, read_events
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Artifact, Store
from tests.lm.feature_cases import KINDS as FEATURES
from tests.lm.feature_cases import feature_folder
from tests.lm.finetune_cases import backbone_folder, examples, write_set

SHIPPED = sorted((CONFIGS / "finetune").glob("*.yaml"))
QUICK: dict[str, Any] = {"epochs": 2, "batch": 8, "learning_rate": 3e-3, "evaluations": 2, "device": "cpu"}


def run_in(root: Path) -> Run:
    return Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))


def told(artifact: Artifact, event: str) -> list[dict[str, Any]]:
    """Events of a kind that MLflow hears of an artifact."""
    return [each for _, each in read_events(artifact.path / "_run" / JOURNAL) if each["event"] == event]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone_folder(tmp_path_factory.mktemp("bert"), "bert")


def tuning(**changes: Any) -> TuningConfig:
    return TuningConfig.model_validate(
        {"name": "test", "preset": "small-bert", "settings": QUICK, "seeds": [0, 1], **changes}
    )


def test_seeds_are_runs_and_sum_up_and_are_reused(bert: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", "pairs")
    config = tuning(data=str(data), model=str(bert))
    with use_run(run_in(tmp_path)) as run:
        made = build_tuned(config)
        assert [r.stage for r in run.records] == [
            "adopt_labelled",
            "adopt_model",
            *["finetune"] * 2,
            "finetune_summary",
        ]
        build_tuned(config)
        assert {r.state for r in run.records[5:]} == {"cached"}
        fewer = config.model_copy(update={"seeds": (1,)})
        again = build_tuned(fewer)
        assert again.runs == made.runs[1:]
    summary = read_json(made.summary.file("summary.json"))
    values = [read_json(r.file("metrics.json"))["valid"]["f1"] for r in made.runs]
    found = summary["splits"]["valid"]["f1"]
    assert found["values"] == values
    assert found["mean"] == pytest.approx(sum(values) / 2)
    assert found["low"] <= found["mean"] <= found["high"]
    assert summary["best"] == values.index(max(values))
    assert made.best == made.runs[summary["best"]]
    assert set(summary["splits"]["test"]) == {"f1", "accuracy"}
    counts = made.summary.counts()
    assert counts["test_f1_mean"] == summary["splits"]["test"]["f1"]["mean"]
    assert made.runs[0].manifest()["config"]["pooling"] == "pooler"
    assert not [each for run in made.runs for each in told(run, "model")]
    [served] = told(made.summary, "serve")
    held_out = hashlib.sha256((data / "valid.parquet").read_bytes()).hexdigest()
    assert served["dev"] == {"examples": held_out, "metric": "f1", "mean": found["mean"]}
    assert served["key"] == made.best.key


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_train(path: Path, tmp_path: Path) -> None:
    config = load_tuning(path)
    assert config.settings == FINETUNE_PRESETS[config.preset]
    kind = {"small-bert": "bert", "bert": "bert", "ulmfit": "rnn", "features": "elmo"}.get(path.stem, "gpt")
    folder = feature_folder if kind == "elmo" else backbone_folder
    named = {
        "data": str(write_set(tmp_path / "data", "single", train=16, valid=8, test=0)),
        "model": str(folder(tmp_path / "model", kind)),
    }
    with use_run(run_in(tmp_path)):
        made = build_tuned(load_tuning(path, named).smoke())
    result = read_json(made.runs[0].file("metrics.json"))
    assert result["steps"] == -(-16 // config.settings.batch)
    assert 0 < result["learning"] < result["parameters"] or kind != "bert"
    assert not told(made.summary, "serve")  # what was learned in a minute is no model to be served


def test_a_task_of_files_is_learned(bert: Path, tmp_path: Path) -> None:
    rows = [
        {"text": row["text"], "topic": ("apples", "boats", "clouds")[row["label"]]} for row in examples("single", 40)
    ]
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "topic"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nask: {form: classification, classes: [apples, boats, clouds]}\n"
        f"read: {{fields: {{label: topic}}}}\ntrain: {{files: [{tmp_path}/mine.csv]}}\ncut: {{valid: 0.3}}\n"
    )
    with use_run(run_in(tmp_path)):
        made = build_tuned(tuning(task=str(tmp_path / "mine.yaml"), model=str(bert), seeds=[0], limits={"train": 16}))
    result = read_json(made.runs[0].file("metrics.json"))
    assert (result["task"], result["examples"]) == ("mine", 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"no model: give --model NAME"),
        ({"model": "m"}, r"nothing to learn: give --task NAME"),
        ({"model": "m", "task": "sst-1"}, r"sst-1 is no file and no shipped task; there are .*sst-2"),
        ({"model": "m", "data": "EMPTY"}, r"data: .*task.json: not there: .* is no labelled set"),
        ({"model": "finetune", "data": "DATA"}, r"model: 'finetune' is a stage, and its newest artifact changes"),
        ({"model": "EMPTY", "data": "DATA"}, r"model: .* is no model's folder: .*config.json is not there"),
        ({"model": "BERT", "data": "DATA", "settings": {"auxiliary_weight": 0.5}}, r"'bert' does not predict"),
        ({"model": "BERT", "data": "DATA", "settings": {"freeze": 9}}, r"freeze is 9, but the model has 2 layers"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_set(tmp_path / "data", "single")
    names = {"EMPTY": str(tmp_path / "empty"), "DATA": str(tmp_path / "data"), "BERT": str(bert)}
    given = {name: names.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}
    with use_run(run_in(tmp_path)), pytest.raises(ConfigError, match=message):
        build_tuned(tuning(**given))


def test_settings_are_checked_with_their_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\npreset: gpt1\nsettings: {epochs: 4}\n")
    settings = load_tuning(tmp_path / "mine.yaml").settings
    assert (settings.epochs, settings.learning_rate, settings.pooling) == (4, 6.25e-5, "extract")
    for key, value, message in (
        ("settings.epoch", "3", r"settings.epoch: unknown key; did you mean 'settings.epochs'"),
        ("preset", "gpt3", r"unknown model preset 'gpt3'; did you mean 'gpt1'"),
        ("data", "folder", r"either task or data"),
        ("limits.train", "100", r"limits are for a task"),
        ("limits.eval", "60", r"limits\.eval.*Input should be 'train', 'valid' or 'test'"),
        ("limits.valid", "0", r"limits\.valid: Input should be greater than 0"),
        ("seeds", "[0, 1, 0]", r"seeds: a seed stands twice"),
    ):
        given = {key: value} | ({"task": "sst-2"} if key in ("data", "limits.eval", "limits.valid") else {})
        with pytest.raises(ConfigError, match=message):
            load_tuning(tmp_path / "mine.yaml", given)


@pytest.mark.parametrize("command", ["finetune", "search", "instruct"])
def test_a_task_that_cannot_be_used_is_refused_before_a_run_begins(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Neither a server nor a run is started for a slip, wherever it stands."""
    monkeypatch.setattr("flows.commands.start.run_flow", lambda *_, **__: pytest.fail("a run has begun"))
    shipped = CONFIGS / command / ("chat.yaml" if command == "instruct" else "small-bert.yaml")
    (empty_home / "slip.yaml").write_text(
        "name: slip\nask: {form: classification, labels: [a, b]}\ntrian: {files: [a]}\n"
    )
    for said, message in (
        (["--task", "sst-2", "--set", "limits.eval=60"], r"limits\.eval.*'train', 'valid' or 'test'"),
        (["--task", "sst-1"], "sst-1 is no file and no shipped task"),
        (["--task", str(empty_home / "slip.yaml")], "trian: unknown key; did you mean 'train'"),
    ):
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(app, [command, str(shipped), "--model", "m", *said], catch_exceptions=False)
    assert [path.name for path in empty_home.iterdir()] == ["slip.yaml"]


# --- predict ---------------------------------------------------------------------------------------------------------


def tuned(name: str, root: Path, kind: str = "bert") -> Path:
    settings = FinetuneConfig(**{**QUICK, "epochs": 1})
    data = write_set(root / "data", name, test=0)
    finetune(data, backbone_folder(root / "backbone", kind), settings, root / "tuned")
    return root / "tuned"


def test_predict_keeps_columns_and_says_labels(tmp_path: Path) -> None:
    folder = tuned("single", tmp_path)
    rows = [{"text": row["text"], "number": n, "label": "mine"} for n, row in enumerate(examples("single", 5))]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "in.jsonl")])
    assert done.exit_code == 0, done.output
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["number"] for row in said] == list(range(5))
    for row in said:
        assert row["given_label"] == "mine"
        assert set(row["probabilities"]) == {"apples", "boats", "clouds"}
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["number", "text"])
        writer.writeheader()
        writer.writerows({name: row[name] for name in ("number", "text")} for row in rows)
    written = tmp_path / "out" / "said.jsonl"
    done = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "in.csv"), "--out", str(written)])
    assert done.exit_code == 0, done.output
    again = [json.loads(line) for line in written.read_text().splitlines()]
    assert [r["label"] for r in again] == [r["label"] for r in said]
    assert [r["number"] for r in again] == list("01234")


@pytest.mark.parametrize(
    ("name", "record", "keys"),
    [
        ("pairs", {"text": "red", "text_b": "sweet"}, {"label", "probabilities"}),
        ("similarity", {"text": "red", "text_b": "sweet"}, {"score"}),
        ("choice", {"question": "red and", "choices": ["round", "keel"]}, {"choice", "answer", "probabilities"}),
        ("tagging", {"words": "Ada is in Rome"}, {"tags", "entities", "probabilities"}),
        ("questions", {"context": "Ada is in Rome", "question": "who ?"}, {"answer", "start", "end", "probability"}),
    ],
)
def test_every_form_answers_a_record(name: str, record: dict[str, Any], keys: set[str], tmp_path: Path) -> None:
    folder = tuned(name, tmp_path)
    file, bad = tmp_path / "in.jsonl", tmp_path / "bad.jsonl"
    file.write_text(json.dumps(record) + "\n")
    [said] = list(predict_file(folder, file, "cpu", quiet=True))
    assert set(said) == keys | set(record)
    if name == "tagging":
        assert len(said["tags"]) == 4
        assert all(
            e["text"] == " ".join(["Ada", "is", "in", "Rome"][e["first"] : e["last"] + 1]) for e in said["entities"]
        )
    if name == "questions":
        assert record["context"][said["start"] : said["end"]] == said["answer"]
    needed = "choices" if name == "choice" else list(record)[-1]
    bad.write_text(json.dumps(record) + "\n" + json.dumps({k: v for k, v in record.items() if k != needed}) + "\n")
    with pytest.raises(ConfigError, match=f"bad.jsonl: line 2: no '{needed}': this model needs .*; the record has"):
        list(predict_file(folder, bad, "cpu", quiet=True))
    bad.write_text(json.dumps({**record, needed: None}) + "\n")
    with pytest.raises(ConfigError, match=f"bad.jsonl: line 1: '{needed}' is null: this model needs a value there"):
        list(predict_file(folder, bad, "cpu", quiet=True))
    bad.write_text(json.dumps({**record, needed: 7}) + "\n")
    with pytest.raises(ConfigError, match=f"line 1: '{needed}' is (int|no list of texts)"):
        list(predict_file(folder, bad, "cpu", quiet=True))


def test_predict_reads_a_file_as_its_task_did(tmp_path: Path) -> None:
    folder = tuned("single", tmp_path)
    texts = [row["text"] for row in examples("single", 5)]
    (tmp_path / "plain.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    table = tmp_path / "table.csv"
    table.write_text("review;stars\n" + "".join(f'"{text}";{n}\n' for n, text in enumerate(texts)))
    asked = ["predict", str(folder), str(table), "--set", "delimiter=';'", "--set", "read.fields.text=review"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    said = [json.loads(line) for line in done.stdout.splitlines()]
    plain = list(predict_file(folder, tmp_path / "plain.jsonl", "cpu", quiet=True))
    assert [row["label"] for row in said] == [row["label"] for row in plain]
    assert [(row["review"], row["stars"]) for row in said] == [(text, str(n)) for n, text in enumerate(texts)]
    before = table.read_bytes()
    done = CliRunner().invoke(app, [*asked, "--out", str(table)])
    assert done.exit_code == 1
    assert "is the file that is read: choose another --out" in " ".join(done.output.split())
    assert table.read_bytes() == before
    two = tmp_path / "two.data"  # cut in two columns, and of a name that says nothing
    two.write_text("a,b\n" + "".join(",".join(text.split(" ", 1)) + "\n" for text in texts))
    reading = {"format": "csv", "fields.text": "[a, b]"}
    assert [row["label"] for row in predict_file(folder, two, "cpu", True, reading)] == [r["label"] for r in plain]
    with pytest.raises(ConfigError, match=r"--set read\.fields: a classification has no 'txet'; did you mean 'text'"):
        list(predict_file(folder, two, "cpu", True, {**reading, "fields.txet": "a"}))
    with pytest.raises(ConfigError, match="of other names: --set format=csv or so"):
        list(predict_file(folder, two, "cpu", True, {"fields.text": "a"}))


def test_predict_reads_conll_columns(tmp_path: Path) -> None:
    folder = tuned("tagging", tmp_path)
    (tmp_path / "in.jsonl").write_text('{"words": ["Ada", "is", "in", "Rome"]}\n{"words": ["Rome"]}\n')
    plain = [row["tags"] for row in predict_file(folder, tmp_path / "in.jsonl", "cpu", quiet=True)]
    bare, gold = tmp_path / "bare.iob", tmp_path / "gold.conll"
    bare.write_text("-DOCSTART-\n\nAda\nis\nin\nRome\n\nRome\n")
    found = list(predict_file(folder, bare, "cpu", quiet=True))
    assert [(row["words"], row["tags"]) for row in found] == [
        (["Ada", "is", "in", "Rome"], plain[0]),
        (["Rome"], plain[1]),
    ]
    assert not any("given_tags" in row for row in found)
    gold.write_text("Ada NNP I-PER\nis VBZ O\nin IN O\nRome NNP I-LOC\n\nRome NNP I-LOC\n")
    found = list(predict_file(folder, gold, "cpu", quiet=True))
    assert [row["tags"] for row in found] == plain
    assert [row["given_tags"] for row in found] == [["I-PER", "O", "O", "I-LOC"], ["I-LOC"]]
    words = list(predict_file(folder, gold, "cpu", True, {"word": "1", "tag": "0"}))
    assert [row["words"] for row in words] == [["NNP", "VBZ", "IN", "NNP"], ["NNP"]]
    gold.write_text("Ada NNP\n\nRome\n")
    with pytest.raises(ConfigError, match=r"gold.conll: line 3 has no word or no tag: 'Rome'; set read.separator"):
        list(predict_file(folder, gold, "cpu", quiet=True))


def test_predict_reads_questions_of_squad(tmp_path: Path) -> None:
    folder = tuned("questions", tmp_path)
    (tmp_path / "in.jsonl").write_text('{"context": "Ada is in Rome", "question": "who ?"}\n')
    [plain] = predict_file(folder, tmp_path / "in.jsonl", "cpu", quiet=True)
    asked = [
        {"id": "7", "question": "who ?"},
        {"id": "8", "question": "who ?", "answers": [{"text": "Ada", "answer_start": 0}]},
    ]
    squad = {"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "Ada is in Rome", "qas": asked}]}]}
    (tmp_path / "in.json").write_text(json.dumps(squad))
    found = list(predict_file(folder, tmp_path / "in.json", "cpu", quiet=True))
    assert [(row["id"], row["answer"], row["start"], row["answers"]) for row in found] == [
        ("7", plain["answer"], plain["start"], []),
        ("8", plain["answer"], plain["start"], ["Ada"]),
    ]


@pytest.mark.parametrize(
    ("device", "message"),
    [("cdua", "--device cdua: it is one of cpu, cuda"), ("cuda", "--device cuda: torch finds no GPU here")],
)
def test_a_device_that_is_not_there_is_named(
    device: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        list(predict_file(tmp_path, tmp_path / "in.jsonl", device, quiet=True))


def test_predict_says_that_a_file_has_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tuned("single", tmp_path)
    for content in ("", "text\n"):
        (tmp_path / "in.csv").write_text(content)
        assert list(predict_file(folder, tmp_path / "in.csv", "cpu", quiet=True)) == []
        assert "in.csv: there are no records in it" in capsys.readouterr().err


def test_predict_says_what_it_cannot_read(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a 'finetuned' model: 'bert'; fine-tune it first"):
        list(predict_file(bert, tmp_path / "in.jsonl", "cpu", quiet=True))
    folder = tuned("single", tmp_path)
    with pytest.raises(
        ConfigError, match=r"in.docx: records are read from .jsonl, .ndjson, .csv, .tsv, .parquet, also"
    ):
        list(predict_file(folder, tmp_path / "in.docx", "cpu", quiet=True))
    with pytest.raises(ConfigError, match=r"in.conll: .*--set format=csv or so \(one of jsonl, csv, tsv, parquet\)"):
        list(predict_file(folder, tmp_path / "in.conll", "cpu", quiet=True))
    with pytest.raises(ConfigError, match=r"in.jsonl: no such file"):
        list(predict_file(folder, tmp_path / "in.jsonl", "cpu", quiet=True))
    (tmp_path / "in.jsonl").write_text('{"text": "red"}\n{"text"\n')
    with pytest.raises(ConfigError, match=r"in.jsonl: line 2 is no JSON"):
        list(predict_file(folder, tmp_path / "in.jsonl", "cpu", quiet=True))


@pytest.mark.parametrize("kind", FEATURES)
def test_folders_that_give_features_are_taken_trained_on_and_used(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set(tmp_path / "data", "single", train=16, valid=8, test=0)
    folder = feature_folder(tmp_path / "model", kind)
    asked = tuning(data=str(data), model=str(folder), preset="features", seeds=[0])
    with use_run(run_in(tmp_path)) as run:
        made = build_tuned(asked)
        assert [r.stage for r in run.records][:2] == ["adopt_labelled", "adopt_model"]
    assert made.runs[0].counts()["train_words"] > made.runs[0].counts()["train_unknown_words"]
    (tmp_path / "in.jsonl").write_text('{"text": "a zebra"}\n')
    [said] = list(predict_file(made.best.path, tmp_path / "in.jsonl", "cpu", quiet=True))
    assert set(said["probabilities"]) == {"apples", "boats", "clouds"}
    told = capsys.readouterr().err
    assert ("1 of 2 words (50.0%) are not in the model's vocabulary" in told) == (kind != "cove")


def test_one_seed_has_no_spread() -> None:
    spread = {"mean": 0.5, "sd": 0.0, "low": 0.4, "high": 0.6}
    said = {
        "task": "reviews",
        "seeds": 1,
        "splits": {"valid": {"accuracy": spread}},
        "best": 0,
        "runs": [{"artifact": "a"}],
    }
    assert _tuned(said)["reviews, valid accuracy"] == "0.500 over 1 seed (95 % interval 0.400 to 0.600)"
    assert _tuned({**said, "seeds": 2})["reviews, valid accuracy"].startswith("0.500 ± 0.000 over 2 seeds")
