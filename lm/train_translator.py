"""Training an encoder-decoder on pairs of texts: the parts put together."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lm.config import TrainConfig
from lm.evaluate.rouge import corpus_rouge_l
from lm.evaluate.translation import corpus_scores, pair_bits_per_byte
from lm.objectives.seq2seq import Seq2SeqObjective
from lm.order import draw_seed
from lm.pair_examples import PairExamples
from lm.pairs import Pair
from lm.stop import ShouldStop, never
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokenizers.spelling import Spelling
from lm.tokens import tokenizer_sha256
from lm.train.hooks import Hooks
from lm.train.last_checkpoints import LastCheckpoints
from lm.train.trainer import Trainer
from lm.translator import Model, Translator, build_model, save_translator
from lm.translator_config import SearchConfig, TranslatorConfig

TRANSLATIONS = "translations.jsonl"
OnCheckpoint = Callable[[int, Path], None]


def train_translator(
    train: Sequence[Pair],
    valid: Sequence[Pair],
    source_dir: Path,
    target_dir: Path,
    settings: TranslatorConfig,
    config: TrainConfig,
    checkpoints: Path,
    out_dir: Path,
    *,
    rouge_l: bool = False,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Train on `train`, watch bits per byte of the targets of `valid`, write a translator's folder to `out_dir`.

    `source_dir` and `target_dir` are tokenizers, possibly the same. Goes on from the newest good checkpoint in
    `checkpoints`, to the same bits. Samples are translations of `config.sample_prompts`; the validation sources are
    translated at the end, and stand beside the model with the true targets (translations.jsonl).

    Returns what `lm.pretrain.pretrain` does, with BLEU and chrF among the figures of `valid`, and of `copy`: sources
    taken for targets; with `rouge_l`, as summaries are compared, also ROUGE-L in percent. The figures of `valid` and of
    `untrained` are of all validation pairs within the limits, those during training of the first
    `config.eval_sequences`. Raises as `Trainer.run` does, and ValueError if no pair is within the limits.
    """
    hooks = hooks or Hooks()
    source, target = load_tokenizer(source_dir), load_tokenizer(target_dir)
    model_config = settings.model.with_vocab(source.get_vocab_size(), target.get_vocab_size())
    settings = settings.model_copy(update={"model": model_config})
    config = settings.train_config(config)
    token_bytes = token_byte_lengths(target)
    spelling = Spelling.load(target_dir)
    examples = PairExamples(train, source, target, settings.limits, spelling)
    watched = PairExamples(valid, source, target, settings.limits, spelling)
    for name, made in (("training", examples), ("validation", watched)):
        if not len(made):
            raise ValueError(f"no {name} pair is left within the limits: {dict(made.summary())}")
    per_example = max(1, int(examples.target_lengths.mean()))
    steps = config.total_steps(len(examples), per_example)
    model = build_model(model_config, seed=draw_seed(config.seed, "init"))

    def evaluate(current: nn.Module) -> dict[str, float]:
        return pair_bits_per_byte(current, watched, token_bytes, config.eval_sequences, should_stop=should_stop)

    def sample(current: nn.Module, prompt: str, seed: int) -> str:
        search = SearchConfig(beam=1, extra=config.sample_tokens)
        return Translator(cast(Model, current), source, target).translate([prompt], search, should_stop)[0]

    kept = None
    if settings.average.checkpoints > 1:
        kept = LastCheckpoints(checkpoints, steps, settings.average.checkpoints, settings.average.interval)
        hooks = replace(hooks, on_checkpoint=_both(kept.keep, hooks.on_checkpoint))
    trainer = Trainer(
        model,
        Seq2SeqObjective(token_bytes, label_smoothing=settings.label_smoothing),
        examples,
        config,
        steps,
        checkpoints,
        evaluate=evaluate,
        sample=sample,
        hooks=hooks,
        should_stop=should_stop,
        order=examples.order,
        settings={
            **settings.model_dump(mode="json", include={"limits", "label_smoothing", "average"}),
            "source_tokenizer": tokenizer_sha256(source_dir),
            "target_tokenizer": tokenizer_sha256(target_dir),
        },
    )
    result = trainer.run()
    if kept is not None:
        model.load_state_dict(kept.average())
    translator = Translator(model, source, target)
    with torch.autocast(trainer.device.type, torch.bfloat16, config.precision == "bf16"):
        final = pair_bits_per_byte(model, watched, token_bytes, should_stop=should_stop)
        fresh = build_model(model_config, seed=draw_seed(config.seed, "init")).to(trainer.device)
        untrained = pair_bits_per_byte(fresh, watched, token_bytes, should_stop=should_stop)
    asked = list(valid[: settings.bleu_pairs])
    sources, references = [pair.source for pair in asked], [pair.target for pair in asked]
    found = translator.translate(sources, settings.search, should_stop)

    def scores(texts: Sequence[str]) -> dict[str, Any]:
        rouge = {"rouge_l": corpus_rouge_l(texts, references)} if rouge_l else {}
        return {**corpus_scores(texts, references, settings.bleu_tokenizer), **rouge}

    save_translator(model, source_dir, target_dir, out_dir)
    _write_translations(out_dir / TRANSLATIONS, asked, found)
    return {
        **result.figures(),
        "checkpoint": result.checkpoint.name,
        "parameters": model_config.parameter_count(),
        "train": dict(examples.summary()),
        "valid": {**watched.summary(), **final, **scores(found)},
        "untrained": untrained,
        "copy": scores(sources),
    }


def _both(first: OnCheckpoint, second: OnCheckpoint) -> OnCheckpoint:
    def call(step: int, path: Path) -> None:
        first(step, path)
        second(step, path)

    return call


def _write_translations(path: Path, pairs: Sequence[Pair], found: Sequence[str]) -> None:
    rows = [
        {"source": pair.source, "target": pair.target, "translation": text}
        for pair, text in zip(pairs, found, strict=True)
    ]
    partial = path.with_suffix(".tmp")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, path)
