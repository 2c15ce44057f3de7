"""What the `tokenizers` library raises, as errors that a program can catch and a reader understand.

Its faults are plain `Exception`s, and where its Rust code panics, `PanicException`, which is no `Exception` at all: a
stage would take it for a kill. A regular expression of a tokenizer.json that backtracks ten million times is such a
panic; without that bound one word could take for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class TokenizerFault(ValueError):
    """The library could not do what it was asked for."""


def is_fault(error: BaseException) -> bool:
    """Whether an error is one of the library's own."""
    return type(error) is Exception or type(error).__name__ == "PanicException"


@contextmanager
def faults_named(what: str) -> Iterator[None]:
    """Raise TokenizerFault, beginning with `what`, for a fault of the library within."""
    try:
        yield
    except BaseException as error:
        if not is_fault(error):
            raise
        raise TokenizerFault(f"{what}: {str(error)[:300]}") from error
