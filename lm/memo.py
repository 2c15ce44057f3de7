"""A memory of the last results of a function, which goes to another process empty."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Remembered(Generic[P, R]):
    """`function`, with its last `size` results kept; unlike what `functools.lru_cache` gives it can be pickled, if the
    function can."""

    def __init__(self, function: Callable[P, R], size: int = 2) -> None:
        self.function, self.size = function, size
        self._cached: Any = lru_cache(maxsize=size)(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        found: R = self._cached(*args, **kwargs)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.size)
