"""What is costly to make and changes when it is used: one for each thread, kept."""

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


def per_thread(make: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Like `functools.cache`, but no two threads are ever given the same object."""
    local = threading.local()

    @wraps(make)
    def kept(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        known: dict[object, Made] = local.__dict__.setdefault("known", {})
        key = (args, tuple(sorted(kwargs.items())))
        if key not in known:
            known[key] = make(*args, **kwargs)
        return known[key]

    return kept
