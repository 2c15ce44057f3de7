"""Translators through the mill: shipped configurations, held-out pairs, messages, and the command that uses one."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.config.loading import CONFIGS, ConfigError
from flows.config.translation import TranslationConfig, load_translation, shipped_translation
from flows.translate import build_translation, translate_file
from lm.config import ScheduleConfig
from lm.evaluate.rouge import rouge_l
from lm.models.seq2seq_config import seq2seq_preset
from lm.models.transformer_config import transformer_preset
from lm.translator_config import AverageConfig, PairLimits, SearchConfig
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tasks.translation import TRAIN, VALID, load_pairs
from tests.flows.exam_data import DOCS

SHIPPED = sorted(path for path in (CONFIGS / "translation").glob("*.yaml") if path.name != "base.yaml")
WORDS = {"a": "ein", "man": "Mann", "dog": "Hund", "sleeps": "schläft", "runs": "rennt", "here": "hier", "now": "jetzt"}


def sentences(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Sentences and their translations, word by word."""
    draw = np.random.default_rng(seed)
    drawn = [draw.choice(list(WORDS), draw.integers(3, 9)).tolist() for _ in range(count)]
    return [" ".join(words) for words in drawn], [" ".join(WORDS[word] for word in words) for words in drawn]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the shipped configurations name it."""
    folder = tmp_path / "data" / "labelled" / "translation" / "multi30k"
    folder.mkdir(parents=True)
    for name, count in (("train", 300), ("val", 40)):
        for language, lines in zip(("en", "de"), sentences(count, len(name)), strict=True):
            (folder / f"{name}.{language}.gz").write_bytes(gzip.compress("".join(f"{x}\n" for x in lines).encode()))
    table = folder.parent / "tatoeba_cmn_eng" / "train.tsv.gz"
    table.parent.mkdir()
    lines = [f"{x} {n}\t{y} {n}\n" for n, (x, y) in enumerate(zip(*sentences(400, 9), strict=True))]
    table.write_bytes(gzip.compress("".join(lines).encode()))
    monkeypatch.setenv("TEXTMILL_DATA", str(tmp_path / "data"))
    return folder


def run_in(root: Path) -> Run:
    return Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_train_score_and_are_reused(path: Path, data: Path, tmp_path: Path) -> None:
    config = load_translation(path).smoke()
    summaries = config.pairs.task is not None
    if summaries:  # docstrings of two small packages, not of eleven large ones
        assert config.pairs.task == "summarise-docs"
        (tmp_path / "docs.yaml").write_text(DOCS, encoding="utf-8")
        pairs = config.pairs.model_copy(update={"task": str(tmp_path / "docs.yaml")})
        config = config.model_copy(update={"pairs": pairs})
    assert config.train.steps == 6
    with use_run(run_in(tmp_path)) as run:
        made = build_translation(config)
        stages = len(run.records)
        assert {record.state for record in run.records} == {"built"}
        build_translation(config)
        assert [record.state for record in run.records[stages:]] == ["cached"] * stages
    counts = made.model.counts()
    assert counts["steps"] == 6
    assert {"valid_bleu", "valid_chrf", "copy_bleu", "parameters", "valid_bits_per_byte"} <= set(counts)
    result = json.loads(made.model.file("result.json").read_text())
    assert result["valid"]["bits_per_byte"] < result["untrained"]["bits_per_byte"]
    assert len(made.model.file("translations.jsonl").read_text().splitlines()) == 8
    samples = [json.loads(line) for line in made.model.file("samples.jsonl").read_text().splitlines()]
    assert samples[0]["prompt"] == config.train.sample_prompts[0]
    train, valid = load_pairs(made.pairs.file(TRAIN)), load_pairs(made.pairs.file(VALID))
    assert len(valid) == 40 if config.pairs.valid is not None else 5 < len(valid) < (500 if summaries else 40)
    rows = [json.loads(line) for line in made.model.file("translations.jsonl").read_text().splitlines()]
    if summaries:
        rouge = 100 * np.mean([rouge_l(row["translation"], row["target"]) for row in rows])
        assert counts["valid_rouge_l"] == result["valid"]["rouge_l"] == pytest.approx(rouge)
        assert counts["copy_rouge_l"] == pytest.approx(100 * np.mean([rouge_l(r["source"], r["target"]) for r in rows]))
    else:  # as it was before tasks could ask for it
        assert not [name for name in counts if "rouge" in name]
        assert "rouge_l" not in made.model.manifest()["config"]
    assert not {p.source for p in train} & {p.source for p in valid}


def test_a_moved_file_is_reused_and_a_changed_one_is_not(data: Path, tmp_path: Path) -> None:
    source, target = sentences(200, 3)
    table = tmp_path / "one" / "pairs.tsv"
    table.parent.mkdir()
    table.write_text("".join(f"{x}\t{y}\n" for x, y in zip(source, target, strict=True)), encoding="utf-8")
    raw = shipped_translation().smoke().model_dump()
    raw["pairs"] |= {"train": {"file": str(table)}, "valid": None, "valid_fraction": 0.2}
    raw["tokenizers"] |= {"shared": False, "target": {"kind": "word", "min_frequency": 1}}
    raw["translator"]["model"]["shared_embedding"] = False
    with use_run(run_in(tmp_path)) as run:
        made = build_translation(TranslationConfig.model_validate(raw))
        assert made.source.digest != made.target.digest
        assert made.pairs.counts()["valid"] > 10
        moved = tmp_path / "two.tsv"
        table.rename(moved)
        raw["pairs"]["train"] = {"file": str(moved)}
        assert build_translation(TranslationConfig.model_validate(raw)).pairs.key == made.pairs.key
        assert run.records[-1].state == "cached"
        moved.write_text(moved.read_text(encoding="utf-8") + "a dog\tein Hund\n", encoding="utf-8")
        assert build_translation(TranslationConfig.model_validate(raw)).pairs.key != made.pairs.key


def test_a_file_is_translated_line_by_line(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with use_run(run_in(tmp_path)):
        folder = build_translation(load_translation(SHIPPED[0]).smoke()).model.path
    file = tmp_path / "in.txt"
    file.write_text("a man sleeps\n\na dog\n", encoding="utf-8")
    found = translate_file(folder, file, beam=2, alpha=0.6, quiet=True)
    assert [line["source"] for line in found["lines"]] == ["a man sleeps", "", "a dog"]
    assert found["lines"][1]["translation"] == ""
    assert found["kind"] == "seq2seq"

    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    call = ["translate", str(folder), str(file), "--beam", "2"]
    shown = CliRunner().invoke(app, call, catch_exceptions=False)
    assert shown.stdout.split("\n")[:3] == [line["translation"] for line in found["lines"]]
    as_json = json.loads(CliRunner().invoke(app, [*call, "--json"], catch_exceptions=False).stdout)
    assert as_json == found

    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\n\xff\n")
    for model, path, message in (
        (folder, bad, "bad.txt: line 2 is not UTF-8"),
        (folder, tmp_path / "none.txt", "none.txt: no such file"),
        (tmp_path, file, "no model there"),
    ):
        with pytest.raises(ConfigError, match=message):
            translate_file(model, path, beam=1, alpha=0.0, quiet=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            {"pairs.train.file": "x.tsv"},
            r"give either source and target, or file \(given: source, target, file\); what a file has .* null",
        ),
        ({"translator.search.alpha": "1e9"}, "translator.search.alpha: .*less than or equal to 10"),
        ({"translator.model.kind": "gpt"}, "translator.model"),
        ({"translator.model.preset": "bas"}, r"unknown model preset 'bas'; did you mean 'base'\?"),
        ({"translator.model.heads": "5"}, "width 192 is not a multiple of heads 5"),
        ({"translator.search.bean": "5"}, r"did you mean 'translator\.search\.beam'"),
        ({"tokenizers.shared": "false"}, "shared_embedding needs one tokenizer: set tokenizers.shared to true"),
        (
            {"train.steps": "60", "train.epochs": "null", "train.tokens": "null"},
            r"60 steps with a checkpoint every \d+ do not leave \d+ to average: average fewer \(1: none\)",
        ),
        ({"train.select": "best"}, r"average\.checkpoints and select: best exclude each other"),
    ],
)
def test_a_wrong_key_or_value_is_named(override: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_translation(CONFIGS / "translation" / "transformer.yaml", override)


@pytest.mark.parametrize(
    ("model", "made"),
    [
        ({"kind": "seq2seq", "preset": "bahdanau"}, seq2seq_preset("bahdanau")),
        ({"kind": "seq2seq", "preset": "luong", "width": 64}, seq2seq_preset("luong", width=64)),
        ({"kind": "transformer", "preset": "big"}, transformer_preset("big")),
    ],
)
def test_a_preset_is_the_model_with_the_vocabularies_of_its_tokenizers(model: dict[str, Any], made: Any) -> None:
    raw = shipped_translation().model_dump()
    raw["translator"]["model"] = model
    translator, _ = TranslationConfig.model_validate(raw).resolved()
    assert translator.model == made.with_vocab(6000, 6000)
    assert "preset" not in translator.model_dump()["model"]  # what is trained has its sizes alone in its key


def test_the_encoder_of_cove_is_the_presets() -> None:
    translator, _ = load_translation(CONFIGS / "translation" / "cove.yaml").resolved()
    assert translator.model == seq2seq_preset("cove", initial_span=0.1).with_vocab(6000, 6000)


@pytest.mark.parametrize(("model", "rate", "warm_up"), [("seq2seq", 2e-3, 100), ("transformer", 8e-4, 400)])
@pytest.mark.parametrize("pair", ["en-de", "en-zh"])
def test_shipped_settings_are_those_of_the_figures(model: str, rate: float, warm_up: int, pair: str) -> None:
    """docs/results/sequence-to-sequence.md gives the commands of benchmarks/seq2seq_learning.py."""
    name = model if pair == "en-de" else f"{model}-en-zh"
    translator, train = load_translation(CONFIGS / "translation" / f"{name}.yaml").resolved()
    assert (train.steps, train.batch, train.seed) == (2700, 64, 1)
    assert (train.optimizer.learning_rate, train.optimizer.beta2, train.optimizer.weight_decay) == (rate, 0.98, 0.0)
    assert train.schedule == ScheduleConfig(shape="wsd", warmup_steps=warm_up, decay_part=0.5, final_fraction=0.03)
    assert (translator.label_smoothing, translator.limits) == (0.1, PairLimits(source=60, target=60))
    assert (translator.average, translator.search) == (AverageConfig(checkpoints=5, interval=67), SearchConfig())


def test_files_that_are_not_there_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = shipped_translation()
    monkeypatch.delenv("TEXTMILL_DATA")
    with use_run(run_in(tmp_path)), pytest.raises(ConfigError, match="environment variable TEXTMILL_DATA is not set"):
        build_translation(config)
    monkeypatch.setenv("TEXTMILL_DATA", str(tmp_path / "nowhere"))
    with use_run(run_in(tmp_path)), pytest.raises(ConfigError, match=r"nowhere.*train\.en\.gz: no such file"):
        build_translation(config)


def test_pairs_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\n" * 5)
    raw = shipped_translation().smoke().model_dump()
    raw["pairs"] |= {"train": {"file": str(tmp_path / "pairs.tsv")}, "valid": {"file": str(tmp_path / "pairs.tsv")}}
    with (
        use_run(run_in(tmp_path)),
        pytest.raises(ValueError, match="no training pair: 5 were left out since they share"),
    ):
        build_translation(TranslationConfig.model_validate(raw))
