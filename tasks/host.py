"""This process and this machine, as told to others: in names of directories, records of runs and leases."""

import os
import platform
import threading

import psutil

HOST = platform.node() or "unknown"


def process_mark() -> str:
    """`host.process.thread`: who writes to a private directory; the host may hold dots."""
    return f"{HOST}.{os.getpid()}.{threading.get_native_id()}"


def marked_process_runs(mark: str) -> bool:
    """Whether the process of a mark still runs; of one on another machine this machine cannot say, so False."""
    host, _, rest = mark.rpartition(".")[0].rpartition(".")
    return host == HOST and rest.isdecimal() and psutil.pid_exists(int(rest))


def process_runs(pid: int, created: float) -> bool:
    """Whether a process of this machine still runs: the same id and the same start time, and no zombie."""
    try:
        process = psutil.Process(pid)
        # psutil derives the time from the boot time, which clock corrections move a little
        return abs(process.create_time() - created) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
