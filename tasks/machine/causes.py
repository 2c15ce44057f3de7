"""What led to an exception: libraries say what was wanting in one error, and raise another."""

from collections.abc import Iterator


def led_to(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it, each once; causes before what was merely being handled."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__context__, found.__cause__]
