"""Locks among the processes of one machine: files that the kernel unlocks when their holder dies.

A lock's file may be removed by whoever holds it (`remove_if_free`): once a lock is had, the path must still be the same
inode, else somebody else may hold the file that is there now.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger("textmill.store")


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock inside the block; waits for another process that holds it.

    Args:
        waiting: what its holder builds, for the message of those who wait.
    """
    while True:
        with _opened(path) as descriptor:
            _flock_saying_who(descriptor, waiting)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)  # whose process it is: for the message of those who wait
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                yield
                return


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """The same without waiting; yields whether it is held inside the block."""
    with _opened(path) as descriptor:
        yield _taken(descriptor) and _is_at(descriptor, path)


def is_locked(path: Path) -> bool:
    """Whether some process holds a lock now."""
    try:
        with path.open("rb") as handle:
            return not _taken(handle.fileno())
    except FileNotFoundError:
        return False


def remove_if_free(path: Path) -> None:
    """Remove a lock's file while holding it: whoever waits for it sees that its name is gone and makes a new one."""
    with suppress(FileNotFoundError), path.open("rb") as handle:
        if _taken(handle.fileno()) and _is_at(handle.fileno(), path):
            path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Opened with O_CLOEXEC (Python's default), so that spawned workers do not inherit it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _flock_saying_who(descriptor: int, what: str) -> None:
    if not _taken(descriptor):
        holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
        logger.warning("waiting for process %s, which is building %s", holder, what)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
