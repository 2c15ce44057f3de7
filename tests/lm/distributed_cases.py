"""Trainings of `killed_runs` shared by several processes, for test_distributed.py.

Ranks are forked from a process that has imported torch (`tests.lm.fork_server` calls `shared` in one) and meet over a
file, as those of one machine do under torchrun. Nothing is dropped at random, so that all can be compared.
"""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed import FileStore
from torch.distributed.tensor import DTensor

import lm.pretrain
import lm.train.trainer
from lm.config import TrainConfig
from lm.pretrain import pretrain
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.train.batches import Reading, Steps
from lm.train.distributed import MainRankFailed, Replicas, Sharded, join
from lm.train.hooks import Hooks
from lm.train.non_finite import NonFiniteError
from lm.train.ranks import Alone
from tests.lm import killed_runs

Notes = dict[str, Any]


def without_dropout(given: Given, train: dict[str, Any]) -> Given:
    """The same training with nothing dropped, and other settings."""
    off = {name: 0.0 for name in type(given.settings.model).model_fields if "dropout" in name}
    settings = given.settings.model_copy(update={"model": given.settings.model.model_copy(update=off)})
    config = TrainConfig.model_validate({**given.config.model_dump(), **train})
    return replace(given, settings=settings, config=config)


def train_rank(kind: str, folder: Path, ranks: Alone, wanted: Notes) -> Notes:
    """One rank's training; what it read at each step and, if asked for, the gradients before clipping."""
    stopping, last = wanted.get("stop_at", [0, 1_000])
    done: list[int] = []

    def should_stop() -> bool:
        return ranks.rank == stopping and len(done) >= last

    notes: Notes = {
        "metrics": [],
        "evaluations": [],
        "samples": [],
        "read": {},
        "resumed_from": None,
        "interrupted": False,
    }
    own = Steps.__getitem__

    def noted(steps: Steps, step: int) -> Reading:
        share = np.split(steps.order(step * steps.batch, steps.batch, len(steps.examples), steps.seed), steps.ranks)
        found = own(steps, step)
        notes["read"][step] = share[steps.rank].tolist()
        return found

    Steps.__getitem__ = noted  # type: ignore[method-assign]
    clip = lm.train.trainer.clip_gradients
    updates = 0

    def recorded(model: nn.Module, *rest: Any) -> float:
        nonlocal updates
        if wanted.get("gradients"):
            found = {
                name: p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad.clone()
                for name, p in model.named_parameters()
                if p.grad is not None
            }
            if ranks.rank == 0:
                save_file(found, folder / f"gradients-{updates}.safetensors")
        updates += 1
        norm = clip(model, *rest)
        return float("nan") if updates in wanted.get("bad", []) else norm

    lm.train.trainer.clip_gradients = recorded
    hooks = Hooks(on_progress=lambda *_: done.append(1))
    if ranks.rank == 0:
        hooks = Hooks(
            on_progress=hooks.on_progress,
            on_metrics=lambda step, figures: notes["metrics"].append([step, figures]),
            on_evaluate=lambda step, figures: notes["evaluations"].append([step, figures]),
            on_sample=lambda *said: notes["samples"].append(list(said)),
        )

    def run(given: Given, checkpoints: Path, out: Path, _hooks: Hooks) -> None:
        nonlocal notes
        changed = replace(without_dropout(given, wanted["train"]), should_stop=should_stop)
        try:
            result = pretrain(changed, checkpoints, out, hooks, ranks)
            notes |= {name: result.get(name) for name in ("resumed_from", "best_step", "mishaps")}
        except Interrupted:
            notes["interrupted"] = True

    killed_runs.pretrain = run  # type: ignore[assignment]
    killed_runs.KINDS[kind]()(folder, hooks, wanted.get("data_workers", 0))
    return notes


def asked_in_vain(folder: str) -> list[Any]:
    """Two ranks ask what the main one cannot find, then whether any wishes something: what each of them met."""
    here = Path(folder)
    children = [fork(partial(_asked_in_vain, here, rank), here / f"met-{rank}") for rank in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    return [json.loads((here / f"met-{rank}").read_text()) for rank in range(2)]


def _asked_in_vain(folder: Path, rank: int) -> list[Any]:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    join(rank, 2, "cpu", FileStore(str(folder / "store"), 2))
    ranks = Replicas()

    def find() -> str:
        raise NonFiniteError("step 3 is bad, and there is no good checkpoint")

    try:
        ranks.told(find)
        return []
    except (NonFiniteError, MainRankFailed) as error:
        return [type(error).__name__, str(error), ranks.agree(rank == 1)]


def shared(kind: str, folder: str, count: int, sharding: str, wanted: Notes) -> list[Notes]:
    """Train with so many ranks (0: without any) in `folder`; the notes of each; none if one was killed."""
    here = Path(folder)
    here.mkdir(exist_ok=True)
    killed_runs.KINDS[kind]()  # the tokens are made once
    if count == 0:
        return [train_rank(kind, here, Alone(), wanted)]
    (here / "store").unlink(missing_ok=True)
    children = [
        fork(partial(_rank, kind, here, rank, count, sharding, wanted), here / f"notes-{rank}") for rank in range(count)
    ]
    running = set(children)
    while running:
        child, status = os.wait()
        running.discard(child)
        if status:  # as torchrun does
            for other in running:
                os.kill(other, signal.SIGKILL)
                os.waitpid(other, 0)
            if os.WIFSIGNALED(status):
                return []
            raise RuntimeError("a rank failed; see standard error")
    return [json.loads((here / f"notes-{rank}").read_text()) for rank in range(count)]


def kill_at_call(owner: Any, name: str, call: int) -> None:
    """Replace `owner.name` by itself with a death before the `call`-th call."""
    original, calls = getattr(owner, name), iter(range(1, call))

    def counted(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, name, counted)


def fork(function: Callable[[], Any], answer: Path) -> int:
    """A process that writes what `function` returns."""
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(json.dumps(function()))
            os._exit(0)
        except BaseException:  # noqa: BLE001 whatever it is, it must not go on as a second server
            traceback.print_exc()
            os._exit(1)
    return child


def _rank(kind: str, folder: Path, rank: int, count: int, sharding: str, wanted: Notes) -> Notes:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    join(rank, count, "cpu", FileStore(str(folder / "store"), count))
    killed, moment = wanted.get("kill", [-1, ""])
    if rank == killed:
        what, _, number = moment.partition(":")
        kill_at_call(os, what, int(number))
    ranks = Replicas() if sharding == "ddp" else Sharded()
    return train_rank(kind, folder, ranks, wanted)


def heeding(folder: str, what: str) -> bool:
    """Follow a pipe as a rank does; whether it was asked to stop. It may end this process instead."""
    from lm.launch.job import Job
    from lm.launch.worker import Stop
    from lm.parallel import ParallelConfig

    here = Path(folder)
    job = Job(here, ParallelConfig(processes=2), here, here, 1)
    stop, (out, into) = Stop(), os.pipe()
    stop.follow(out, job)
    if what == "byte":
        os.write(into, b"s")
    elif what == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    elif what == "end":
        os.close(into)
    else:
        job.error(1).write_text("{}")
    deadline = time.monotonic() + 60
    while not stop() and time.monotonic() < deadline:
        time.sleep(0.01)
    return stop()
