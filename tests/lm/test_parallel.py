"""What a shared training is told, what is heard of it, and which error is said."""

import json
import logging
import socket
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from pydantic import TypeAdapter, ValidationError

from lm.config import OptimizerConfig, TrainConfig
from lm.launch import join
from lm.launch.events import Listener, Teller
from lm.launch.failure import RankFailed, failure, leave_error
from lm.launch.index_files import read_index, write_index
from lm.launch.job import EVENTS, LOG, Job, read_given, read_job, write_job
from lm.launch.launch import command, settings
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig
from lm.parallel import NotShareable, ParallelConfig
from lm.pretraining import GPTPretraining, ModernPretraining
from lm.recipes.recipe import Given
from lm.tokens import TokenIndex, build_index
from lm.train.distributed import MainRankFailed
from lm.train.hooks import Hooks
from lm.train.non_finite import NonFiniteError
from tests.asked import Ask

GPT = GPTPretraining(model=GPTConfig(layers=1, width=16, heads=2, context=8, vocab=300))
TRAIN = TrainConfig(steps=4, batch=6)


def a_job(folder: Path, **parallel: Any) -> Job:
    return Job(folder, ParallelConfig(processes=2, **parallel), folder / "checkpoints", folder / "model", 3)


@pytest.mark.parametrize(
    ("parallel", "settings", "train", "message"),
    [
        ({"processes": 4}, GPT, TRAIN, r"train.batch 6 cannot be shared evenly by 4 processes.*take a batch of 8, or"),
        ({"processes": 2, "nodes": 2, "rendezvous": "a:1"}, GPT, TRAIN, r"train.batch 6 cannot be .* by 4 processes"),
        (
            {"processes": 2, "sharding": "fsdp"},
            ModernPretraining(model=ModernConfig(vocab=300)),
            TRAIN,
            r"sharding fsdp: optimizer.method muon needs whole matrices.*use adamw, or sharding ddp",
        ),
        (
            {"processes": 2, "sharding": "fsdp"},
            GPT,
            TRAIN.model_copy(update={"optimizer": OptimizerConfig(method="muon")}),
            r"sharding fsdp: optimizer.method muon",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused_by_name(
    parallel: dict[str, Any], settings: Any, train: TrainConfig, message: str
) -> None:
    with pytest.raises(NotShareable, match=message):
        ParallelConfig(**parallel).require_shareable(settings, train)


def test_what_one_process_does_needs_no_share() -> None:
    ParallelConfig().require_shareable(ModernPretraining(model=ModernConfig(vocab=300)), TRAIN)
    ParallelConfig(processes=3, sharding="fsdp").require_shareable(GPT, TRAIN)
    assert ParallelConfig(processes=3, nodes=2, rendezvous="a:1").least_batch(7) == 12


@pytest.mark.parametrize("rendezvous", ["host", "host:port", "a b:1"])
def test_several_machines_need_an_address(rendezvous: str) -> None:
    with pytest.raises(ValidationError, match=r"rendezvous"):
        ParallelConfig(nodes=2, rendezvous=rendezvous)


def test_where_none_is_named_machines_meet_at_the_first_by_its_own_name() -> None:
    assert ParallelConfig(nodes=2).here().rendezvous == f"{socket.gethostname()}:29400"
    for said in (ParallelConfig(processes=2), ParallelConfig(nodes=2, rendezvous="10.0.0.5:1")):
        assert said.here() is said


def test_an_index_is_written_and_read_without_pickles(tmp_path: Path, shards: list[Path]) -> None:
    index = build_index(shards, copies=lambda ids: np.arange(len(ids)) % 3)
    for found in (index, replace(index, token_bytes=np.arange(300))):
        write_index(found, tmp_path / "index")
        back = read_index(tmp_path / "index")
        for name in TokenIndex.__dataclass_fields__:
            was, now = getattr(found, name), getattr(back, name)
            assert np.array_equal(was, now) if isinstance(was, np.ndarray) else was == now, name
        assert [np.array_equal(a, b) for a, b in zip(found.open(), back.open(), strict=True)] == [True] * len(shards)


def test_a_job_says_all_that_its_processes_need(tmp_path: Path, shards: list[Path], tokenizer_dir: Path) -> None:
    index = build_index(shards)
    given = Given(GPT, GPT.resolve(TRAIN), index, index, tokenizer_dir)
    job = a_job(tmp_path / "job", sharding="fsdp")
    write_job(job, given)
    assert read_job(job.folder) == job
    back = read_given(job.folder)
    assert (back.settings, back.config, back.deciding) == (given.settings, given.config, given.deciding)
    assert back.train.fingerprint == index.fingerprint


@pytest.mark.parametrize("kind", ["gpt", "rnn", "nnlm", "elmo", "transformer_xl", "xlnet", "bert", "modern"])
def test_the_settings_of_every_kind_come_back(kind: str) -> None:
    from lm.pretraining import Pretraining

    least = {"model": {"kind": kind, "vocab": 300}}
    parsed: Any = TypeAdapter(Pretraining).validate_python({"kind": kind, **least})
    dumped = json.loads(json.dumps({"kind": parsed.model.kind, **parsed.model_dump(mode="json")}))
    assert TypeAdapter(Pretraining).validate_python(dumped) == parsed


def test_what_the_main_rank_tells_calls_the_hooks_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    hooks = Hooks(
        on_metrics=lambda *said: heard.append(("metrics", *said)),
        on_evaluate=lambda *said: heard.append(("evaluate", *said)),
        on_sample=lambda *said: heard.append(("sample", *said)),
        on_mishap=lambda *said: heard.append(("mishap", *said)),
        on_progress=lambda *said: heard.append(("progress", *said)),
        on_checkpoint=lambda *said: heard.append(("checkpoint", *said)),
    )
    listener, teller = Listener(tmp_path / EVENTS, hooks), Teller(tmp_path / EVENTS)
    listener.listen()
    told = teller.hooks()
    told.on_metrics(1, {"loss": 0.1, "grad_norm": float("inf")})
    told.on_progress(1, 9)
    told.on_progress(2, 9)  # too soon after the one before to be worth a line
    told.on_progress(9, 9)
    listener.listen()
    told.on_evaluate(9, {"bits_per_byte": 1.5})
    told.on_sample(9, "a", "语言\n")
    told.on_mishap(9, {"action": "skip", "loss": "nan"})
    told.on_checkpoint(9, tmp_path)
    teller.tell("log", logging.WARNING, "resumed from %s")
    with (tmp_path / EVENTS).open("a") as file:
        file.write('["metrics", 10')
    with caplog.at_level(logging.INFO, "lm.launch"):
        listener.listen()
    with (tmp_path / EVENTS).open("a") as file:
        file.write(', {}]\n["interrupted", "asked"]\n')
    listener.listen()
    assert {f"on_{event}" for event, *_ in heard} == {hook.name for hook in fields(Hooks)}
    assert heard == [
        ("metrics", 1, {"loss": 0.1, "grad_norm": float("inf")}),
        ("progress", 1, 9),
        ("progress", 9, 9),
        ("evaluate", 9, {"bits_per_byte": 1.5}),
        ("sample", 9, "a", "语言\n"),
        ("mishap", 9, {"action": "skip", "loss": "nan"}),
        ("checkpoint", 9, tmp_path),
        ("metrics", 10, {}),
    ]
    assert listener.interrupted == "asked"
    assert "resumed from %s" in caplog.text


def test_the_error_that_came_first_is_said_not_that_of_who_missed_it(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    for rank, error in ((0, dist.DistBackendError("ncclRemoteError")), (1, RuntimeError("[gloo] Connection closed"))):
        leave_error(job, rank, error)
    (tmp_path / LOG).write_text("the last words")
    assert "the last words" in str(failure(job, 1))
    error = ValueError("vocab 3 is too small")
    error.add_note("while the batch of step 7 was made")
    leave_error(job, 1, error)
    found = failure(job, 1)
    assert isinstance(found, RankFailed)
    assert str(found) == "rank 1 of 2 failed: ValueError: vocab 3 is too small; while the batch of step 7 was made"
    assert "vocab 3 is too small" in found.__notes__[0]
    leave_error(job, 1, NonFiniteError("step 7: loss nan is not finite"))
    assert isinstance(failure(job, 1), NonFiniteError)
    assert str(failure(job, 1)) == "step 7: loss nan is not finite"


def test_what_failed_on_the_main_rank_is_said_not_that_others_had_no_answer(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    leave_error(job, 1, MainRankFailed("the main rank failed: NonFiniteError: step 7"))
    leave_error(job, 0, NonFiniteError("step 7 is bad"))
    assert str(failure(job, 1)) == "step 7 is bad"


def test_a_rank_that_was_killed_is_named(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(
        "Failures:\n[1]:\n  time      : 2026-11-26_12:00:01\n  host      : a\n"
        "  rank      : 1 (local_rank: 1)\n  exitcode  : -15 (pid: 76)\n  error_file: <N/A>\n"
        "[2]:\n  rank      : 3 (local_rank: 1)\n  exitcode  : -9 (pid: 77)\n  error_file: <N/A>\n"
        "Root Cause (first observed failure):\n[0]:\n  rank      : 0 (local_rank: 0)\n  exitcode  : 1 (pid: 75)\n"
    )
    found = failure(a_job(tmp_path), 1)
    assert (
        str(found) == "rank 3 was ended by signal 9; without a hand behind it usually the system's, for want of memory"
    )


def test_one_machine_listens_on_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    line = command(a_job(tmp_path), main=True)
    assert f"--rdzv-endpoint={tmp_path / 'rendezvous'}" in line
    assert "--rdzv-conf=store_type=file" in line
    found = settings(a_job(tmp_path))
    assert found["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
    assert found["OMP_NUM_THREADS"] == "1"
    assert found.get("GLOO_SOCKET_IFNAME", "lo") in ("lo", "lo0")


@pytest.mark.parametrize(("main", "host"), [(True, "is_host=1"), (False, "is_host=0")])
def test_several_machines_meet_at_the_first(tmp_path: Path, main: bool, host: str) -> None:
    job = a_job(tmp_path, nodes=3, rendezvous="10.0.0.5:29400")
    line = command(job, main)
    assert {"--nnodes=3", "--nproc-per-node=2", "--rdzv-endpoint=10.0.0.5:29400", f"--rdzv-conf={host}"} <= set(line)
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" not in settings(job)


def test_joining_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shards: list[Path], tokenizer_dir: Path
) -> None:
    assert join.main([]) == 2
    assert join.main([str(tmp_path)]) == 2
    assert "usage: python -m lm.launch.join FOLDER" in capsys.readouterr().err
    index = build_index(shards)
    write_job(a_job(tmp_path / "job"), Given(GPT, GPT.resolve(TRAIN), index, index, tokenizer_dir))
    assert join.main([str(tmp_path / "job")]) == 2
    assert "that training has one machine" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["byte", "signal"])
def test_a_rank_is_asked_to_stop_by_a_byte_and_by_a_signal(fork_server: Ask, tmp_path: Path, what: str) -> None:
    answer = fork_server(call="tests.lm.distributed_cases:heeding", arguments=[str(tmp_path), what])
    assert answer == {"signal": 0, "returned": True}


@pytest.mark.parametrize("what", ["end", "error"])
def test_a_rank_ends_when_nobody_listens_and_when_another_failed(fork_server: Ask, tmp_path: Path, what: str) -> None:
    """With exit status 1, of which the server says that it failed."""
    with pytest.raises(pytest.fail.Exception, match="failed; see standard error"):
        fork_server(call="tests.lm.distributed_cases:heeding", arguments=[str(tmp_path), what])
