"""One way to compile a numba kernel: cached on disk where that is possible, in memory where it is not."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def kernel(function: Function) -> Function: ...
@overload
def kernel(**options: Any) -> Callable[[Function], Function]: ...


def kernel(function: Function | None = None, **options: Any) -> Function | Callable[[Function], Function]:
    """Compile a function with numba, without the GIL; machine code is cached beside the source or for the user.

    Both `@kernel` and `@kernel(inline="always")` work; options are numba.njit's.

    numba raises RuntimeError when no cache directory can be written (a read-only install without a home directory);
    the kernel is then compiled once per process. Kernels that call each other stay in one file: numba notices a
    change of the file that holds a cached function, not of the files it calls into. Constants of another file are just
    so frozen in it: after a change of one, touch the files of the kernels that use it.
    """

    def compiled(function: Function) -> Function:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return compiled if function is None else compiled(function)
