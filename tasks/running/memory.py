"""Want of memory, however a library says so, becomes one sentence that names the stage and says what to do."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.running.pool import WorkerDied

SAID = re.compile(
    r"cannot allocate memory|can't allocate memory|std::bad_alloc|failed to map segment|can't start new thread"
    r"|(?<!cuda )out of memory",
    re.IGNORECASE,
)
"""What libraries say in place of a MemoryError: torch, C++, the loader of modules, threads, DuckDB. That of a GPU is
another matter."""
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
        said = " ".join(str(wanted).split())[:200]
        raise OutOfMemory(
            f"the stage {stage} has too little memory ({said or type(wanted).__name__}). {WHAT_TO_DO}"
        ) from error


def want_of_memory(error: BaseException) -> BaseException | None:
    """The exception, among one and those that led to it, that says that memory is wanting; None if none does."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, MemoryError) or getattr(found, "errno", None) == errno.ENOMEM or SAID.search(str(found)):
            return found
        waiting += [found.__context__, found.__cause__]  # the cause first
    return None
