"""Checkpoints: complete or not there, verified before use, retained as told."""

import json
import logging
from pathlib import Path

import pytest
import torch

from lm.train.checkpoint import (
    CorruptCheckpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)


def save(directory: Path, step: int) -> Path:
    weights = {"w": torch.full((3, 2), float(step))}
    return save_checkpoint(directory, step, weights, {"w/step": torch.tensor(step)}, {"step": step})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    assert path.name == "step-00000007"
    assert sorted(p.name for p in path.iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "optim.safetensors",
        "state.json",
    ]
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.model["w"], torch.full((3, 2), 7.0))
    assert loaded.optimizer["w/step"].item() == 7
    assert loaded.state == {"step": 7}


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a", 1), save(tmp_path / "b", 1)
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_the_newest_is_taken_and_leftovers_are_cleared(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "nowhere") is None
    for step in (2, 10, 9):
        save(tmp_path, step)
    (tmp_path / ".tmp-step-00000011").mkdir()
    (tmp_path / ".tmp-step-00000011/model.safetensors").write_bytes(b"half")
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state["step"] == 10
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("name", ["model.safetensors", "optim.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["remove", "flip", "truncate"])
def test_a_corrupt_checkpoint_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, harm: str
) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    content = file.read_bytes()
    if harm == "remove":
        file.unlink()
    elif harm == "flip":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptCheckpoint, match=r"step-00000002"):
        load_checkpoint(file.parent)
    with caplog.at_level(logging.WARNING):
        checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state["step"] == 1
    assert "set aside as corrupt-step-00000002" in caplog.text
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]
    assert save(tmp_path, 2).exists()


def test_a_step_can_be_written_again(tmp_path: Path) -> None:
    save(tmp_path, 3)
    save(tmp_path, 3)
    assert load_checkpoint(tmp_path / "step-00000003").state == {"step": 3}


def test_retention_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    for step in range(1, 7):
        save(tmp_path, step)
        prune_checkpoints(tmp_path, keep_last=2, also={2})
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2, 5, 6]


def test_the_manifest_lists_sizes_and_hashes(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    assert {n: e["bytes"] for n, e in manifest.items()} == {n: (path / n).stat().st_size for n in manifest}
    assert all(len(e["sha256"]) == 64 for e in manifest.values())
