"""Bits that flip on a disk: the content changes, and neither size nor time of the file does."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.storage.integrity import RUN_DIRECTORY
from tasks.store import Store
from tests.asked import Answer


def flip(path: Path, draw: random.Random) -> Callable[[], None]:
    """Flip one bit. Returns what flips it back. An empty file gets a byte."""
    before, stat = path.read_bytes(), path.stat()
    damaged = bytearray(before or b"\0")
    damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(damaged))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def back() -> None:
        path.write_bytes(before)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return back


def kind_of(file: Path, artifacts: Path) -> str:
    """What kind of file it is: its stage, and its name without numbers."""
    stage, _, *inside = file.relative_to(artifacts).parts
    return f"{stage}/{re.sub('[0-9]+', 'N', '/'.join(inside))}"


def one_of_each_kind(root: Path) -> dict[str, Path]:
    """A file of every kind that artifacts below a store's root have, manifests included."""
    artifacts = root / "artifacts"
    files = (path for path in sorted(artifacts.rglob("*")) if path.is_file() and RUN_DIRECTORY not in path.parts)
    return {kind_of(file, artifacts): file for file in files}


def flip_in_every_artifact(root: Path, draw: random.Random) -> int:
    """Flip a bit in one file of every artifact below a store's root. Returns in how many.

    Half of those that nothing is made of are removed instead: the next run builds them, and reads what they come from.
    """
    directories = sorted(root.glob("artifacts/*/*"))
    manifests = [json.loads((directory / "manifest.json").read_text()) for directory in directories]
    groups = [group for manifest in manifests for group in [*manifest["inputs"].values(), manifest["parts"]]]
    used = {(each["stage"], each["key"]) for group in groups for each in group}
    flipped = 0
    for directory in directories:
        if (directory.parent.name, directory.name) not in used and draw.random() < 0.5:
            shutil.rmtree(directory)
            continue
        files = [path for path in sorted(directory.rglob("*")) if path.is_file() and RUN_DIRECTORY not in path.parts]
        flip(draw.choice(files), draw)
        flipped += 1
    return flipped


def mended(mill: Callable[..., Answer], home: Path, **request: Any) -> tuple[list[Answer], int]:
    """Run until every artifact of a damaged store is sound.

    A run does not hash what it finds and does not read. That is left to `verify`, which sets it aside, and to one more
    run, which builds it.

    Returns:
        The answers, and how many artifacts were left to `verify`.
    """
    answers = [mill(home, **request)]
    store = Store(home / "store")  # a process of its own: nothing is known to be good yet
    unsound = [artifact for artifact in store.list() if not store.verify(artifact)]
    return answers + ([mill(home, **request)] if unsound else []), len(unsound)
