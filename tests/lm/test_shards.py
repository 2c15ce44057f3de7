"""Checkpoints in parts: what any number of ranks wrote any number reads, and what is not whole is not taken."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.train.checkpoint import (
    CorruptCheckpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    newest_good,
    save_checkpoint,
)
from lm.train.checkpoint_files import files_of
from lm.train.shards import Piece, cut, piece, publish, read_parts, write_part
from lm.train.writing import Beside

MODEL = {"embedding": torch.arange(35.0).view(7, 5), "bias": torch.arange(3.0), "scale": torch.tensor(2.5)}
OPTIM = {"embedding/exp_avg": -MODEL["embedding"], "embedding/step": torch.tensor(4.0)}
STATE = {"step": 3, "best_value": 0.1}


def parts(folder: Path, count: int, ranks: list[int] | None = None) -> None:
    for rank in range(count) if ranks is None else ranks:
        cut_up = [{name: piece(t, rank, count) for name, t in tensors.items()} for tensors in (MODEL, OPTIM)]
        write_part(folder, rank, count, *cut_up)


def written(directory: Path, count: int, step: int = 3) -> Path:
    final = directory / f"step-{step:08d}"
    parts(directory / f".tmp-{final.name}-1", count)
    publish(directory / f".tmp-{final.name}-1", final, count, STATE)
    return final


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@given(rows=st.integers(0, 50), count=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_rows_are_cut_as_torch_cuts_them(rows: int, count: int) -> None:
    chunks = list(torch.arange(rows).chunk(count)) if rows else []
    chunks += [torch.arange(0)] * (count - len(chunks))
    assert [torch.arange(rows)[slice(*cut(rows, rank, count))].tolist() for rank in range(count)] == [
        chunk.tolist() for chunk in chunks
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_any_number_of_ranks_reads_what_any_number_wrote(tmp_path: Path, count: int) -> None:
    path = written(tmp_path, count)
    assert sorted(p.name for p in path.iterdir()) == sorted(
        [*(name for rank in range(count) for name in files_of(rank, count)), "state.json", "manifest.json"]
    )
    whole = load_checkpoint(path)
    assert equal(whole.model, MODEL)
    assert equal(whole.optimizer, OPTIM)
    assert whole.state == STATE
    for others in (2, 3, 4):
        found = [read_parts(path, lambda _, shape, r=rank, n=others: cut(shape[0], r, n)) for rank in range(others)]
        assert torch.equal(torch.cat([part.model["embedding"] for part in found]), MODEL["embedding"])
        assert all(torch.equal(part.optimizer["embedding/step"], OPTIM["embedding/step"]) for part in found)


def test_a_checkpoint_of_one_process_is_read_in_parts_as_well(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 3, MODEL, OPTIM, STATE)
    found = [read_parts(path, lambda _, shape, r=rank: cut(shape[0], r, 2)).model["embedding"] for rank in range(2)]
    assert [len(part) for part in found] == [4, 3]
    assert torch.equal(torch.cat(found), MODEL["embedding"])


def test_nothing_is_there_before_the_last_part_is(tmp_path: Path) -> None:
    folder, final = tmp_path / ".tmp-step-00000003-1", tmp_path / "step-00000003"
    parts(folder, 2, [1])
    thread = threading.Thread(target=publish, args=(folder, final, 2, STATE))
    thread.start()
    time.sleep(0.1)
    assert list_checkpoints(tmp_path) == []
    parts(folder, 2, [0])
    thread.join(20)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [3]
    assert equal(load_checkpoint(final).model, MODEL)


def test_what_a_kill_left_half_written_is_removed_and_the_one_before_is_taken(tmp_path: Path) -> None:
    good = written(tmp_path, 2)
    parts(tmp_path / ".tmp-step-00000006-2", 2, [1])
    assert newest_good(tmp_path) == good
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("first", [2, 5])
def test_rows_that_are_in_two_parts_or_in_none_are_named(tmp_path: Path, first: int) -> None:
    """As many rows as there should be."""
    path = written(tmp_path, 2)
    described = path / files_of(1, 2)[-1]
    said = json.loads(described.read_text())
    assert said["model"]["embedding"]["first"] == 4
    said["model"]["embedding"]["first"] = first
    described.write_text(json.dumps(said))
    with pytest.raises(CorruptCheckpoint, match="of embedding are missing, or in two parts"):
        read_parts(path)


@pytest.mark.parametrize("name", [*files_of(0, 2), *files_of(1, 2), "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "flipped", "short"])
def test_a_damaged_part_is_named_and_the_checkpoint_before_taken(tmp_path: Path, name: str, damage: str) -> None:
    good, path = written(tmp_path, 2), written(tmp_path, 2, step=6)
    data = bytearray((path / name).read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0x20
    (path / name).write_bytes(data[:-3] if damage == "short" else data)
    if damage == "missing":
        (path / name).unlink()
    with pytest.raises(CorruptCheckpoint):
        load_checkpoint(path)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.path == good
    assert (tmp_path / "corrupt-step-00000006").is_dir()


def test_a_manifest_that_leaves_a_rank_out_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if "00002-of" not in k}))
    with pytest.raises(CorruptCheckpoint, match=r"00000-of-00002\.safetensors: missing"):
        load_checkpoint(path)


def test_rows_that_no_part_has_are_an_error(tmp_path: Path) -> None:
    def said(rank: int, change: Any) -> None:
        described = path / files_of(rank, 2)[-1]
        content = json.loads(described.read_text())
        change(content)
        described.write_text(json.dumps(content))

    path = written(tmp_path, 2)
    said(1, lambda content: content["model"].pop("embedding"))
    with pytest.raises(CorruptCheckpoint, match="rows 0 to 7 of embedding are not all there"):
        read_parts(path)


def test_one_thing_at_a_time_is_done_beside_and_its_error_is_raised_by_the_next_call() -> None:
    beside, done = Beside(), []
    beside.start(lambda: (time.sleep(0.05), done.append(1))[0])
    beside.start(lambda: done.append(2))
    beside.wait()
    assert done == [1, 2]

    def full() -> None:
        raise OSError("no space left on the device")

    beside.start(full)
    with pytest.raises(OSError, match="no space left"):
        beside.start(lambda: done.append(3))
    beside.wait()
    assert done == [1, 2]


def test_a_rank_is_done_with_the_folder_once_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main rank renames it as soon as the last JSON is there; a slow rank must not look for it afterwards."""
    folder, published = tmp_path / "partial", tmp_path / "published"
    replace = os.replace

    def seen(source: Path, target: Path) -> None:
        replace(source, target)
        replace(folder, published)

    monkeypatch.setattr("lm.train.shards.os.replace", seen)
    write_part(folder, 1, 2, {"weight": Piece(torch.ones(1, 2), (2, 2), 1)}, {})
    assert sorted(path.name for path in published.iterdir()) == sorted(files_of(1, 2))
