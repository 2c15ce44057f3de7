"""Translators from pairs: they learn, resume to the same bits, average, score and are kept whole in a folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.evaluate.translation import corpus_scores, pair_bits_per_byte
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.objectives.causal import IGNORE
from lm.objectives.seq2seq import Seq2SeqObjective
from lm.pair_examples import PairExamples
from lm.pairs import Pair
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer, token_byte_lengths, train_tokenizer
from lm.tokenizers.config import WordConfig
from lm.tokenizers.spelling import Spelling
from lm.train.checkpoint import CorruptCheckpoint, list_checkpoints, save_checkpoint
from lm.train.hooks import Hooks
from lm.train.last_checkpoints import LastCheckpoints
from lm.train_translator import TRANSLATIONS, train_translator
from lm.translator import build_model, load_translator
from lm.translator_config import PairLimits, TranslatorConfig
from tests.lm.letters import ATTENTIVE, RECURRENT, letter_tokenizer, reversals


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tokenizer of characters."""
    return letter_tokenizer(tmp_path_factory.mktemp("letters"))


def encoded(pairs: list[Pair], folder: Path) -> PairExamples:
    tokenizer = load_tokenizer(folder)
    return PairExamples(pairs, tokenizer, tokenizer, PairLimits(), Spelling.load(folder))


def train_config(steps: int, **fields: Any) -> TrainConfig:
    given = {"batch": 64, "precision": "fp32", "eval_interval": 0, "sample_interval": 0, "checkpoint_seconds": 0}
    rate = OptimizerConfig(learning_rate=5e-3, weight_decay=0.0, beta2=0.98)
    falling = ScheduleConfig(shape="wsd", warmup_steps=min(50, steps), decay_part=0.4, final_fraction=0.05)
    return TrainConfig(steps=steps, **{**given, "optimizer": rate, "schedule": falling, **fields})


@pytest.mark.heavy
@pytest.mark.parametrize(("model", "steps"), [(RECURRENT, 360), (ATTENTIVE, 520)], ids=["seq2seq", "transformer"])
def test_it_learns_to_turn_words_round(model: dict[str, Any], steps: int, letters: Path, tmp_path: Path) -> None:
    """At least 99 % of words never seen, exact, by greedy search."""
    trained = reversals(6000, 0)
    seen = {pair.source for pair in trained}
    valid = [pair for pair in reversals(600, 1) if pair.source not in seen][:200]
    settings = TranslatorConfig.model_validate({"model": model, "search": {"beam": 1, "batch": 200}})
    given = (letters, letters, settings, train_config(steps), tmp_path / "checkpoints", tmp_path / "model")
    result = train_translator(trained, valid, *given)
    rows = [json.loads(line) for line in (tmp_path / "model" / TRANSLATIONS).read_text().splitlines()]
    assert len(rows) == len(valid) >= 100
    right = np.mean([row["translation"] == row["target"] for row in rows])
    assert right >= 0.99
    assert result["valid"]["bits_per_byte"] < 0.1 < 2 < result["untrained"]["bits_per_byte"]
    assert result["valid"]["chrf"] > 99 > result["copy"]["chrf"]
    translator = load_translator(tmp_path / "model")
    assert translator.translate(["abcde", "fed"]) == ["edcba", "def"]


# --- objective ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("kind", [RECURRENT, ATTENTIVE], ids=["seq2seq", "transformer"])
def test_the_loss_is_that_of_torch_and_the_bits_are_the_models(
    kind: dict[str, Any], smoothing: float, letters: Path
) -> None:
    """Label smoothing as torch.nn.CrossEntropyLoss has it, values and gradients; it is no part of bits per byte."""
    examples = encoded(reversals(20, 0), letters)
    tokenizer = load_tokenizer(letters)
    config = TranslatorConfig.model_validate({"model": kind}).model.with_vocab(
        tokenizer.get_vocab_size(), tokenizer.get_vocab_size()
    )
    model = build_model(config).double().eval()
    batch = examples.batch(np.arange(20))
    objective = Seq2SeqObjective(token_byte_lengths(tokenizer), label_smoothing=smoothing)
    losses = objective.losses(model, batch)
    logits = model(batch["source"], batch["source_lengths"], batch["tokens"][:, :-1])
    torchs = nn.CrossEntropyLoss(label_smoothing=smoothing, ignore_index=IGNORE, reduction="sum")
    expected = torchs(logits.flatten(0, 1), batch["targets"].flatten())
    assert losses.terms["causal"].total.item() == pytest.approx(expected.item(), rel=1e-12)
    mine = torch.autograd.grad(losses.terms["causal"].total, list(model.parameters()))
    theirs = torch.autograd.grad(expected, list(model.parameters()))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(mine, theirs, strict=True))
    assert objective.counts(batch) == {"causal": float(sum(len(p.target) + 1 for p in reversals(20, 0)))}
    assert objective.tokens(batch) == 2 * sum(len(p.target) + 1 for p in reversals(20, 0))
    text = batch["targets"].where(batch["targets"] != examples.target_end, torch.tensor(IGNORE))
    nats = F.cross_entropy(logits.flatten(0, 1), text.flatten(), ignore_index=IGNORE, reduction="sum")
    assert losses.nats is not None
    assert float(losses.nats) == pytest.approx(nats.item(), rel=1e-12)
    assert losses.bytes == sum(len(pair.target) for pair in reversals(20, 0))


