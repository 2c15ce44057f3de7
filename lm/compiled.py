"""One way to compile a numba kernel: cached on disk where that is possible, in memory where it is not."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function with numba, without the GIL; machine code is cached beside the source or for the user.

    numba raises RuntimeError when no cache directory can be written (a read-only install without a home directory);
    the kernel is then compiled once per process. Kernels that call each other stay in one file: numba notices a
    change of the file that holds a cached function, not of the files it calls into.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


def vector_kernel(function: Function) -> Function:
    """As `kernel`, for loops over floats: sums may be taken in vectors, in an order that the processor's width decides.

    Equal runs on one kind of processor give equal bits; on another kind the last ones differ.
    """
    allowed = {"reassoc", "contract", "nsz", "arcp"}  # infinities and NaNs are kept
    try:
        return numba.njit(cache=True, nogil=True, fastmath=allowed)(function)
    except RuntimeError:
        return numba.njit(nogil=True, fastmath=allowed)(function)
