"""A thread beside a block of work, told when the block has ended."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], None], name: str, join_seconds: float | None = 5.0) -> Iterator[None]:
    """Run `work(ended)` in a thread while the block runs; `ended` is set when the block is left.

    Args:
        work: returns soon after `ended` is set; it may be in the middle of a call that waits for a server.
        name: of the thread.
        join_seconds: how long it is waited for in the end; None: until it has returned.
    """
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True, name=name)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=join_seconds)
