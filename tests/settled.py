"""The states of task runs when all are over: Prefect hears of them by events, and of some after the flow's end."""

import time
from collections.abc import Callable

FINAL = {"Completed", "Cached", "Failed", "Crashed", "Cancelled", "RolledBack", "TimedOut"}
PATIENCE = 120.0


def settled(read: Callable[[], dict[str, str]], least: int = 1) -> dict[str, str]:
    """What `read` says in the end: the names of all states by task run.

    Args:
        read: asks the server.
        least: how many there must be; the first event of a task may be late, too.

    Returns:
        After `PATIENCE` seconds what it says then: a task run that stays `Running` is what a test has to show.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        found = read()
        if (len(found) >= least and FINAL.issuperset(found.values())) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
