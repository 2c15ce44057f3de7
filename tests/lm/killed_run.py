"""A small training run for test_kill.py: `python killed_run.py ROOT NAME=MOMENT,MOMENT,... ...`.

For each NAME, the run in ROOT/NAME is started once per MOMENT, in a process of its own that kills itself with
SIGKILL at that moment, and then once more to the end. MOMENT is `step:N`, after N updates, or `fsync:N`,
`replace:N`, `remove:N`, at the N-th such call of that process (all are made by writing and pruning
checkpoints). Prints `NAME SIGNALS SHA256` for each: what ended the processes, and the final weights. A NAME that
begins with `recurrent` is an AWD-LSTM with carried state and averaged weights, with `modern` a modern decoder under
Muon, with `gpt1` or `gpt3` one of these, others are a GPT-2.
"""

import hashlib
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimiser imports it: once here, not in every child

from lm.config import GPTConfig, OptimizerConfig, TrainConfig
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.models.modern_config import MODERN_OPTIMIZER, ModernConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import rnn_preset
from lm.objectives.causal import CausalObjective
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order
from lm.streams import ArrayPieces, RandomLanes
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

RECURRENT = rnn_preset("awd-lstm", vocab=64, embedding=12, width=16)
MODEL = GPTConfig(layers=2, width=32, heads=2, context=16, vocab=64, dropout=0.1)


class Sequences:
    fingerprint = "kill"

    def __len__(self) -> int:
        return 23

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        rows = [np.random.default_rng(int(i)).integers(0, 64, 17) for i in indices]
        return {"tokens": torch.from_numpy(np.stack(rows))}


def kill_self(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_call(owner: Any, name: str, call: int) -> None:
    """Replace `owner.name` by itself with a death before the `call`-th call."""
    original, calls = getattr(owner, name), iter(range(1, call))

    def counted(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            kill_self()
        return original(*arguments, **options)

    setattr(owner, name, counted)


def train(directory: Path, kill_at: str | None) -> None:
    on_progress: Any = lambda *_: None  # noqa: E731
    if kill_at:
        what, _, number = kill_at.partition(":")
        if what == "step":
            on_progress = lambda step, _: step == int(number) and kill_self()  # noqa: E731
        else:
            owner, name = {"fsync": (os, "fsync"), "replace": (os, "replace"), "remove": (shutil, "rmtree")}[what]
            kill_at_call(owner, name, int(number))
    kind = directory.name.partition("-")[0]
    trainer: Trainer = MAKERS.get(kind, gpt_trainer)(directory, Hooks(on_progress=on_progress))
    trainer.run()


def train_config(optimizer: OptimizerConfig) -> TrainConfig:
    return TrainConfig(
        steps=20,
        batch=4,
        micro_batch=2,
        precision="fp32",
        optimizer=optimizer,
        eval_interval=6,
        sample_interval=0,
        checkpoint_interval=3,
        checkpoint_seconds=0,
        keep_last=1,
    ).resolve(MODEL)


def gpt_trainer(directory: Path, hooks: Hooks, config: GPTConfig = MODEL) -> Trainer:
    return Trainer(
        GPT(config, seed=0),
        CausalObjective(),
        Sequences(),
        train_config(OptimizerConfig(learning_rate=0.01)),
        20,
        directory,
        evaluate=lambda model: {"bits_per_byte": float(model.token_embedding.weight.std())},
        hooks=hooks,
    )


def modern_trainer(directory: Path, hooks: Hooks) -> Trainer:
    return Trainer(
        Modern(ModernConfig(layers=2, width=32, heads=2, context=16, vocab=64), seed=0),
        CausalObjective(),
        Sequences(),
        train_config(MODERN_OPTIMIZER),
        20,
        directory,
        evaluate=lambda model: {"bits_per_byte": float(model.token_embedding.weight.std())},
        hooks=hooks,
    )


def recurrent_trainer(directory: Path, hooks: Hooks) -> Trainer:
    lanes = RandomLanes(ArrayPieces(np.random.default_rng(0).integers(0, 64, 333), 1), 4, bptt=8, seed=0)
    return Trainer(
        RNNLM(RECURRENT, seed=0),
        RecurrentObjective(12, alpha=2.0, beta=1.0),
        lanes,
        train_config(OptimizerConfig(method="sgd", learning_rate=5.0, weight_decay=1e-6, average_after=0)),
        20,
        directory,
        evaluate=lambda model: {"bits_per_byte": float(model.token_embedding.weight.abs().sum())},
        hooks=hooks,
        order=in_order,
        rate_scale=lanes.rate_scale,
    )


MAKERS: dict[str, Any] = {
    "recurrent": recurrent_trainer,
    "modern": modern_trainer,
    "gpt1": partial(gpt_trainer, config=MODEL.model_copy(update={"norm": "post"})),
    "gpt3": partial(gpt_trainer, config=MODEL.model_copy(update={"band": 4})),
}


def in_child(directory: Path, kill_at: str | None) -> int:
    """Train in a forked process (torch is imported once); the signal that ended it, 0 if none."""
    child = os.fork()
    if child == 0:
        train(directory, kill_at)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{directory.name} {kill_at}: failed")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(root: Path, runs: list[str]) -> None:
    torch.set_num_threads(1)
    for run in runs:
        name, _, moments = run.partition("=")
        signals = [in_child(root / name, moment) for moment in moments.split(",") if moment]
        signals.append(in_child(root / name, None))
        content = (root / name / "step-00000020/model.safetensors").read_bytes()
        print(name, ",".join(map(str, signals)), hashlib.sha256(content).hexdigest(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