def test_bits_per_byte_do_not_depend_on_the_batch(letters: Path) -> None:
    examples = encoded(reversals(50, 0), letters)
    lengths = token_byte_lengths(load_tokenizer(letters))
    model = build_model(Seq2SeqConfig(**{**RECURRENT, "source_vocab": len(lengths), "target_vocab": len(lengths)}))
    whole = pair_bits_per_byte(model.train(), examples, lengths, batch=50)
    apart = pair_bits_per_byte(model, examples, lengths, batch=7)
    assert model.training
    assert {name: apart[name] for name in apart} == pytest.approx(whole, rel=1e-5)
    assert whole["bytes"] == whole["tokens"] == sum(len(pair.target) for pair in reversals(50, 0))
    assert pair_bits_per_byte(model, examples, lengths, limit=10)["bytes"] < whole["bytes"]
    with pytest.raises(ValueError, match="no validation pair within the limits"):
        pair_bits_per_byte(model, encoded([], letters), lengths)
    with pytest.raises(Interrupted, match="evaluating"):
        pair_bits_per_byte(model, examples, lengths, should_stop=lambda: True)


def test_perplexity_leaves_the_spelling_of_unknown_words_out(tmp_path: Path) -> None:
    """By hand from the logits: sums in fp64, spelling in the nats and bits alone, the end in the loss alone."""
    train_tokenizer(["a b c d"], WordConfig(kind="word", vocab_size=20, min_frequency=1), tmp_path)
    examples = encoded([Pair("a b", "a zebra c"), Pair("c", "d"), Pair("d a", "b okapi")], tmp_path)
    lengths = token_byte_lengths(load_tokenizer(tmp_path))
    model = build_model(Seq2SeqConfig(**{**RECURRENT, "source_vocab": len(lengths), "target_vocab": len(lengths)}))
    got = pair_bits_per_byte(model, examples, lengths)
    batch = examples.batch(np.lexsort((examples.target_lengths, examples.source_lengths)))
    with torch.no_grad():
        logits = model.eval()(batch["source"], batch["source_lengths"], batch["tokens"][:, :-1])
    each = F.cross_entropy(logits.transpose(1, 2), batch["targets"], ignore_index=IGNORE, reduction="none").double()
    nats = float(each[batch["targets"] != examples.target_end].sum())
    spelling = float(batch["spelling_nats"].sum())
    assert spelling > 10
    assert got["spelling_nats"] == pytest.approx(spelling, rel=1e-12)
    assert got["nats"] == pytest.approx(nats + spelling, rel=1e-12)
    assert got["bits_per_byte"] == pytest.approx((nats + spelling) / np.log(2) / got["bytes"], rel=1e-12)
    assert got["bytes"] == len("a zebra c" + "d" + "b okapi")
    assert got["tokens"] == 6
    assert got["perplexity_per_token"] == pytest.approx(np.exp(nats / 6), rel=1e-12)
    assert got["loss"] == pytest.approx(float(each.sum()) / 9, rel=1e-12)


def test_bleu_and_chrf_are_sacrebleus() -> None:
    perfect = corpus_scores(["Ein Mann schläft auf der Bank."], ["Ein Mann schläft auf der Bank."])
    assert perfect["bleu"] == pytest.approx(100)
    assert perfect["chrf"] == pytest.approx(100)
    assert "tok:13a" in perfect["signature"]
    assert corpus_scores(["我们明天去北京。"], ["我们明天去北京。"], "zh")["bleu"] == pytest.approx(100)
    # Seven words, one of them wrong at the end: by hand, (6/7 * 5/6 * 4/5 * 3/4)^(1/4).
    close = corpus_scores(["a b c d e f x"], ["a b c d e f g"])
    assert close["bleu"] == pytest.approx(100 * (3 / 7) ** 0.25)
    with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
        corpus_scores(["a"], ["a", "b"])


# --- checkpoints ----------------------------------------------------------------------------------------------


