"""Checkpoints in parts, one of each rank; any number of ranks reads what any other number has written.

    step-00000123/  model-00000-of-00002.safetensors   optim-00000-of-00002.safetensors   rank-00000-of-00002.json
                    model-00001-of-00002.safetensors   ...                                state.json   manifest.json

A tensor is cut along its first dimension into as many pieces as there are ranks, as `torch.chunk` and FSDP2 cut; a
number is the first rank's. `rank-*.json` has the shape of each tensor, the row its piece begins with, and the sha256 of
the rank's files. torch's own distributed checkpoints are not used: their metadata is a pickle.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm.damaged import read_object
from lm.train.checkpoint_files import (
    MANIFEST,
    PARTS,
    STATE,
    Checkpoint,
    CorruptCheckpoint,
    entry,
    files_of,
    fsync,
    recorded,
)

POLL_SECONDS = 0.02
STATE_BYTES = 1 << 30  # the curves of a long training are in it

Rows = Callable[[str, tuple[int, ...]], tuple[int, int] | None]
"""(name, shape) -> the rows first .. end - 1 that are wanted of a tensor that has some; None: all."""


@dataclass(frozen=True)
class Piece:
    """Rows `first` .. of a tensor of `shape`."""

    tensor: Tensor
    shape: tuple[int, ...]
    first: int


def cut(rows: int, rank: int, count: int) -> tuple[int, int]:
    """(first, end) of the rows of one rank."""
    size = math.ceil(rows / count)
    return min(rank * size, rows), min((rank + 1) * size, rows)


def piece(tensor: Tensor, rank: int, count: int) -> Piece:
    """A rank's piece of a tensor that each of them has; a view."""
    if tensor.dim() == 0:
        return Piece(tensor if rank == 0 else tensor.new_empty(0), (), 0)
    first, end = cut(len(tensor), rank, count)
    return Piece(tensor[first:end], tuple(tensor.shape), first)


def write_part(folder: Path, rank: int, count: int, model: Mapping[str, Piece], optimizer: Mapping[str, Piece]) -> None:
    """Write a rank's files into `folder`; its JSON comes last and says that they are durable."""
    folder.mkdir(parents=True, exist_ok=True)
    *tensors, described = files_of(rank, count)
    for name, pieces in zip(tensors, (model, optimizer), strict=True):
        save_file({k: p.tensor.contiguous() for k, p in pieces.items() if p.tensor.numel()}, folder / name)
        fsync(folder / name)
    said = {
        "files": {name: entry(folder / name) for name in tensors},
        **{
            part: {k: {"shape": list(p.shape), "first": p.first} for k, p in pieces.items()}
            for part, pieces in zip(PARTS, (model, optimizer), strict=True)
        },
    }
    partial = folder / f"{described}.tmp"
    partial.write_text(json.dumps(said, indent=1, sort_keys=True))
    fsync(partial)
    fsync(folder)
    os.replace(partial, folder / described)  # nothing after this: the main rank may have renamed the folder


def publish(folder: Path, final: Path, count: int, state: Mapping[str, Any]) -> None:
    """Wait until all ranks have written their parts to `folder`, add state and manifest, rename it to `final`."""
    while not all((folder / files_of(rank, count)[-1]).exists() for rank in range(count)):
        time.sleep(POLL_SECONDS)
    (folder / STATE).write_text(json.dumps(state, indent=1, sort_keys=True))
    manifest = {STATE: entry(folder / STATE)}
    for rank in range(count):
        described = folder / files_of(rank, count)[-1]
        manifest |= {described.name: entry(described), **json.loads(described.read_text())["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    for name in (STATE, MANIFEST):
        fsync(folder / name)
    fsync(folder)
    if final.exists():
        shutil.rmtree(final)
    os.replace(folder, final)
    fsync(final.parent)


def read_parts(path: Path, rows: Rows = lambda name, shape: None) -> Checkpoint:
    """A checkpoint of any kind and any number of ranks, unverified; of each tensor the rows that are wanted.

    Files are memory-mapped: rows that are not wanted are not read. Raises CorruptCheckpoint if rows are missing, or if
    a file is none of ours: a manifest says that files are those that were written, not who wrote them.
    """
    try:
        return _read_parts(path, rows)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise CorruptCheckpoint(f"{path}: {' '.join(str(error).split())[:300]}") from error


def _read_parts(path: Path, rows: Rows) -> Checkpoint:
    ranks = _described(path)
    found: dict[str, dict[str, Tensor]] = {}
    for part in PARTS:
        pieces: dict[str, list[tuple[int, Tensor]]] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for which, described in ranks:
            with _opened(path / f"{part}{which}.safetensors") as tensors:
                held = set(tensors.keys())
                for name, said in (dict.fromkeys(held) if described is None else described[part]).items():
                    shape = tuple(said["shape"] if said else tensors.get_slice(name).get_shape())
                    first = said["first"] if said else 0
                    shapes[name] = shape
                    here = _wanted(tensors, name, shape, first, rows) if name in held else []
                    pieces.setdefault(name, []).extend(here)
        found[part] = {name: _joined(path, name, pieces[name], shapes[name], rows) for name in shapes}
    state = read_object(path / STATE, STATE_BYTES)
    return Checkpoint(path, found["model"], found["optim"], state)


def _described(path: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """What the names of each rank's files end in, and its JSON; None: there is one of each, and all in it is whole."""
    names = sorted(name for name in recorded(path) if name.startswith("rank-"))
    if not names:
        return [("", None)]
    return [(name.removeprefix("rank").removesuffix(".json"), read_object(path / name, STATE_BYTES)) for name in names]


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The tensors of a file. Raises CorruptCheckpoint naming it, if it is none."""
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except SafetensorError as error:
        raise CorruptCheckpoint(f"{file}: {' '.join(str(error).split())[:300]}") from error


def _wanted(file: Any, name: str, shape: tuple[int, ...], first: int, rows: Rows) -> list[tuple[int, Tensor]]:
    """What a file has of the wanted rows, with the number of the first of them."""
    if not shape:
        return [(0, file.get_tensor(name))]
    whole, wanted = file.get_slice(name), rows(name, shape)
    held = whole.get_shape()[0]
    if held == shape[0] and wanted is None:
        return [(0, file.get_tensor(name))]
    low, high = wanted or (0, shape[0])
    start, end = max(low, first), min(high, first + held)
    return [(start, whole[start - first : end - first])] if start < end else []


def _joined(path: Path, name: str, pieces: list[tuple[int, Tensor]], shape: tuple[int, ...], rows: Rows) -> Tensor:
    if not shape:
        if not pieces:
            raise CorruptCheckpoint(f"{path}: {name} is in no part")
        return pieces[0][1]
    low, high = rows(name, shape) or (0, shape[0])
    ordered, at = [], low
    for first, tensor in sorted(pieces, key=lambda found: found[0]):
        if first != at:
            raise CorruptCheckpoint(f"{path}: rows {at} to {first} of {name} are missing, or in two parts")
        ordered.append(tensor)
        at += len(tensor)
    if at != high:
        raise CorruptCheckpoint(f"{path}: rows {low} to {high} of {name} are not all there")
    if not ordered:
        return torch.empty(0, *shape[1:])
    return ordered[0] if len(ordered) == 1 else torch.cat(ordered)
