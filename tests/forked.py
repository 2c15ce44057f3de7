"""Processes that tests fork from one that has imported everything: how they end, and what outlives them."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

import psutil

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Processes whose parent dies become this one's children, so that `left_over` finds them."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with(function: Callable[[], int]) -> NoReturn:
    """End this forked process with the status that `function` returns, with 1 if anything is raised.

    Whatever it is, in want of memory the writing of a traceback too: a child that came back to its caller would wait
    at the same pipe for the next request, as a second server.
    """
    status = 1
    try:
        status = function()
    finally:
        os._exit(status)


def left_over(patience: float) -> list[str]:
    """Commands of children that have not ended `patience` seconds from now, those that were adopted among them.

    They are killed. All others are waited for.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if not ended and time.monotonic() > deadline:
            left = psutil.Process().children()
            commands = [" ".join(process.cmdline()) for process in left]
            for process in left:
                process.send_signal(signal.SIGKILL)
            return commands
        if not ended:
            time.sleep(0.002)
