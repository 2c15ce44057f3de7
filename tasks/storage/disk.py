"""A disk that is full, however a library says so, becomes one sentence that says which disk and what to do."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.machine.causes import led_to
from tasks.store import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT)
SAID = re.compile(r"no space left on device|disk quota exceeded|\d+ requested and \d+ written", re.IGNORECASE)
"""What libraries say in place of an error number: DuckDB, safetensors, tokenizers; the last one is NumPy."""


class DiskFull(StoreError):
    """There was no room for what had to be written; the message names the disk."""


@contextmanager
def room_on_disk(doing: str, folder: Path) -> Iterator[None]:
    """Inside the block, want of room on a disk is raised as `DiskFull`.

    Args:
        doing: what is written, for the message.
        folder: where, if the error does not say it.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        full = full_disk(error)
        if full is None:
            raise
        raise DiskFull(message(doing, named(full) or folder)) from error


def full_disk(error: BaseException) -> BaseException | None:
    """The exception, among one and those that led to it, that says that a disk is full; None if none does."""
    for found in led_to(error):
        if getattr(found, "errno", None) in FULL or SAID.search(str(found)):
            return found
    return None


def named(error: BaseException) -> Path | None:
    """The file that an error names as the one that could not be written, if it does: of a copy's two, the second."""
    for name in (getattr(error, "filename2", None), getattr(error, "filename", None)):
        if isinstance(name, str):
            return Path(name)
    return None


def message(doing: str, path: Path | None) -> str:
    """What to tell the user.

    Args:
        path: what could not be written, or a folder above it; None if nobody says.
    """
    free, below = "", ""
    if path is not None:
        below = f" below {path}"
        with suppress(OSError):
            folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
            free = f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB free now)"
    return (
        f"the disk is full{free}: {doing} could not write{below}. What is finished is kept: make room "
        "(`textmill gc` shows what may go), run it again and it goes on"
    )
