"""The largest resident size of this process, from a moment on.

`getrusage` tells that of its whole life, and of a new process that of the one that has started it: what a test then
measures may be nothing at all.
"""

from pathlib import Path


def forget_peak() -> int:
    """Begin anew; KiB now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def peak() -> int:
    """KiB since then."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0])
