"""Want of memory, however a library says so, becomes one sentence that names the stage and says what to do."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.machine.causes import led_to
from tasks.running.pool import WorkerDied

SAID = re.compile(
    r"cannot allocate memory|can't allocate memory|std::bad_alloc|failed to map segment|can't start new thread"
    r"|alloc of size \d+ failed"
    r"|(?<!cuda )(?<!cuda error: )(?<!hip )(?<!hip error: )(?<!xpu )(?<!mps backend )out of memory",
    re.IGNORECASE,
)
"""What libraries say in place of a MemoryError: torch, C++, the loader of modules, threads, Arrow, DuckDB. That of a
GPU is another matter."""
WHAT_TO_DO = (
    "What is finished is kept: use fewer workers (--set resources.workers=1), lower resources.memory_limit or free "
    "memory, run it again and it goes on"
)


class OutOfMemory(MemoryError):
    """A stage got less memory than it asked for; the message names it."""


@contextmanager
def enough_memory(stage: str) -> Iterator[None]:
    """Inside the block, want of memory in this process or a worker is raised as `OutOfMemory`.

    A worker that was killed stays a `WorkerDied`, which then names the stage.
    """
    try:
        yield
    except OutOfMemory:
        raise
    except WorkerDied as error:
        said = str(error)
        raise WorkerDied(said if said.startswith("the stage ") else f"the stage {stage}: {said}") from error
    except Exception as error:
        wanted = want_of_memory(error)
        if wanted is None:
            raise
        # what was made of it may name the file, which is what is wrong if that is damaged and asks for too much
        said = ": ".join(dict.fromkeys((_line(error), _line(wanted))))
        raise OutOfMemory(f"the stage {stage} has too little memory ({said}). {WHAT_TO_DO}") from error


def want_of_memory(error: BaseException) -> BaseException | None:
    """The exception, among one and those that led to it, that says that memory is wanting; None if none does."""
    for found in led_to(error):
        if isinstance(found, MemoryError) or getattr(found, "errno", None) == errno.ENOMEM or SAID.search(str(found)):
            return found
    return None


def _line(error: BaseException) -> str:
    """The line that says it, of what may be a worker's whole traceback; or the start of another message."""
    said = next((line for line in str(error).splitlines() if SAID.search(line)), str(error))
    return " ".join(said.split())[:200] or type(error).__name__
