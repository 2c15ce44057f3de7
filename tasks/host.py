"""This process and this machine, as told to others: in names of directories, records of runs and leases."""

import os
import platform
import threading
from functools import cache
from pathlib import Path

import psutil

HOST = platform.node() or "unknown"


@cache
def processor() -> str:
    """The model of this machine's processor as Linux names it, or what Python knows; may be empty.

    Equal weights are promised on one kind of machine only: another processor may add in another order.
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor()


def process_mark() -> str:
    """`host.process.thread`: who writes to a private directory; the host may hold dots."""
    return f"{HOST}.{os.getpid()}.{threading.get_native_id()}"


def marked_process_runs(mark: str) -> bool:
    """Whether the process of a mark still runs; of one on another machine this machine cannot say, so False."""
    host, _, rest = mark.rpartition(".")[0].rpartition(".")
    return host == HOST and rest.isdecimal() and psutil.pid_exists(int(rest))


def running_process(pid: int, created: float) -> psutil.Process | None:
    """The process of this machine with that id and that start time (seconds since 1970); None: it has ended."""
    try:
        process = psutil.Process(pid)
        # psutil derives the time from the boot time, which clock corrections move a little
        same = abs(process.create_time() - created) < 2.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def process_runs(pid: int, created: float) -> bool:
    """Whether such a process still runs."""
    return running_process(pid, created) is not None
