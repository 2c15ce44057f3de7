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


def started(pid: int | None = None) -> str | float:
    """When a process of this machine started, as `running_process` takes it: told from a later one with its id.

    Where the system says so, this counts from its boot, since a clock that is set moves every other start time: psutil
    derives them from the boot time, and that one from the clock.
    """
    process = psutil.Process(pid)
    return _since_boot(process.pid) or process.create_time()


def running_process(pid: int, start: str | float) -> psutil.Process | None:
    """The process of this machine with that id and that start, as `started` gave it; None: it has ended.

    A number is seconds since 1970, as older records have it, and other systems.
    """
    try:
        process = psutil.Process(pid)
        # the boot time, and with it a number, moves a little with clock corrections
        same = start == _since_boot(pid) if isinstance(start, str) else abs(process.create_time() - start) < 2.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def process_runs(pid: int, start: str | float) -> bool:
    """Whether such a process still runs."""
    return running_process(pid, start) is not None


def _since_boot(pid: int) -> str | None:
    """`boot/ticks`: which boot, and how many clock ticks after it the process started. None: the system does not say.

    Field 22 of /proc/PID/stat (proc_pid_stat(5)); the second one, the name, may hold spaces and brackets.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = _boot()
    return f"{boot}/{fields[19]}" if boot else None


@cache
def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
