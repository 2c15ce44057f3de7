"""Freed memory kept by the process: on a CPU, training otherwise spends much of its time asking for it back.

glibc hands every freed block above 128 KiB (at most 32 MiB, as it learns) back to the kernel, and the next tensor of
that size is mapped and zeroed again, page by page: logits of 16 MB cost more to get than to fill.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT = 1 << 30  # bytes: blocks up to this are not mapped one by one, and so much free memory stays


def keep_freed_memory() -> bool:
    """Have this process keep up to 1 GiB of what it frees; whether its C library can (glibc's mallopt).

    Peak memory does not grow; what is free between two peaks is not given to others.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, KEPT), (M_TRIM_THRESHOLD, KEPT), (M_TOP_PAD, KEPT // 16))
    return all(mallopt(name, value) == 1 for name, value in settings)
