"""Whether a deep GPT trains without a warm-up: `python -m benchmarks.warm_up [--seeds 1 2 3] [--rates 1e-3 3e-3]`.

GPT-1 has its layer norms behind the sums with the residual stream (post-LN), GPT-2 before attention and feed-forward
(pre-LN). Xiong et al. 2020, "On layer normalization in the transformer architecture", say that the first wants a
warm-up and the second can do without. Here: 12 layers 64 wide, characters of tinyshakespeare below TEXTMILL_DATA,
batches of 12 x 64 as in benchmarks.gpt_shakespeare, equal weights at the start with and without; a tenth of the steps
as linear warm-up, or one step, and a constant rate behind it. No gradient is clipped, unless --clip says so.

A line of JSON for each run: mean nats of training batches on the way and of the whole validation text (4.17 is what
guessing gets, about 3.3 what the frequencies of characters give), and the norm of the gradient before the first step.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.shakespeare import BATCH, CONTEXT, SIZE, Crops, shakespeare, validation_loss
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.objectives.causal import CausalObjective
from lm.order import draw_seed
from lm.train.hooks import Hooks
from lm.train.non_finite import NonFiniteError
from lm.train.trainer import Trainer

WINDOW = 20
"""Training losses are means of so many steps."""


def gradient_norm(model: GPT, ids: np.ndarray) -> float:
    """Of a first batch, before anything is learned."""
    tokens = Crops(ids).batch(np.random.default_rng(0).integers(0, len(ids) - CONTEXT, BATCH))["tokens"]
    F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    squares = sum(float(p.grad.pow(2).sum()) for p in model.parameters() if p.grad is not None)
    model.zero_grad(set_to_none=True)
    return math.sqrt(squares)


def trained(norm: str, warm_up: int, rate: float, seed: int, ids: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One run: its row."""
    size = {**SIZE, "layers": options.layers, "width": options.width}
    model = GPT(GPTConfig(**size, norm=norm), draw_seed(seed, "init"))
    train, valid = ids
    at_first = gradient_norm(model, train)
    config = TrainConfig(
        steps=options.steps, batch=BATCH, micro_batch=BATCH, precision="fp32", device="cpu", seed=seed,
        clip=options.clip,
        optimizer=OptimizerConfig(learning_rate=rate, beta2=0.99, weight_decay=0.1),
        schedule=ScheduleConfig(shape="constant", warmup_steps=warm_up),
        eval_interval=0, sample_interval=0, metrics_interval=1, checkpoint_seconds=0,
    )  # fmt: skip
    losses: list[float] = []
    hooks = Hooks(on_metrics=lambda step, figures: losses.append(figures["loss"]))
    objective = CausalObjective(np.ones(SIZE["vocab"], dtype=np.int64))
    diverged, started = False, time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            Trainer(model, objective, Crops(train), config, options.steps, Path(folder), hooks=hooks).run()
        except NonFiniteError:
            diverged = True
    marks = sorted({*range(100, options.steps, 100), options.steps} & set(range(len(losses) + 1)))
    return {
        "norm": norm,
        "warm_up": warm_up,
        "rate": rate,
        "seed": seed,
        "processor_seconds": round(time.process_time() - started, 1),
        "gradient_norm": round(at_first, 3),
        "train_loss": {mark: round(fmean(losses[max(0, mark - WINDOW) : mark]), 3) for mark in marks},
        "validation_loss": None if diverged else round(validation_loss(model.eval(), valid), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--norms", nargs="*", choices=["post", "pre"], default=["post", "pre"])
    parser.add_argument("--rates", type=float, nargs="*", default=[1e-3, 3e-3])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--clip", type=float, default=0.0, help="largest norm of a gradient; 0: any")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ids = shakespeare()
    for rate in options.rates:
        for seed in options.seeds:
            for norm in options.norms:
                for warm_up in (max(1, options.steps // 10), 1):
                    print(json.dumps(trained(norm, warm_up, rate, seed, ids, options)), flush=True)


if __name__ == "__main__":
    main()
