"""What a process and all below it take, looked at twice a second; and the disk below a folder."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.machine.beside import beside

SECONDS = 0.5
DISK_SECONDS = 15.0


@dataclass
class Peaks:
    """The largest figures seen, in bytes. Resident pages that processes share count once for each of them."""

    process: int = 0
    command: str = ""  # of that process
    tree: int = 0
    tree_anonymous: int = 0  # without mapped files, which the system takes back when it needs room
    processes: int = 0
    disk: int = 0


@contextmanager
def watched(pid: int, folder: Path) -> Iterator[Peaks]:
    """The peaks of a process tree and of a folder while the block lasts, final when it has ended."""
    peaks = Peaks()

    def watch(ended: threading.Event) -> None:
        next_disk = 0.0
        while True:
            look(pid, peaks)
            if time.monotonic() >= next_disk:
                peaks.disk = max(peaks.disk, disk_bytes(folder))
                next_disk = time.monotonic() + DISK_SECONDS
            if ended.wait(SECONDS):
                peaks.disk = max(peaks.disk, disk_bytes(folder))
                return

    with beside(watch, "watched", join_seconds=None):
        yield peaks


def look(pid: int, peaks: Peaks) -> None:
    """One look at a process and all below it."""
    resident = anonymous = count = 0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                size = process.memory_info().rss
                if size > peaks.process:
                    peaks.process, peaks.command = size, " ".join(process.cmdline())[:200]
                resident += size
                anonymous += anonymous_bytes(process.pid)
                count += 1
    peaks.tree = max(peaks.tree, resident)
    peaks.tree_anonymous = max(peaks.tree_anonymous, anonymous)
    peaks.processes = max(peaks.processes, count)


def anonymous_bytes(pid: int) -> int:
    """Resident memory of a process that no file is behind (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


def disk_bytes(folder: Path) -> int:
    """Bytes that the files below a folder take on the disk; a file with two names counts once."""
    total, seen = 0, set()
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found = os.stat(os.path.join(root, name), follow_symlinks=False)
                if found.st_nlink == 1 or found.st_ino not in seen:
                    seen.add(found.st_ino)
                    total += 512 * found.st_blocks
    return total
