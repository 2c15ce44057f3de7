"""Checkpoints: directories of safetensors and JSON, complete or not there.

    step-00000123/  model.safetensors  optim.safetensors  state.json  manifest.json (sha256 and size of each)

A checkpoint is written under a hidden name, flushed to the disk and renamed into place, so that a kill at any
moment leaves the previous one. Nothing is ever unpickled. What several processes write together is in parts
(`lm.train.shards`) and is read here as well.
"""

import json
import logging
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lm.train.checkpoint_files import (
    FILES,
    MANIFEST,
    PARTS,
    STATE,
    Checkpoint,
    CorruptCheckpoint,
    checkpoint_path,
    entry,
    fsync,
    recorded,
    sharded_files,
)
from lm.train.shards import read_parts

__all__ = [
    "Checkpoint",
    "CorruptCheckpoint",
    "latest_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "newest_good",
    "prune_checkpoints",
    "save_checkpoint",
    "verify",
]

log = logging.getLogger(__name__)


def save_checkpoint(
    directory: Path,
    step: int,
    model: Mapping[str, torch.Tensor],
    optimizer: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
) -> Path:
    """Write `step-<step>` under `directory` and return its path once it is durable."""
    directory.mkdir(parents=True, exist_ok=True)
    final = checkpoint_path(directory, step)
    partial = directory / f".tmp-{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for part, tensors in zip(PARTS, (model, optimizer), strict=True):
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, partial / f"{part}.safetensors")
    (partial / STATE).write_text(json.dumps(state, indent=1, sort_keys=True))
    manifest = {name: entry(partial / name) for name in FILES}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    for name in (*FILES, MANIFEST):
        fsync(partial / name)
    fsync(partial)
    if final.exists():  # a rename cannot replace a directory; the older checkpoints stand in meanwhile
        shutil.rmtree(final)
    os.replace(partial, final)
    fsync(directory)
    return final


def list_checkpoints(directory: Path) -> list[tuple[int, Path]]:
    """(step, path) of all published checkpoints, oldest first."""
    found = [p for p in directory.glob("step-*") if p.is_dir() and p.name[5:].isdigit()]
    return sorted((int(p.name[5:]), p) for p in found)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint. Raises CorruptCheckpoint saying which file is wrong.

    The trainer does both apart: one rank verifies, each reads what belongs to it (`lm.train.shards.read_parts`).
    """
    verify(path)
    return read_parts(path)


def verify(path: Path) -> None:
    """Raises CorruptCheckpoint, saying which file is wrong, unless all are there as they were written."""
    manifest = recorded(path)
    for name in sharded_files(manifest) or FILES:
        file = path / name
        if not file.is_file():
            raise CorruptCheckpoint(f"{file}: missing")
        if manifest.get(name) != entry(file):
            raise CorruptCheckpoint(f"{file}: size or sha256 differs from {MANIFEST}")


def latest_checkpoint(directory: Path) -> Checkpoint | None:
    """The newest good checkpoint, or None; as `newest_good` finds it."""
    path = newest_good(directory)
    return None if path is None else read_parts(path)


def newest_good(directory: Path) -> Path | None:
    """Where the newest good checkpoint is, if there is one.

    What a kill left half-written is removed; a corrupt checkpoint is logged, set aside as
    `corrupt-step-...` and passed over in favour of the one before it.
    """
    for leftover in directory.glob(".tmp-step-*"):
        shutil.rmtree(leftover)
    for _step, path in reversed(list_checkpoints(directory)):
        try:
            verify(path)
            return path
        except CorruptCheckpoint as error:
            aside = path.with_name(f"corrupt-{path.name}")
            log.warning("checkpoint skipped, set aside as %s: %s", aside.name, error)
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
    return None


def prune_checkpoints(directory: Path, keep_last: int, also: Collection[int] = ()) -> None:
    """Delete all but the newest `keep_last` checkpoints and those at the steps in `also`."""
    for step, path in list_checkpoints(directory)[:-keep_last]:
        if step not in also:
            shutil.rmtree(path)
