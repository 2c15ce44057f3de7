"""SIGTERM ends the process, even where the exception that its handler raises is lost.

Python runs a handler between any two instructions of the main thread. Where these belong to a destructor or to a
callback from a compiled library, what the handler raises is printed and forgotten, and the run would go on as if nobody
had asked it to end. So the signal is noted as well, and looked for before each stage.
"""

import signal
import sys

_received: list[int] = []


def exit_on_sigterm() -> None:
    """From now on SIGTERM raises SystemExit in this (main) thread, with the status that a shell gives it."""
    _received.clear()
    signal.signal(signal.SIGTERM, _exit)


def check_termination() -> None:
    """Raise SystemExit again if SIGTERM has come and its exception was lost."""
    if _received:
        sys.exit(128 + _received[0])


def _exit(number: int, frame: object) -> None:
    _received.append(number)
    sys.exit(128 + number)
