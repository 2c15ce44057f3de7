"""Checkpoints written beside the training: what they hold, and what becomes of one that is under way when it ends."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.train import ranks
from lm.train.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from lm.train.hooks import Hooks
from lm.train.writing import Beside, copied
from tests.lm.test_trainer import STEPS, trainer

EVERY_STEP = {"checkpoint_interval": 1, "keep_last": 100, "eval_interval": 0, "sample_interval": 0}


def test_a_checkpoint_holds_its_own_step_though_training_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = threading.Event()

    def slow(directory: Path, step: int, *parts: Any) -> Path:
        if step == 1:
            later.wait()  # for ever, if training waited for the disk
        return save_checkpoint(directory, step, *parts)

    monkeypatch.setattr(ranks, "save_checkpoint", slow)
    t, seen = trainer(tmp_path, config=EVERY_STEP), {}

    def look(step: int, steps: int) -> None:
        seen[step] = {name: tensor.detach().clone() for name, tensor in t.model.named_parameters()}
        if step == 2:
            later.set()

    t.hooks = Hooks(on_progress=look)
    t.run()
    assert [step for step, _ in list_checkpoints(tmp_path)] == list(range(1, STEPS + 1))
    for step, path in list_checkpoints(tmp_path):
        held = load_checkpoint(path).model
        assert all(torch.equal(held[name], tensor) for name, tensor in seen[step].items()), step
    assert not torch.equal(seen[1]["token_embedding.weight"], seen[2]["token_embedding.weight"])


def test_what_goes_wrong_in_writing_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, step: int, *parts: Any) -> Path:
        if step == 3:
            raise OSError(28, "No space left on device")
        return save_checkpoint(directory, step, *parts)

    monkeypatch.setattr(ranks, "save_checkpoint", full)
    t = trainer(tmp_path, config=EVERY_STEP)
    with pytest.raises(OSError, match="No space left"):
        t.run()
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1, 2]
    assert t.state.step == 4, "the next checkpoint hears of it"


def test_an_error_in_training_loses_no_checkpoint_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = threading.Event()

    def slow(directory: Path, step: int, *parts: Any) -> Path:
        failing.wait()
        return save_checkpoint(directory, step, *parts)

    def fail(step: int, steps: int) -> None:
        if step == 2:
            failing.set()
            raise RuntimeError("out of memory")

    monkeypatch.setattr(ranks, "save_checkpoint", slow)
    t = trainer(tmp_path, config=EVERY_STEP)
    t.hooks = Hooks(on_progress=fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        t.run()
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]


def test_on_the_way_out_with_another_error_a_failed_checkpoint_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    writer = Beside()
    writer.start(fail)
    writer.settle()
    assert "writing the last checkpoint failed: OSError: the disk is full" in caplog.text
    writer.wait()  # said once


def test_copies_are_memory_of_their_own() -> None:
    one = torch.arange(6.0).reshape(2, 3).requires_grad_()
    tensors = {"rows": one, "turned": one.detach().clone().T}
    copies = copied(tensors)
    with torch.no_grad():
        one.zero_()
    assert copies["rows"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert copies["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert copies["turned"].is_contiguous()
    assert not copies["rows"].requires_grad
    with pytest.raises(RuntimeError, match="head and embedding share their memory"):
        copied({"head": one, "embedding": one.detach()})
