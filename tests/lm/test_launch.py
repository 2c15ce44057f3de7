"""torchrun for real: one training, stopped through one of its ranks and resumed; one on two machines."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from lm.config import TrainConfig
from lm.launch.failure import RankFailed
from lm.launch.launch import pretrain_shared
from lm.models.gpt_config import GPTConfig
from lm.parallel import ParallelConfig
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.tokens import build_index
from lm.train.checkpoint import list_checkpoints, load_checkpoint
from lm.train.hooks import Hooks
from tests.commands import commands
from tests.lm.rank_looks import look_into_ranks, used

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[2]
CANARY = "canary-7be2d81c"
STEPS = 400
CONFIG = TrainConfig(
    steps=STEPS,
    batch=4,
    micro_batch=2,
    device="cpu",
    precision="fp32",
    metrics_interval=1,
    eval_interval=STEPS,
    sample_interval=0,
    eval_sequences=2,
    checkpoint_interval=100,
)


def asked(shards: list[Path], tokenizer_dir: Path) -> Given:
    index = build_index(shards)
    settings = GPTPretraining(model=GPTConfig(layers=1, width=16, heads=2, context=8, vocab=index.vocab))
    return Given(settings, settings.resolve(CONFIG), index, index, tokenizer_dir)


def workers() -> dict[int, psutil.Process]:
    """The ranks that run under this process, by number."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            if "lm.launch.worker" in process.cmdline() and "torch.distributed.run" not in process.cmdline():
                found[int(process.environ()["RANK"])] = process
        except psutil.Error:
            continue
    return found


