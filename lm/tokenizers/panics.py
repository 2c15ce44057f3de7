"""What the `tokenizers` library raises, as errors that a program can catch and a reader understand.

Its faults are plain `Exception`s, and where its Rust code panics, `PanicException`, which is no `Exception` at all: a
stage would take it for a kill. A regular expression of a tokenizer.json that backtracks ten million times is such a
panic; without that bound one word could take for ever.
"""

from collections.abc import Iterator, Sequence
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


@contextmanager
def encoding_of(texts: Sequence[str]) -> Iterator[None]:
    """Around a call that encodes texts. Raises TokenizerFault for a fault of the library within, ValueError for a lone
    surrogate in a text, which the library takes for no text: Python makes one of each byte of an argument that is not
    UTF-8.
    """
    try:
        with faults_named("the tokenizer cannot encode this text"):
            yield
    except TypeError:
        for text in texts:
            _require_unicode(text)
        raise


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 20) : error.start + 20].encode("ascii", "backslashreplace").decode()
        raise ValueError(f"the text is not UTF-8: {around!r} at character {error.start + 1}") from error
