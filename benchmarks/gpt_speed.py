"""Training speed at nanoGPT's small CPU configuration: `python -m benchmarks.gpt_speed [--steps 80] [--threads 2]`.

Our trainer (its checks, dropout seeds and learning-rate schedule included) against a plain eager loop around nanoGPT's
model and around transformers' GPT-2, a step of the one and a step of the other in turn, 4 layers, 128 wide, context 64,
batch 12. Medians, and the quartiles of the ratio (theirs / ours: above 1, ours is faster); for Muon also its part of a
step. With `--threads 1` seconds are those of the processor.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from benchmarks.shakespeare import BATCH, CONTEXT, SIZE, Crops, PlainGPT, PlainLoop, clock
from lm.config import OptimizerConfig, TrainConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import MODERN_OPTIMIZER, ModernConfig
from lm.objectives.causal import CausalObjective
from lm.train.hooks import Hooks
from lm.train.muon import Muon
from lm.train.trainer import Trainer

SKIPPED = 5
PAIRS = [  # ours, its precision, theirs, its precision
    ("gpt2", "fp32", "transformers", "fp32"),
    ("gpt2", "bf16", "transformers", "bf16"),
    ("gpt2", "fp32", "nanogpt", "fp32"),
    ("modern", "fp32", "nanogpt", "fp32"),
    ("modern", "bf16", "nanogpt", "fp32"),
]


def peer(name: str, precision: str, ids: np.ndarray) -> PlainLoop:
    torch.manual_seed(0)
    if name == "nanogpt":
        return PlainLoop(PlainGPT(), ids, bf16=precision == "bf16")
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=SIZE["layers"], n_embd=SIZE["width"], n_head=SIZE["heads"], n_positions=CONTEXT,
        vocab_size=SIZE["vocab"],
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0, use_cache=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).train()
    return PlainLoop(model, ids, lambda model, tokens: model(tokens).logits, bf16=precision == "bf16")


class OptimizerClock:
    """Seconds of each step of Muon."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.began = 0.0
        self.handles: list[RemovableHandle] = [
            register_optimizer_step_pre_hook(lambda optimizer, *_: self.begin()),
            register_optimizer_step_post_hook(lambda optimizer, *_: self.end(optimizer)),
        ]

    def begin(self) -> None:
        self.began = clock()

    def end(self, optimizer: torch.optim.Optimizer) -> None:
        if isinstance(optimizer, Muon):
            self.seconds.append(clock() - self.began)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def paired(ours: str, precision: str, plain: PlainLoop, ids: np.ndarray, steps: int) -> list[tuple[float, float]]:
    """Seconds of each step of (our trainer, the plain loop), one after the other in turn."""
    model: nn.Module = GPT(GPTConfig(**SIZE)) if ours == "gpt2" else Modern(ModernConfig(**SIZE))
    optimizer = MODERN_OPTIMIZER if ours == "modern" else OptimizerConfig(learning_rate=1e-3)
    config = TrainConfig(
        steps=steps, batch=BATCH, micro_batch=BATCH, device="cpu", precision=precision, optimizer=optimizer,
        eval_interval=0, sample_interval=0, checkpoint_seconds=0,
    ).resolve_for(SIZE["width"], SIZE["vocab"], CONTEXT)  # fmt: skip
    pairs, began = [], [clock()]

    def turn(*_: int) -> None:
        """Between two steps of ours, one of the plain loop."""
        middle = clock()
        plain.step()
        after = clock()
        pairs.append((middle - began[0], after - middle))
        began[0] = clock()

    with tempfile.TemporaryDirectory() as directory:
        objective = CausalObjective(np.ones(SIZE["vocab"], dtype=np.int64))
        Trainer(model, objective, Crops(ids), config, steps, Path(directory), hooks=Hooks(on_progress=turn)).run()
    return pairs[SKIPPED:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="*", help=f"which of the {len(PAIRS)} pairs, from 0")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ids = np.random.default_rng(0).integers(0, SIZE["vocab"], 100_000)
    for number in options.only or range(len(PAIRS)):
        ours, precision, theirs, their_precision = PAIRS[number]
        muon = OptimizerClock()
        pairs = paired(ours, precision, peer(theirs, their_precision, ids), ids, options.steps)
        muon.remove()
        mine, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
        low, middle, high = statistics.quantiles([b / a for a, b in pairs], n=4)
        row = {
            "ours": f"{ours} {precision}",
            "theirs": f"{theirs} {their_precision}",
            "milliseconds": [round(1e3 * mine, 1), round(1e3 * plain, 1)],
            "ratio": round(middle, 2),
            "quartiles": [round(low, 2), round(high, 2)],
        }
        if muon.seconds:
            row["optimizer"] = round(statistics.median(muon.seconds[SKIPPED:]) / mine, 3)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
