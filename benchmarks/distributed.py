"""What sharing a training costs on one machine: `python -m benchmarks.distributed --work FOLDER [--rounds 3]`.

A GPT (default: 8.4 M parameters) is trained on generated tokens by, in turn, `--rounds` times,

    plain     a loop of twenty lines around the same model and AdamW, one process with all threads
    alone     our trainer, one process with all threads
    ddp-loop  the plain loop with torch's DDP, two processes that share the threads
    ddp       our trainer with DDP, two processes
    fsdp-loop the plain loop with torch's FSDP2, two processes
    fsdp      our trainer with FSDP2, two processes

at one batch: medians of tokens per second over the steps after the first few, and their ratios. Then what
a checkpoint costs: in one run the time of each half of an interval that begins with a checkpoint less that of each half
without one, as a part of the default interval of 60 s. Beside the ratios of speed stand those of processor seconds,
all processes together, which say something also where other work disturbs the clock.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from lm.config import TrainConfig
from lm.memory import keep_freed_memory
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.objectives.causal import CausalObjective
from lm.order import examples_at
from lm.train.batches import Steps
from lm.train.distributed import Replicas, Sharded, join
from lm.train.hooks import Hooks
from lm.train.layers import stacked_layers
from lm.train.ranks import Alone
from lm.train.trainer import Trainer

LEFT_OUT = 3  # first steps of a run
INTERVAL = 60.0  # seconds, TrainConfig.checkpoint_seconds
SHARED = {"ddp-loop": 2, "ddp": 2, "fsdp-loop": 2, "fsdp": 2}


class Tokens:
    """Sequences of tokens as frequent as words are, the n-th always the same."""

    fingerprint = "zipf"

    def __init__(self, context: int, vocab: int) -> None:
        self.context, self.vocab = context, vocab

    def __len__(self) -> int:
        return 10_000

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        drawn = [np.random.default_rng(int(n)).zipf(1.2, self.context + 1) % self.vocab for n in indices]
        return {"tokens": torch.from_numpy(np.stack(drawn))}


def plain_loop(model: GPT, steps: Steps, count: int, way: str, stepped: Callable[[], None]) -> None:
    """What one would write by hand."""
    called: nn.Module = model
    if way == "ddp-loop":
        called = DistributedDataParallel(model, gradient_as_bucket_view=True)
    elif way == "fsdp-loop":
        mesh = init_device_mesh("cpu", (SHARED[way],))
        for layer in [*stacked_layers(model), model]:
            fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for step in range(count):
        parts = steps[step].parts
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            if isinstance(called, DistributedDataParallel):
                called.require_backward_grad_sync = last
            elif isinstance(called, FSDPModule):
                called.set_requires_gradient_sync(last)
                called.set_is_last_backward(last)
            logits = called(part["tokens"][:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), part["tokens"][:, 1:].flatten())
            (loss / len(parts)).backward()
        loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        stepped()


def one_rank(arguments: argparse.Namespace) -> None:
    """Train as one rank of a way; prints the seconds of each step."""
    way, count = arguments.way, SHARED.get(arguments.way, 1)
    rank = int(os.environ.get("RANK", "0"))
    torch.set_num_threads(arguments.threads // count)
    keep_freed_memory()
    if count > 1:
        join(rank, count, "cpu", FileStore(str(arguments.work / "store"), count))
    size = GPTConfig(
        layers=arguments.layers, width=arguments.width, heads=arguments.width // 64, context=256, vocab=arguments.vocab
    )
    model, tokens = GPT(size), Tokens(size.context, size.vocab)
    settings = TrainConfig(
        steps=arguments.steps,
        batch=arguments.batch,
        micro_batch=arguments.micro_batch,
        device="cpu",
        precision="fp32",
        eval_interval=0,
        sample_interval=0,
        checkpoint_interval=arguments.checkpoint_interval,
        checkpoint_seconds=0,
    )
    times, used = [time.perf_counter()], [time.process_time()]

    def stepped(*_: object) -> None:
        times.append(time.perf_counter())
        used.append(time.process_time())

    if way in ("plain", "ddp-loop", "fsdp-loop"):
        steps = Steps(tokens, examples_at, arguments.batch, arguments.micro_batch, 0, rank, count)
        plain_loop(model, steps, arguments.steps, way, stepped)
    else:
        ranks = {"alone": Alone, "ddp": Replicas, "fsdp": Sharded}[way]()
        hooks, objective = Hooks(on_progress=stepped), CausalObjective()
        directory = arguments.work / "checkpoints"
        resolved = settings.resolve(size)
        Trainer(model, objective, tokens, resolved, arguments.steps, directory, hooks=hooks, ranks=ranks).run()
    print(json.dumps([np.diff(times).tolist(), np.diff(used).tolist()]))
    sys.stdout.flush()
    os._exit(0)


def seconds(arguments: argparse.Namespace, way: str, *more: str) -> tuple[list[float], list[float]]:
    """Of each step of a new run: by the clock, and of processors."""
    for name in ("store", "checkpoints"):
        path = arguments.work / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    names = ("layers", "width", "vocab", "batch", "micro_batch", "threads", "steps", "work")
    options = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in names]
    command = [sys.executable, "-m", "benchmarks.distributed", f"--way={way}", *options, *more]
    count = SHARED.get(way, 1)
    threads = {"OMP_NUM_THREADS": str(arguments.threads // count), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **threads, "RANK": str(rank)})
        for rank in range(count)
    ]
    said = [process.communicate()[0] for process in ranks]
    assert all(process.returncode == 0 for process in ranks), f"{way} failed"
    clock, used = zip(*(json.loads(answer) for answer in said), strict=True)
    return clock[0], [sum(step) for step in zip(*used, strict=True)]


def compare(arguments: argparse.Namespace) -> None:
    """Tokens per second of each way, in turn."""
    ways = ["plain", "alone", "ddp-loop", "ddp", "fsdp-loop", "fsdp"]
    rates: dict[str, list[float]] = {way: [] for way in ways}
    costs: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            took, used = (statistics.median(steps[LEFT_OUT:]) for steps in seconds(arguments, way))
            rates[way].append(arguments.batch * 256 / took)
            costs[way].append(used)
            print(
                f"  round {number + 1}: {way:<10} {rates[way][-1]:8.0f} tokens/s, {used:6.3f} s of processors",
                flush=True,
            )
    best = {way: statistics.median(found) for way, found in rates.items()}
    cost = {way: statistics.median(found) for way, found in costs.items()}
    for ours, theirs in (
        ("alone", "plain"),
        ("ddp", "ddp-loop"),
        ("ddp", "plain"),
        ("ddp", "alone"),
        ("fsdp", "fsdp-loop"),
        ("fsdp", "plain"),
    ):
        speed, saved = best[ours] / best[theirs], cost[theirs] / cost[ours]
        print(f"{ours:<6} / {theirs:<10} {speed:.3f} in tokens per second, {saved:.3f} in tokens per processor second")


def checkpoints(arguments: argparse.Namespace) -> None:
    """What a checkpoint costs, for one process that waits for it and for two that do not."""
    half = arguments.half
    for way in ("alone", "ddp", "fsdp"):
        more = [f"--checkpoint-interval={2 * half}", f"--steps={2 * half * (arguments.pairs + 1)}"]
        took, _ = seconds(arguments, way, *more)
        # hooks hear of a step before its checkpoint is begun: that is part of the next step's time
        blocks = [sum(took[at : at + half]) for at in range(2 * half, len(took) - half + 1, half)]
        lost = statistics.median(a - b for a, b in zip(blocks[::2], blocks[1::2], strict=False))
        print(
            f"{way:<6} {lost:6.3f} s lost per checkpoint, {100 * lost / INTERVAL:5.2f} % at {INTERVAL:.0f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--half", type=int, default=4, help="steps between a checkpoint and the half without one")
    parser.add_argument("--pairs", type=int, default=6, help="checkpoints that are measured")
    parser.add_argument("--only", choices=("speed", "checkpoints"), help="one of the two parts")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint-interval", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.way:
        one_rank(arguments)
    if arguments.only != "checkpoints":
        compare(arguments)
    if arguments.only != "speed":
        checkpoints(arguments)


if __name__ == "__main__":
    main()
