"""Processes that outlive the one that started them: known by pid *and* start time, ended as a tree."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import psutil

from tasks.machine.host import running_process

Ended = Literal["ended", "killed", "stays"]
"""How a service went: when it was asked, only when it was killed, or not even then."""

STOP_TIMEOUT = 40.0
"""Seconds between SIGTERM and SIGKILL: the worker gives its flow runs 30 to leave a checkpoint."""

LAST_WAIT, KILL_WAIT, KILLS = 2.0, 5.0, 3
END_SECONDS = 2 * STOP_TIMEOUT + LAST_WAIT + KILLS * KILL_WAIT
"""The most that ending one service takes: it, then the children that it has left behind, then SIGKILL."""


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


def end_tree(process: psutil.Process, first: signal.Signals = signal.SIGTERM) -> Ended:
    """SIGTERM (or another signal) to the process, then to its children if they stay; SIGKILL to all that is left.

    All that is left are also those that were started in the meantime or whose parent is gone: whoever was started in a
    session of its own (flows/servers/launch.py) is found by it. Grandchildren are not asked: the worker's children are
    flow runs, which end their own pools. Takes `END_SECONDS` at most.

    Returns:
        "killed" if something had to be, "stays" if the kernel did not let go of it either.
    """
    session = _own_session(process)
    known = _members(process, session, [])
    children = [member for member in known if _parent(member) == process.pid]
    for generation in ([process], children):
        for member in generation:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(first)
        _wait(generation, STOP_TIMEOUT)
    left = _wait(_members(process, session, known), LAST_WAIT)  # pools see by themselves that their flow run is gone
    killed = bool(left)
    for _ in range(KILLS):  # one of them may just have started another
        for member in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        left = _members(process, session, _wait(left, KILL_WAIT))
        if not left:
            return "killed" if killed else "ended"
        killed = True
    return "stays"


def end_trees(processes: Sequence[tuple[psutil.Process, signal.Signals]]) -> list[Ended]:
    """`end_tree` of several at once: it takes no longer than for one of them."""
    if not processes:
        return []
    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(lambda each: end_tree(*each), processes))


def _wait(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Until all have ended, or so long. Returns those that run."""
    deadline, left = time.monotonic() + seconds, list(processes)
    while True:
        _, left = psutil.wait_procs(left, timeout=0)  # reaps children of this process
        left = [each for each in left if _runs(each)]  # another's dead child is there until that one looks
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _members(process: psutil.Process, session: int | None, known: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Of the known ones, their children and the session those that run; a zombie waits for its parent only."""
    found = [*known, *(member for each in (process, *known) for member in tree(each))]
    if session is not None:
        for pid in psutil.pids():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
                if os.getsid(pid) == session:
                    found.append(psutil.Process(pid))
    return [member for member in dict.fromkeys(found) if _runs(member)]


def _own_session(process: psutil.Process) -> int | None:
    """Its id if the process leads one; else others are in it that are none of its own."""
    try:
        return process.pid if os.getsid(process.pid) == process.pid else None
    except (ProcessLookupError, PermissionError):
        return None


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
