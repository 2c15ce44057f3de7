"""Bits that flip on a disk: the content changes, and neither size nor time of the file does."""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

from tasks.storage.integrity import RUN_DIRECTORY


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
