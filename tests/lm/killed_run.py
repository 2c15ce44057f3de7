"""A small training run for test_kill.py: `python killed_run.py ROOT NAME=MOMENT,MOMENT,... ...`.

For each NAME, the run in ROOT/NAME is started once per MOMENT, in a process of its own that kills itself with
SIGKILL at that moment, and then once more to the end. MOMENT is `step:N`, after N updates, or `fsync:N`,
`replace:N`, `remove:N`, at the N-th such call of that process (all are made by writing and pruning
checkpoints). Prints `NAME SIGNALS SHA256` for each: what ended the processes, and the final weights. What a NAME begins
with says which model it is (`TRAINERS`): `recurrent` is an AWD-LSTM with carried state and averaged weights, `xl` a
Transformer-XL with carried memory.
"""

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimiser imports it: once here, not in every child

from lm.characters import character_ids
from lm.config import GPTConfig, OptimizerConfig, TrainConfig
from lm.models.elmo import ELMo
from lm.models.elmo_config import ELMoConfig
from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.models.modern_config import MODERN_OPTIMIZER, ModernConfig
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import rnn_preset
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig, XLNetConfig
from lm.objectives.bilm import BiLMObjective
from lm.objectives.causal import CausalObjective
from lm.objectives.permutation import PermutationObjective, Permuted
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order, numbered_by_epoch
from lm.streams import ArrayPieces, Lanes, RandomLanes
from lm.train.hooks import Hooks
from lm.train.objective import Examples, Objective
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
    TRAINERS[directory.name.partition("-")[0]](directory, Hooks(on_progress=on_progress)).run()


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


def a_trainer(
    model: torch.nn.Module,
    objective: Objective,
    directory: Path,
    hooks: Hooks,
    examples: Examples | None = None,
    optimizer: OptimizerConfig | None = None,
    **fields: Any,
) -> Trainer:
    """A trainer with what all have in common; by default of sequences, each for itself."""
    return Trainer(
        model,
        objective,
        examples or Sequences(),
        train_config(optimizer or OptimizerConfig(learning_rate=0.01)),
        20,
        directory,
        evaluate=lambda model: {"bits_per_byte": float(sum(p.abs().sum() for p in model.parameters()))},
        hooks=hooks,
        **fields,
    )


def gpt_trainer(directory: Path, hooks: Hooks, **changes: Any) -> Trainer:
    return a_trainer(GPT(MODEL.model_copy(update=changes), seed=0), CausalObjective(), directory, hooks)


def modern_trainer(directory: Path, hooks: Hooks) -> Trainer:
    config = ModernConfig(layers=2, width=32, heads=2, context=16, vocab=64)
    return a_trainer(Modern(config, seed=0), CausalObjective(), directory, hooks, optimizer=MODERN_OPTIMIZER)


def nnlm_trainer(directory: Path, hooks: Hooks) -> Trainer:
    config = NNLMConfig(order=4, embedding=6, hidden=8, vocab=64)
    return a_trainer(NNLM(config, seed=0), CausalObjective(), directory, hooks)


def elmo_trainer(directory: Path, hooks: Hooks) -> Trainer:
    config = ELMoConfig(
        characters=9, character_width=4, filters=((1, 4), (2, 4)), width=8, cell_width=16, clip=1.0, vocab=64
    )
    characters = torch.from_numpy(character_ids([f"word{i}" for i in range(64)], config.characters))
    return a_trainer(ELMo(config, 0, characters), BiLMObjective(), directory, hooks)


def recurrent_trainer(directory: Path, hooks: Hooks) -> Trainer:
    lanes = RandomLanes(ArrayPieces(np.random.default_rng(0).integers(0, 64, 333), 1), 4, bptt=8, seed=0)
    sgd = OptimizerConfig(method="sgd", learning_rate=5.0, weight_decay=1e-6, average_after=0)
    objective = RecurrentObjective(12, alpha=2.0, beta=1.0)
    model = RNNLM(RECURRENT, seed=0)
    return a_trainer(model, objective, directory, hooks, lanes, sgd, order=in_order, rate_scale=lanes.rate_scale)


def xl_trainer(directory: Path, hooks: Hooks) -> Trainer:
    config = TransformerXLConfig(layers=2, width=16, heads=2, inner=32, memory=9, vocab=64, dropout=0.1)
    lanes = Lanes(ArrayPieces(np.random.default_rng(0).integers(0, 64, 333), 8), 4)
    return a_trainer(TransformerXL(config, seed=0), RecurrentObjective(16), directory, hooks, lanes, order=in_order)


def xlnet_trainer(directory: Path, hooks: Hooks) -> Trainer:
    config = XLNetConfig(layers=2, width=16, heads=2, inner=32, vocab=64, context=16, dropout=0.1)
    permuted = Permuted(Sequences(), 16, PermutationConfig(predict=4), seed=0)
    model = XLNet(config, seed=0)
    return a_trainer(model, PermutationObjective(), directory, hooks, permuted, order=numbered_by_epoch)


TRAINERS: dict[str, Callable[[Path, Hooks], Trainer]] = {
    "gpt": gpt_trainer,
    "gpt1": partial(gpt_trainer, norm="post"),
    "gpt3": partial(gpt_trainer, band=4),
    "modern": modern_trainer,
    "nnlm": nnlm_trainer,
    "elmo": elmo_trainer,
    "recurrent": recurrent_trainer,
    "xl": xl_trainer,
    "xlnet": xlnet_trainer,
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
