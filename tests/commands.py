"""The commands of processes, which everyone on a machine can read."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tasks.machine.beside import beside

LOOK_SECONDS = 0.1


@contextmanager
def commands() -> Iterator[set[str]]:
    """Those of all processes of this machine that are seen while the block runs, those begun and ended in it, too."""
    seen: set[str] = set()

    def keep_looking(over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            seen.update(_now())

    with beside(keep_looking, "look", join_seconds=None):
        yield seen
        seen.update(_now())


def variable_and_command(name: str) -> tuple[str, str]:
    """What a process has in its environment, and its command; it stays long enough to be seen."""
    time.sleep(3 * LOOK_SECONDS)
    return os.environ[name], " ".join(psutil.Process().cmdline())


def _now() -> Iterator[str]:
    if not Path("/proc/self/cmdline").exists():
        yield from (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
        return
    for name in filter(str.isdigit, os.listdir("/proc")):  # psutil takes four times as long, of the test's time
        with suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
            yield file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
