"""Excerpts of documents for the report: the beginning of a text, without e-mail addresses."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import duckdb

from tasks.running.tables import answer

LENGTH = 600
LONGEST_ADDRESS = 320  # RFC 5321: 64 + "@" + 255 characters

_SIDE = r"[^\s@<>()\[\]{}\"',;:，。；：、（）]"  # whatever no punctuation ends, in any script
_ADDRESS = re.compile(rf"{_SIDE}+@{_SIDE}+\.[^\W\d_]{{2,}}")
"""Something, an at sign, something with a dot and at least two letters behind it: too much rather than too little."""

ADDRESS_MARK = "[e-mail]"


class Excerpt(NamedTuple):
    """The beginning of a document."""

    source: str | None
    text: str


def without_addresses(text: str) -> str:
    """The text with every e-mail address replaced by `[e-mail]`."""
    return _ADDRESS.sub(ADDRESS_MARK, text)


def cut(text: str) -> str:
    """At most LENGTH characters without addresses.

    Given LENGTH + LONGEST_ADDRESS characters, an address across the cut is masked as a whole.
    """
    return without_addresses(text[: LENGTH + LONGEST_ADDRESS])[:LENGTH]


def excerpts(connection: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> dict[str, Excerpt]:
    """The excerpts of some documents of the table `documents`, by id."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    found: list[dict[str, Any]] = answer(
        connection,
        "SELECT id, source, text FROM documents SEMI JOIN (SELECT unnest($ids) AS id) USING (id)",
        {"ids": wanted},
    )
    return {row["id"]: Excerpt(row["source"], cut(row["text"])) for row in found}
