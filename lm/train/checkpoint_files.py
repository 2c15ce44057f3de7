"""The files of a checkpoint: their names, what its manifest says of them, and what is read of them."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lm.damaged import DamagedFile, read_object

PARTS = ("model", "optim")
STATE = "state.json"
FILES = (*(f"{part}.safetensors" for part in PARTS), STATE)
"""Of a checkpoint that one process wrote, besides the manifest."""
MANIFEST = "manifest.json"


class CorruptCheckpoint(Exception):
    """A checkpoint directory that is incomplete or whose files do not match its manifest."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    path: Path
    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    state: dict[str, Any]


def checkpoint_path(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step is published."""
    return directory / f"step-{step:08d}"


def files_of(rank: int, count: int) -> list[str]:
    """The names of a rank's files, its JSON last."""
    which = f"{rank:05d}-of-{count:05d}"
    return [*(f"{part}-{which}.safetensors" for part in PARTS), f"rank-{which}.json"]


def sharded_files(manifest: Mapping[str, Any]) -> list[str] | None:
    """All files that a manifest of a checkpoint in parts has to name; None: it is of another kind."""
    count = sum(name.startswith("rank-") for name in manifest)
    return [*(name for rank in range(count) for name in files_of(rank, count)), STATE] if count else None


def recorded(path: Path) -> dict[str, Any]:
    """What the manifest says of the files; of a broken one nothing. Raises CorruptCheckpoint if it cannot be read."""
    try:
        return read_object(path / MANIFEST)
    except (OSError, DamagedFile) as error:
        raise CorruptCheckpoint(f"{path / MANIFEST}: {error}") from error


def entry(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def fsync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
