"""What curation is worth to a model: `python -m benchmarks.curation_and_model CONFIG --work FOLDER [--tokens 1500000]
[--seeds 5] [--tasks local/sst-2 local/trec]`.

CONFIG is a pipeline's file (`textmill init` writes one). Its documents make four corpora: raw, only deduped, only
filtered, and both. On each a GPT of one size reads the same number of tokens under one tokenizer (that of both), and
all are scored on the test documents of both. Test membership is a function of the id, and near-twins of test documents
are kept out of training in every arm, so that no arm has seen the test. Then every model is fine-tuned on the tasks.
Prints bits per byte and dev accuracy, mean and spread over seeds, and how much an arm is better than raw, seed by seed.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from flows.config.pipeline import PipelineConfig, load_config
from flows.config.task import load_shipped_task
from flows.corpus import Corpus, build_corpus
from flows.pretrain import tokens_under
from flows.task_sets import build_task
from lm.artifact import load_model
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.perplexity import bits_per_byte
from lm.finetune.presets import finetune_preset
from lm.finetune.train import finetune
from lm.models.gpt_config import gpt_preset
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.tokenizer import token_byte_lengths
from tasks.pretrain import split_index
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import NoConfig
from tasks.store import Artifact, Store
from tasks.tokenizer import tokenize

ARMS = {"raw": (False, False), "deduped": (True, False), "filtered": (False, True), "both": (True, True)}


def arm(config: PipelineConfig, dedupe: bool, rules: bool) -> PipelineConfig:
    """The configuration without deduplication, without rules, or without both."""
    raw = config.model_dump()
    raw["gates"]["enabled"] = False  # the arms are meant to differ
    if not dedupe:
        raw["exact"]["enabled"] = raw["near_dedupe"]["enabled"] = False
        raw["lines"]["enabled"] = raw["substring"]["enabled"] = raw["url"]["enabled"] = False
    if not rules:
        raw["rules"] |= {"rulesets": [], "ruleset_languages": {}, "thresholds": {}}
    return PipelineConfig.model_validate(raw)


def trained(corpus: Corpus, tokens: Artifact, tokenizer: Artifact, out: Path, options: argparse.Namespace) -> Any:
    """A model of the arm, as a folder and its result."""
    settings = GPTPretraining(model=gpt_preset(options.preset, context=128)).with_vocab(options.vocab)
    train = TrainConfig(
        tokens=options.tokens,
        batch=32,
        seed=options.seed,
        eval_interval=0,
        sample_interval=0,
        optimizer=OptimizerConfig(learning_rate=0.003),
    )
    index, valid = split_index(tokens, corpus.split, "train"), split_index(tokens, corpus.split, "valid")
    given = Given(settings, settings.resolve(train), index, valid, tokenizer.path)
    return index.tokens, pretrain(given, out / "checkpoints", out / "model")


def accuracy(model: Path, examples: Path, seed: int, out: Path, epochs: float) -> float:
    """On dev, of the model fine-tuned on a task's examples; what was done is read."""
    if not (out / "metrics.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        finetune(examples, model, finetune_preset("small-gpt", epochs=epochs, max_tokens=128, seed=seed), out)
    return float(json.loads((out / "metrics.json").read_text())["valid"]["accuracy"])


def table(name: str, scores: dict[str, list[float]], better: int) -> None:
    """Mean and spread of each arm, and how much better than raw it is, with a 95 % interval (t, paired by seed)."""
    print(f"{name}: mean ± s.d. over {len(scores['raw'])} seeds, better than raw by")
    for arm_name, values in scores.items():
        gained = better * (np.array(values) - np.array(scores["raw"]))
        line = f"  {arm_name:10} {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
        if arm_name != "raw" and len(values) > 1:
            width = stats.t.ppf(0.975, len(values) - 1) * gained.std(ddof=1) / len(values) ** 0.5
            line += f"   {gained.mean():+.4f} ({gained.mean() - width:+.4f} to {gained.mean() + width:+.4f})"
        print(line)


def main() -> None:
    """Print a line of JSON for each arm and seed, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="store, checkpoints and models; goes on from there")
    parser.add_argument("--tokens", type=int, default=1_500_000)
    parser.add_argument("--preset", default="pico")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="*", default=[], help="tasks of configs/tasks that models are fine-tuned on")
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config(options.config)
    store = Store(options.work / "store")
    with use_run(Run(store, Resources(workers=options.threads, threads=options.threads), Display(quiet=True))):
        corpora = {name: build_corpus(arm(config, *switches)) for name, switches in ARMS.items()}
        clean = tokens_under(None, config, corpora["both"])
        tokens = {name: tokenize(NoConfig(), corpus=c.kept, tokenizer=clean.tokenizer) for name, c in corpora.items()}
        limits = {"train": options.labels}
        tasks = {name: build_task(load_shipped_task(name, limits)).path for name in options.tasks}
    test = PackedSequences(split_index(tokens["both"], corpora["both"].split, "test"), 128)
    options.vocab = test.index.vocab
    scores: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in ARMS} for what in ("bits per byte", *options.tasks)
    }
    for seed in range(options.seeds):
        options.seed = seed
        for name in ARMS:
            out = options.work / f"{name}-{seed}"
            available, result = trained(corpora[name], tokens[name], clean.tokenizer, out, options)
            model, tokenizer = load_model(out / "model")
            bits = bits_per_byte(model, test, token_byte_lengths(tokenizer))["bits_per_byte"]
            found = {"bits per byte": bits}
            for task, examples in tasks.items():
                found[task] = accuracy(out / "model", examples, seed, out / task.replace("/", "-"), options.epochs)
            for what, value in found.items():
                scores[what][name].append(value)
            row = {"arm": name, "seed": seed, "available": available, "read": result["tokens"]}
            print(json.dumps({**row, **{what: round(value, 4) for what, value in found.items()}}), flush=True)
    for what, by_arm in scores.items():
        table(what, by_arm, better=-1 if what == "bits per byte" else 1)


if __name__ == "__main__":
    main()