def test_the_average_is_of_the_last_checkpoints_at_multiples_of_the_interval(tmp_path: Path) -> None:
    """Others, of the clock or of a stop, do not count; what was pruned in between is kept."""
    weights = {step: {"w": torch.full((2,), float(step) ** 2), "b": torch.ones(1)} for step in (2, 4, 5, 6, 7)}
    paths = {step: save_checkpoint(tmp_path, step, weights[step], {}, {}) for step in (2, 4, 5)}
    kept = LastCheckpoints(tmp_path, steps=7, count=3, interval=2)
    for step in (6, 7):
        paths[step] = save_checkpoint(tmp_path, step, weights[step], {}, {})
        kept.keep(step, paths[step])
    for path in (paths[4], paths[5]):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    average = kept.average()
    assert average["w"].tolist() == pytest.approx([(16 + 36 + 49) / 3] * 2)
    assert average["b"].dtype == torch.float32
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2, 6, 7]
    (tmp_path / "averaged" / "step-00000006.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="checkpoint of step 6 is needed"):
        kept.average()
    with pytest.raises(ValueError, match=r"7 steps with a checkpoint every 4 do not leave 3 to average"):
        LastCheckpoints(tmp_path, steps=7, count=3, interval=4)


def test_a_damaged_checkpoint_does_not_get_into_the_average(tmp_path: Path) -> None:
    """Neither over a good copy, after a restart, nor as the only one: its step is made again or missed by name."""
    weights = {step: {"w": torch.full((2,), float(step))} for step in (2, 4)}
    paths = {step: save_checkpoint(tmp_path, step, weights[step], {}, {}) for step in (2, 4)}
    LastCheckpoints(tmp_path, steps=4, count=2, interval=2)
    (tmp_path / "averaged" / "step-00000004.safetensors").unlink()
    for path in paths.values():
        file = path / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\x80\x7f")  # the last weight becomes infinite
    kept = LastCheckpoints(tmp_path, steps=4, count=2, interval=2)
    with pytest.raises(FileNotFoundError, match="checkpoint of step 4 is needed"):
        kept.average()
    with pytest.raises(CorruptCheckpoint, match=r"step-00000004/model\.safetensors: size or sha256 differs"):
        kept.keep(4, paths[4])
    kept.keep(4, save_checkpoint(tmp_path, 4, weights[4], {}, {}))
    assert kept.average()["w"].tolist() == [3.0, 3.0]


def test_the_best_weights_and_an_average_exclude_each_other() -> None:
    settings = TranslatorConfig.model_validate({"model": RECURRENT, "average": {"checkpoints": 2}})
    with pytest.raises(ValueError, match=r"average\.checkpoints and select: best exclude each other"):
        settings.train_config(TrainConfig(steps=5, select="best"))


def test_training_without_pairs_is_refused(letters: Path, tmp_path: Path) -> None:
    settings = TranslatorConfig.model_validate({"model": RECURRENT, "limits": {"source": 3}})
    for train, valid, name in (
        ([Pair("abcd", "a")], [Pair("a", "a")], "training"),
        ([Pair("a", "a")], [], "validation"),
    ):
        with pytest.raises(ValueError, match=f"no {name} pair is left within the limits"):
            train_translator(train, valid, letters, letters, settings, train_config(1), tmp_path / "c", tmp_path / "m")


def test_samples_are_translations_and_metrics_come_once(letters: Path, tmp_path: Path) -> None:
    settings = TranslatorConfig.model_validate({"model": RECURRENT, "bleu_pairs": 2})
    config = train_config(
        4,
        sample_interval=2,
        sample_prompts=("abc",),
        eval_interval=2,
        eval_sequences=2,
        schedule=ScheduleConfig(shape="noam", warmup_steps=2),
    )
    samples: list[tuple[int, str]] = []
    evaluated: list[int] = []
    hooks = Hooks(
        on_sample=lambda step, prompt, _: samples.append((step, prompt)),
        on_evaluate=lambda step, figures: evaluated.append(step) if "accuracy" in figures else None,
    )
    given = (letters, letters, settings, config, tmp_path / "checkpoints", tmp_path / "model")
    result = train_translator(reversals(100, 0), reversals(5, 1), *given, hooks=hooks)
    assert samples == [(0, "abc"), (2, "abc"), (4, "abc")]
    assert evaluated == [0, 2, 4]
    size = sum(len(pair.target) for pair in reversals(5, 1))
    assert result["valid"]["bytes"] == result["untrained"]["bytes"] == size  # of all, the same for both
    assert result["train"]["pairs"] == 100
    assert len((tmp_path / "model" / TRANSLATIONS).read_text().splitlines()) == 2
