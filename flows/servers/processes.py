"""Processes that outlive the one that started them: known by pid *and* start time, ended as a tree."""

import contextlib
import signal
from dataclasses import dataclass

import psutil

from tasks.machine.host import running_process

STOP_TIMEOUT = 40.0
"""Seconds between SIGTERM and SIGKILL: the worker gives its flow runs 30 to leave a checkpoint."""


@dataclass(frozen=True)
class Record:
    """What a pid file holds."""

    pid: int
    created: str | float
    """When the process started, as `tasks.machine.host.started` gives it."""
    url: str
    home: str
    checkout: str
    """The folders that it was started for: after a move it has the wrong files open."""
    stack: str = ""
    """The fingerprint of how it was started (flows/servers/launch.py); "" in the local stack."""

    def process(self) -> psutil.Process | None:
        """The recorded process, or None if it has ended (even if its pid is in use again)."""
        return running_process(self.pid, self.created)


def listens(process: psutil.Process, port: int) -> bool:
    """Whether the process or one of its children listens on a TCP port."""
    for member in tree(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = member.net_connections(kind="tcp")
            if any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in connections if c.laddr):
                return True
    return False


def tree(process: psutil.Process) -> list[psutil.Process]:
    """The process and its children, and theirs; empty if it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_rss(process: psutil.Process) -> int:
    """Resident memory of the whole tree in bytes (shared pages counted once for each process)."""
    total = 0
    for member in tree(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return total


def end_tree(process: psutil.Process, first: signal.Signals = signal.SIGTERM) -> None:
    """SIGTERM (or another signal) to the process, then to its children if they stay; SIGKILL to all that is left.

    Grandchildren are not asked: the worker's children are flow runs, which end their own pools.
    """
    members = tree(process)
    children = [member for member in members[1:] if _parent(member) == process.pid]
    for generation in ([process], children):
        for member in generation:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(first)
        psutil.wait_procs(generation, timeout=STOP_TIMEOUT)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(members, timeout=5)


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
