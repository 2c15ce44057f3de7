"""What curation is worth to a model: `python -m benchmarks.curation_and_model CONFIG [--tokens 1500000] [--seeds 3]`.

CONFIG is a pipeline's file (`textmill init` writes one). Its documents make four corpora: raw, only deduped, only
filtered, and both. On each a GPT of one size reads the same number of tokens under one tokenizer (that of both), and
all are scored on the test documents of both. Test membership is a function of the id, and near-twins of test documents
are kept out of training in every arm, so that no arm has seen the test. Prints bits per byte, mean and spread over
seeds.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from flows.config import PipelineConfig, load_config
from flows.corpus import Corpus, build_corpus
from flows.pretrain import tokens_under
from lm.artifact import load_model
from lm.config import OptimizerConfig, TrainConfig, gpt_preset
from lm.evaluate.perplexity import bits_per_byte
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.tokenizer import token_byte_lengths
from tasks.pretrain import split_index
from tasks.progress import Display
from tasks.run import Resources, Run, use_run
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


def main() -> None:
    """Print a line of JSON for each arm and seed, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="store, checkpoints and models; goes on from there")
    parser.add_argument("--tokens", type=int, default=1_500_000)
    parser.add_argument("--preset", default="pico")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config(options.config)
    store = Store(options.work / "store")
    with use_run(Run(store, Resources(workers=options.threads, threads=options.threads), Display(quiet=True))):
        corpora = {name: build_corpus(arm(config, *switches)) for name, switches in ARMS.items()}
        clean = tokens_under(None, config, corpora["both"])
        tokens = {name: tokenize(NoConfig(), corpus=c.kept, tokenizer=clean.tokenizer) for name, c in corpora.items()}
    test = PackedSequences(split_index(tokens["both"], corpora["both"].split, "test"), 128)
    options.vocab = test.index.vocab
    scores: dict[str, list[float]] = {name: [] for name in ARMS}
    for seed in range(options.seeds):
        options.seed = seed
        for name in ARMS:
            out = options.work / f"{name}-{seed}"
            available, result = trained(corpora[name], tokens[name], clean.tokenizer, out, options)
            model, tokenizer = load_model(out / "model")
            bits = bits_per_byte(model, test, token_byte_lengths(tokenizer))["bits_per_byte"]
            scores[name].append(bits)
            row = {"arm": name, "seed": seed, "bits_per_byte": round(bits, 4), "available": available}
            print(json.dumps({**row, "read": result["tokens"]}), flush=True)
    for name, values in scores.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name:10} {statistics.mean(values):.4f} ± {spread:.4f} bits per byte")


if __name__ == "__main__":
    main()
