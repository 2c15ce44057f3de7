"""What nanoGPT's small CPU configuration learns: `python -m benchmarks.gpt_shakespeare gpt2 modern [--seeds 1 2 3]`.

Characters of tinyshakespeare below TEXTMILL_DATA, the first 90 % to train on and the last 10 % to score; 4 layers, 128
wide, context 64, batch 12, 2,000 steps. `gpt2` is the faithful preset; `gpt1` has its layer norms behind the sums,
`gpt3` a band in every second layer, of an eighth of the context as its presets have; `modern` is the modern one,
`nanogpt` a plain loop of nanoGPT's shape. A line of JSON for each run: mean nats of the whole validation text, seconds,
parameters.

With `--steps 250` and the like the whole schedule is run in so many steps. With --directory a run of ours that was
killed goes on from its last checkpoint; its seconds are then those of the last part.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.shakespeare import BATCH, CONTEXT, SIZE, STEPS, Crops, PlainGPT, PlainLoop, shakespeare, validation_loss
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.hardware import resolve_device
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import MODERN_OPTIMIZER, MODERN_SCHEDULE, ModernConfig
from lm.objectives.causal import CausalObjective
from lm.order import draw_seed
from lm.train.trainer import Trainer

GPTS: dict[str, dict[str, Any]] = {"gpt1": {"norm": "post"}, "gpt2": {}, "gpt3": {"band": CONTEXT // 8}}
AS_GPT2: dict[str, Any] = {
    "optimizer": OptimizerConfig(learning_rate=2e-3, beta2=0.99, weight_decay=0.1),
    "schedule": ScheduleConfig(warmup_steps=100),
}
TRAINED: dict[str, dict[str, Any]] = {
    **{kind: AS_GPT2 for kind in GPTS},
    "modern": {"optimizer": MODERN_OPTIMIZER, "schedule": MODERN_SCHEDULE},
}


def trained(kind: str, ids: np.ndarray, options: argparse.Namespace, seed: int) -> nn.Module:
    """A model of ours, trained by our trainer."""
    first = draw_seed(seed, "init")
    model: nn.Module
    model = GPT(GPTConfig(**SIZE, **GPTS[kind]), first) if kind in GPTS else Modern(ModernConfig(**SIZE), first)
    settings = dict(TRAINED[kind])
    if options.set:
        changed = dict(pair.split("=") for pair in options.set)
        settings["optimizer"] = OptimizerConfig(**{**settings["optimizer"].model_dump(), **changed})
    config = TrainConfig(
        steps=options.steps, batch=BATCH, micro_batch=BATCH, precision=options.precision, seed=seed, eval_interval=0,
        sample_interval=0, checkpoint_seconds=20 if options.directory else 0, clip=options.clip, **settings,
    ).resolve_for(SIZE["width"], SIZE["vocab"], CONTEXT)  # fmt: skip
    objective = CausalObjective(np.ones(SIZE["vocab"], dtype=np.int64))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.directory or Path(temporary)) / f"{kind}-{options.precision}-{options.steps}-{seed}"
        Trainer(model, objective, Crops(ids), config, options.steps, folder).run()
    return model


def plain(ids: np.ndarray, options: argparse.Namespace, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    loop = PlainLoop(PlainGPT(), ids, seed=seed, device=resolve_device("auto"))
    for _ in range(options.steps):
        loop.step()
    return loop.model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=[*TRAINED, "nanogpt"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16", help="of our models")
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--directory", type=Path, help="where checkpoints are kept")
    parser.add_argument("--set", nargs="*", metavar="KEY=VALUE", help="settings of the optimiser, to try others")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, valid = shakespeare()
    for name in options.models:
        for seed in options.seeds:
            wall, used = time.perf_counter(), time.process_time()
            model = plain(train, options, seed) if name == "nanogpt" else trained(name, train, options, seed)
            row = {
                "model": name,
                "device": next(model.parameters()).device.type,
                "precision": "fp32" if name == "nanogpt" else options.precision,
                "seed": seed,
                "steps": options.steps,
                "seconds": round(time.perf_counter() - wall, 1),
                "processor_seconds": round(time.process_time() - used, 1),
                "parameters": sum(p.numel() for p in model.parameters()),
                "validation_loss": round(validation_loss(model.cpu().eval(), valid), 4),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
