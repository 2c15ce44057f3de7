"""Cooperative stopping: long loops poll a callable, tidy up and raise `Interrupted`."""

from collections.abc import Callable

ShouldStop = Callable[[], bool]


class Interrupted(Exception):
    """The work was asked to stop and left everything needed to go on where it was."""


def never() -> bool:
    """The `should_stop` of someone who never asks to stop."""
    return False


def check(should_stop: ShouldStop, doing: str) -> None:
    """Raise `Interrupted`, saying what was being done, if asked to stop."""
    if should_stop():
        raise Interrupted(f"asked to stop while {doing}")
