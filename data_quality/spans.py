"""Spans: pieces of a document's text that a step found, as a table beside the text; and how they leave the text.

Personal data, boilerplate lines, repeated substrings and contamination are all such tables. Positions count characters
of the normalised text, so that steps need not know of each other; all spans of a document are applied together, once,
when the corpus is written.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

SPANS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "pii.email", "line", "substring", "contamination"
        pa.field("replacement", pa.string(), nullable=False),  # what stands in its place; empty: nothing does
        pa.field("other", pa.string()),  # the evidence: the document that keeps the same text, or the benchmark item
        pa.field("other_start", pa.int64()),  # and where the text begins there
    ]
)


class Edit(NamedTuple):
    """Characters [start, end) of a text, and what is put in their place."""

    start: int
    end: int
    replacement: str = ""


def merge_edits(edits: Iterable[Edit]) -> list[Edit]:
    """Edits in any order, overlapping or not, as ascending disjoint ones that cover the same characters.

    What overlaps becomes one. It shows the first replacement among its members, unless a plain removal covers all of
    it: then nothing is left to be replaced.
    """
    groups: list[list[Edit]] = []
    end = -1
    for edit in sorted(edits):
        if groups and edit.start < end:
            groups[-1].append(edit)
            end = max(end, edit.end)
        else:
            groups.append([edit])
            end = edit.end
    return [_as_one(group) for group in groups]


def _as_one(group: list[Edit]) -> Edit:
    if len(group) == 1:
        return group[0]
    start, end = group[0].start, max(edit.end for edit in group)
    removed = any(edit.start == start and edit.end == end and not edit.replacement for edit in group)
    shown = next((edit.replacement for edit in group if edit.replacement), "")
    return Edit(start, end, "" if removed else shown)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """`text` with every edit made.

    Args:
        edits: ascending and disjoint, as `merge_edits` returns them.

    Raises:
        ValueError: for an edit that is not: applying it would silently leave another text.
    """
    pieces: list[str] = []
    at = 0
    for start, end, replacement in edits:
        if not at <= start <= end <= len(text):
            raise ValueError(
                f"span [{start}, {end}) does not follow character {at} within {len(text)} characters: "
                "the spans belong to another text or are not in order"
            )
        pieces += (text[at:start], replacement)
        at = end
    pieces.append(text[at:])
    return "".join(pieces)