def test_stopped_through_one_rank_and_resumed_it_is_the_training_of_one_process(
    tmp_path: Path, shards: list[Path], tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no secret of the environment is in a command meanwhile."""
    torch.set_num_threads(1)
    look_into_ranks(tmp_path / "looks", monkeypatch)
    monkeypatch.setenv("HF_TOKEN", CANARY)
    given = asked(shards, tokenizer_dir)
    seen: dict[int, float] = {}

    def shared(at_step: Callable[[int], None] = lambda step: None) -> dict[str, Any]:
        def metrics(step: int, figures: dict[str, float]) -> None:
            seen[step] = figures["loss"]
            at_step(step)

        hooks = Hooks(on_metrics=metrics)
        places = (tmp_path / "checkpoints", tmp_path / "model", hooks, tmp_path / "jobs")
        return pretrain_shared(given, ParallelConfig(processes=2), *places, threads=2)

    def stop_rank_1(step: int) -> None:
        if step == 3:
            os.kill(workers()[1].pid, signal.SIGTERM)

    with commands() as seen_commands, pytest.raises(Interrupted, match="asked to stop while training, after step"):
        shared(stop_rank_1)
    assert sum(str(tmp_path) in each and "lm.launch.worker" in each for each in seen_commands) >= 2  # torchrun, ranks
    assert [each for each in seen_commands if CANARY in each] == []
    assert not workers()
    [(step, path)] = list_checkpoints(tmp_path / "checkpoints")[-1:]
    assert 3 < step < STEPS
    assert load_checkpoint(path).state["environment"]["processes"] == 2
    assert max(seen) == step

    result = shared()
    assert result["resumed_from"] == step
    assert sorted(seen) == list(range(1, STEPS + 1))
    rank = {"backend": "gloo", "device": "cpu", "fused": [True, True], "compiled": 0, "sharded": False}
    assert used(tmp_path / "looks", 2) == [rank, rank]
    alone = pretrain(given, tmp_path / "alone-checkpoints", tmp_path / "alone")
    for file in (tmp_path / "alone").iterdir():
        assert file.read_bytes() == (tmp_path / "model" / file.name).read_bytes()
    assert {**alone, "resumed_from": 0} == {**result, "resumed_from": 0}


def started() -> dict[str, psutil.Process]:
    """Everything that runs under this process of a shared training: its ranks by number, and torchrun."""
    [agent] = [process for process in psutil.Process().children() if "torch.distributed.run" in process.cmdline()]
    return {"torchrun": agent, **{f"rank {rank}": process for rank, process in workers().items()}}


@pytest.fixture
def endless(tmp_path: Path, shards: list[Path], tokenizer_dir: Path) -> Callable[..., dict[str, psutil.Process]]:
    """A training of two ranks that ends only by what happens to it: at the first step after a checkpoint is whole (they
    are written beside the steps), `happen` is called with its processes. Returns them once they have all ended, also
    where nobody is their parent any more."""

    def run(happen: Callable[[dict[str, psutil.Process]], None]) -> dict[str, psutil.Process]:
        given = asked(shards, tokenizer_dir)
        changes = {"steps": 10**6, "eval_interval": 10**6, "checkpoint_interval": 2}
        given = replace(given, config=given.config.model_copy(update=changes))
        seen: dict[str, psutil.Process] = {}

        def metrics(step: int, figures: dict[str, float]) -> None:
            if not seen and list_checkpoints(tmp_path / "checkpoints"):
                seen.update(started())
                happen(seen)

        places = (tmp_path / "checkpoints", tmp_path / "model", Hooks(on_metrics=metrics), tmp_path / "jobs")
        try:
            pretrain_shared(given, ParallelConfig(processes=2), *places, threads=2)
        finally:
            left = psutil.wait_procs(list(seen.values()), timeout=240)[1]
            for process in left:
                process.kill()
            assert not left
            assert set(seen) == {"torchrun", "rank 0", "rank 1"}
        return seen

    return run


def newest(folder: Path) -> int:
    """The step of the newest checkpoint, which is read as a resumed training would."""
    step, path = list_checkpoints(folder)[-1]
    assert load_checkpoint(path).state["step"] == step
    return step


@pytest.mark.parametrize("whom", ["rank 0", "torchrun"])
def test_whoever_is_asked_to_stop_a_checkpoint_of_the_last_step_is_left(
    endless: Any, tmp_path: Path, whom: str
) -> None:
    with pytest.raises(Interrupted, match=r"asked to stop while training, after step \d+") as stopped:
        endless(lambda seen: os.kill(seen[whom].pid, signal.SIGTERM))
    assert newest(tmp_path / "checkpoints") == int(re.findall(r"after step (\d+)", str(stopped.value))[0])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_all_and_is_named(endless: Any, tmp_path: Path, rank: int) -> None:
    with pytest.raises(RankFailed, match=f"^rank {rank} was ended by signal 9; .* for want of memory"):
        endless(lambda seen: os.kill(seen[f"rank {rank}"].pid, signal.SIGKILL))
    assert newest(tmp_path / "checkpoints") >= 2


def test_torchrun_that_is_killed_takes_its_ranks_with_it(endless: Any, tmp_path: Path) -> None:
    with pytest.raises(RankFailed, match="torchrun ended with status -9"):
        endless(lambda seen: os.kill(seen["torchrun"].pid, signal.SIGKILL))
    assert newest(tmp_path / "checkpoints") >= 2


FAILS_ALONE = """
import os

if os.environ.get("RANK") == "{rank}":
    import pathlib

    from lm.train.distributed import Replicas

    backward = Replicas.backward

    def fail(self, loss):
        if pathlib.Path("{now}").exists():
            raise LookupError("a batch that only this rank has")
        backward(self, loss)

    Replicas.backward = fail
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_fails_alone_ends_all_and_its_error_is_shown(
    endless: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """The other waits for its gradients then."""
    now = tmp_path / "now"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FAILS_ALONE.format(rank=rank, now=now))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    with pytest.raises(RankFailed) as failed:
        endless(lambda seen: now.touch())
    assert str(failed.value) == f"rank {rank} of 2 failed: LookupError: a batch that only this rank has"
    assert "in fail" in failed.value.__notes__[0]
    assert newest(tmp_path / "checkpoints") >= 2


def test_whoever_stops_listening_leaves_no_process(tmp_path: Path, shards: list[Path], tokenizer_dir: Path) -> None:
    class JournalFull(Exception):
        pass

    def fail(step: int, figures: dict[str, float]) -> None:
        raise JournalFull

    places = (tmp_path / "checkpoints", tmp_path / "model", Hooks(on_metrics=fail), tmp_path / "jobs")
    with pytest.raises(JournalFull):
        pretrain_shared(asked(shards, tokenizer_dir), ParallelConfig(processes=2), *places, threads=2)
    assert not workers()


def test_two_machines_meet_at_the_first(
    tmp_path: Path, shards: list[Path], tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both on this one, each with a process of its own."""
    given = asked(shards, tokenizer_dir)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        rendezvous = f"127.0.0.1:{probe.getsockname()[1]}"
    parallel = ParallelConfig(nodes=2, rendezvous=rendezvous)
    others: list[subprocess.Popen[bytes]] = []

    class Second(logging.Handler):
        """Whoever reads what is to be run on the second machine, and runs it."""

        def emit(self, record: logging.LogRecord) -> None:
            if " -m lm.launch.join " in (said := record.getMessage()):
                line = said.rpartition("python ")[2].split()
                others.append(subprocess.Popen([sys.executable, *line], cwd=ROOT))

    reader = Second()
    logging.getLogger("lm.launch").addHandler(reader)
    try:
        places = (tmp_path / "checkpoints", tmp_path / "model", Hooks(), tmp_path / "jobs")
        result = pretrain_shared(given, parallel, *places, threads=1)
    finally:
        logging.getLogger("lm.launch").removeHandler(reader)
    assert [other.wait() for other in others] == [0]
    assert result["step"] == STEPS
    alone = pretrain(given, tmp_path / "alone-checkpoints", tmp_path / "alone")
    assert alone["valid"] == result["valid"]
