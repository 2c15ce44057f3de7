"""A disk that is small, and can be made larger: a tmpfs of its own, which only root may mount."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def can_mount() -> bool:
    """Whether this process may mount a file system (root outside of a locked-down container)."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and _mounts()


def _mounts() -> bool:
    try:
        with small_disk(Path("/tmp") / f"textmill-mount-{os.getpid()}", 64 * 1024):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A disk of `size` bytes at `folder` inside the block; yields what sets another size, keeping what is on it."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "textmill-chaos", str(folder))
    try:
        yield lambda other: _run("mount", "-o", f"remount,size={other}", str(folder))
    finally:
        _run("umount", "--lazy", str(folder))
        folder.rmdir()


def used(folder: Path) -> int:
    """Bytes on a disk."""
    return shutil.disk_usage(folder).used


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
