"""Packing with and without a document mask: `python -m benchmarks.document_mask --work DIR [gpt modern] [--seeds 1 2]`.

The same decoder on the same sequences: so many tokens of the prose of corpus_en below TEXTMILL_DATA, under a byte-level
BPE of 4,096 tokens. A line of JSON for each run has bits per byte of the same test documents in three ways:

- `beginnings`: each document alone behind `<|endoftext|>`, its first 16, 64 and 127 tokens: as a model is used;
- `apart`, `packed`: documents packed into sequences, with the mask and without one.

and how fast it was trained, in tokens a second of processor time. DIR keeps the text and the checkpoints: a run that
was killed goes on, one that is finished is not made again.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._prose import prose_shards
from lm.config import OptimizerConfig, TrainConfig
from lm.models.gpt_config import gpt_preset
from lm.models.modern_config import modern_preset
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining, ModernPretraining, Pretrainable
from lm.recipes.recipe import Given
from lm.text_model import TextModel, open_model
from lm.tokens import TokenIndex

CONTEXT, HELD_OUT, SCORED = 128, 100_000, 400
FIRST = (16, 64, CONTEXT - 1)


def settings(kind: str, document_mask: bool) -> Pretrainable:
    """A decoder without its vocabulary."""
    if kind == "gpt":
        return GPTPretraining(model=gpt_preset("nano"), document_mask=document_mask)
    return ModernPretraining(model=modern_preset("nano"), document_mask=document_mask)


def beginnings(model: TextModel, index: TokenIndex, token_bytes: np.ndarray) -> dict[str, float]:
    """Bits per byte of the first tokens of each document, which nothing stands before."""
    shards = index.open()
    rows = zip(index.shard, index.start, index.length, strict=True)
    texts = [shards[shard][start : start + min(length, FIRST[-1])].astype(np.int64) for shard, start, length in rows]
    nats = model.token_nats(texts)
    found = {}
    for first in FIRST:
        bits = sum(float(costs[:first].sum()) for costs in nats) / math.log(2)
        found[str(first)] = round(bits / sum(int(token_bytes[ids[:first]].sum()) for ids in texts), 4)
    return found


def place(kind: str, seed: int, document_mask: bool, options: argparse.Namespace) -> Path:
    """Where a run is kept."""
    return Path(options.work / f"{kind}-{options.tokens}-{seed}-{'masked' if document_mask else 'plain'}")


def run(kind: str, seed: int, document_mask: bool, shards: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One training; its figures."""
    index, valid, test = shards
    given = settings(kind, document_mask).with_vocab(index.vocab)
    config = TrainConfig(
        tokens=options.tokens,
        batch=options.batch,
        seed=seed,
        precision=options.precision,
        eval_interval=0,
        sample_interval=0,
        metrics_interval=200,
        checkpoint_seconds=20,
        optimizer=OptimizerConfig(learning_rate=3e-3, beta2=0.99, weight_decay=0.1),
    )
    folder = place(kind, seed, document_mask, options)
    parts = Given(given, given.resolve(config), index, valid, options.work)
    started = time.process_time()
    result = pretrain(parts, folder / "checkpoints", folder / "model")
    seconds = time.process_time() - started
    model = open_model(folder / "model")
    packed = {
        name: model.bits_per_byte(PackedSequences(test, CONTEXT, mask), SCORED)["bits_per_byte"]
        for name, mask in (("apart", True), ("packed", False))
    }
    line = {
        "model": kind,
        "seed": seed,
        "document_mask": document_mask,
        "beginnings": beginnings(model, test, parts.token_bytes),
        **{name: round(bits, 4) for name, bits in packed.items()},
        "tokens": result["tokens"],
        "tokens_per_cpu_second": None if result["resumed_from"] else round(result["tokens"] / seconds),
    }
    (folder / "line.json").write_text(json.dumps(line))
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["gpt", "modern"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--tokens", type=int, default=600_000, help="read in training")
    parser.add_argument("--text", type=int, default=600_000, help="tokens of the training text")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shards = prose_shards(options.work, True, options.text, HELD_OUT)
    lengths = [np.quantile(each.length, [0.1, 0.5, 0.9]).astype(int).tolist() for each in (shards[0], shards[2])]
    print(json.dumps({"documents": [len(each) for each in shards], "tokens of them": lengths}), flush=True)
    for kind in options.kinds:
        for seed in options.seeds:
            for document_mask in (False, True):
                line = place(kind, seed, document_mask, options) / "line.json"
                found = (
                    json.loads(line.read_text()) if line.exists() else run(kind, seed, document_mask, shards, options)
                )
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
