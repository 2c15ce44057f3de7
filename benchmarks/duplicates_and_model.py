"""What duplicates do to a model: `python -m benchmarks.duplicates_and_model CONFIG --work FOLDER [--shares 0 .1 .9]`.

CONFIG's clean documents (deduped and filtered) make several training texts of the same number of tokens, each read
once. In each a share of the tokens are documents that stand there `--times` times; the rest stand there once. Share 0
is what deduplication leaves. Prints bits per byte of clean test documents, and how much of what the model writes stands
verbatim in what it read (runs of 50 tokens): behind the first tokens of repeated documents and of those read once,
greedily, and behind nothing, at temperature 1 (Lee et al. 2022).
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from flows.config.pipeline import load_config
from flows.corpus import build_corpus
from flows.pretrain import tokens_under
from lm.artifact import load_model
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.decisions import Figure
from lm.evaluate.memorised import memorised_decisions, memorised_figures, write_texts
from lm.evaluate.perplexity import bits_per_byte
from lm.models.gpt_config import gpt_preset
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.texts.decoder import DecoderText
from lm.tokenizer import token_byte_lengths
from lm.tokenizers.spelling import Spelling
from lm.tokens import TokenIndex
from tasks.pretrain import split_index
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store

CONTEXT, SPAN, PROMPTS = 128, 50, 64


def chosen(index: TokenIndex, of: list[int]) -> TokenIndex:
    """These documents in this order; one may stand there several times."""
    columns = {name: getattr(index, name)[of] for name in ("shard", "start", "length", "bytes")}
    return dataclasses.replace(index, **columns, fingerprint=f"{index.fingerprint}/{hash(tuple(of))}")


def arm(index: TokenIndex, share: float, tokens: int, times: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """The documents to read, in order, with repetitions; and which of them are read once, and which `times` times."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(index.length >= 2 * SPAN + 8)).tolist()
    repeated: list[int] = []
    once: list[int] = []
    left = share * tokens / times
    while left > 0:
        repeated.append(order.pop())
        left -= index.length[repeated[-1]]
    left = tokens - times * int(index.length[repeated].sum())
    while left > 0:
        once.append(order.pop())
        left -= index.length[once[-1]]
    read = np.random.default_rng(seed + 1).permutation(once + times * repeated).tolist()
    return read, once, repeated


def prompted(text: DecoderText, index: TokenIndex, documents: list[int], name: str) -> list[tuple[str, str, str]]:
    """(id, the first tokens, what follows) of documents."""
    found = []
    for number, ids in ids_of(index, documents[:PROMPTS]):
        start, rest = ids[:SPAN].tolist(), ids[SPAN : 2 * SPAN + 5].tolist()
        found.append((f"{name} {number}", text.tokenizer.decode(start), text.tokenizer.decode(rest)))
    return found


def ids_of(index: TokenIndex, documents: list[int]) -> Iterator[tuple[str, np.ndarray]]:
    """The tokens of documents."""
    shards = index.open()
    for number in documents:
        start = int(index.start[number])
        yield str(number), np.asarray(shards[index.shard[number]][start : start + int(index.length[number])])


def remembered(text: DecoderText, index: TokenIndex, once: list[int], repeated: list[int]) -> dict[str, Any]:
    """The share of tokens in verbatim runs with its 95 % interval over texts, by what the model was given."""
    said = {"nothing": write_texts(text, [(str(n), "", "") for n in range(PROMPTS)], 200)}
    for name, documents in (("once", once), ("repeated", repeated)):
        prompts = prompted(text, index, documents, name)
        said[name] = write_texts(text, prompts, SPAN + 5, temperature=0.0)
    found: dict[str, Any] = {}
    for name, written in said.items():
        if written:
            table = memorised_decisions(text, written, ids_of(index, once + repeated), span=SPAN)
            figures = memorised_figures(table)
            group = "unprompted" if name == "nothing" else "prompted"
            found[name] = shown(figures[f"{group}/tokens"])
            if group == "prompted":
                found[f"{name}, continued"] = shown(figures["prompted/continued"])
    return found


def shown(figure: Figure) -> dict[str, Any]:
    """A share and its interval, to four places."""
    return {name: round(float(figure[name] or 0), 4) for name in ("value", "low", "high")}


def over_seeds(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Of each share mean and standard deviation over seeds."""
    for given in sorted({row["share"] for row in rows}):
        columns: dict[str, list[float]] = {}
        for row in rows:
            if row["share"] == given:
                for name, value in row.items():
                    if name not in ("share", "seed"):
                        columns.setdefault(name, []).append(value["value"] if isinstance(value, dict) else value)
        said = {
            name: f"{mean(values):.4f} ({stdev(values) if len(values) > 1 else 0:.4f})"
            for name, values in columns.items()
        }
        yield json.dumps({"share": given, "seeds": len(columns["read"]), **said})


def main() -> None:
    """A line of JSON for each arm and seed, then one for each arm; what is done stands in WORK/rows.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="store, checkpoints and models; goes on from there")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.0, 0.03, 0.1, 0.3, 0.6, 0.9])
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=1_500_000)
    parser.add_argument("--preset", default="pico")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config(options.config)
    with use_run(
        Run(
            Store(options.work / "store"),
            Resources(workers=options.threads, threads=options.threads),
            Display(quiet=True),
        )
    ):
        corpus = build_corpus(config)
        made = tokens_under(None, config, corpus)
    parts = {name: split_index(made.tokens, corpus.split, name) for name in ("train", "valid", "test")}
    index, test = parts["train"], PackedSequences(parts["test"], CONTEXT)
    settings = GPTPretraining(model=gpt_preset(options.preset, context=CONTEXT)).with_vocab(index.vocab)
    file = options.work / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    for seed in range(options.seeds):
        for share in options.shares:
            if any((row["share"], row["seed"]) == (share, seed) for row in rows):
                continue
            read, once, repeated = arm(index, share, options.tokens, options.times, seed)
            train = TrainConfig(
                epochs=1,
                batch=32,
                seed=seed,
                eval_interval=0,
                sample_interval=0,
                optimizer=OptimizerConfig(learning_rate=0.003),
            )
            out = options.work / f"duplicates-{share}-{seed}"
            given = Given(settings, settings.resolve(train), chosen(index, read), parts["valid"], made.tokenizer.path)
            pretrain(given, out / "checkpoints", out / "model")
            model, tokenizer = load_model(out / "model")
            text = DecoderText(model, tokenizer, Spelling.load(out / "model"))
            row: dict[str, Any] = {
                "share": share,
                "seed": seed,
                "read": int(index.length[read].sum()),
                "different": int(index.length[once + repeated].sum()),
                "bits_per_byte": round(bits_per_byte(model, test, token_byte_lengths(tokenizer))["bits_per_byte"], 4),
            }
            rows.append(row | remembered(text, index, once, repeated))
            print(json.dumps(rows[-1]), flush=True)
            with file.open("a") as out_file:
                out_file.write(json.dumps(rows[-1]) + "\n")
    print("\n".join(over_seeds(rows)))


if __name__ == "__main__":
    main()
