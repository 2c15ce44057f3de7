"""Line edits as spans: which characters of a document a cleaner of lines leaves out, and with that a text version.

The rules themselves are in `c4_lines.py` and `refinedweb_lines.py`: they see one line after the other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from data_quality.c4_lines import C4Lines
from data_quality.config import C4LineEdits, RefinedWebLineEdits
from data_quality.refinedweb_lines import RefinedWebLines

Span = tuple[int, int]
LineEdits = C4LineEdits | RefinedWebLineEdits


class LineRules(Protocol):
    """What decides line by line; made anew for every document."""

    indented: bool  # lines come with the white space before them
    counts: dict[str, int]  # signals of the document that only the rules can count

    def cuts(self, body: str) -> Sequence[Span] | None:
        """The spans of a line to cut out of it; None: the whole line goes. Called for each line in order."""
        ...


@dataclass
class EditedLines:
    """What line rules make of a document.

    `kept` holds the number of each line (`str.splitlines`) that stays and, if something was cut out of it, what is
    left of it; `removed` the character spans [start, end) of the text that go; `counts` what the rules counted.
    """

    kept: list[tuple[int, str | None]] = field(default_factory=list)
    removed: list[Span] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def line_rules(text: str, config: LineEdits) -> LineRules:
    """The rules of a text version, made ready for `text`."""
    return C4Lines(text, config) if isinstance(config, C4LineEdits) else RefinedWebLines(config)


def edit_lines(text: str, config: LineEdits) -> EditedLines:
    """Apply the line rules of a text version to `text`.

    `apply_edits(text, result.removed)` holds the kept lines, parted by one line break each, without white space at
    both ends. For C4 it equals what datatrove leaves of the document, but for one thing: where two kept lines are
    parted by a line break other than `\\n` (a form feed, U+2028, ...) that character stays.
    """
    result = EditedLines()
    rules = line_rules(text, config)
    pieces: list[Span] = []  # what stays: kept characters and one line break between two kept lines
    line_break: Span | None = None  # the best one since the last kept line
    end_of_line = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        start, end_of_line = end_of_line, end_of_line + len(line)
        body = line.rstrip() if rules.indented else line.strip()
        cuts = rules.cuts(body)
        if cuts is not None:
            indent = len(line) - len(line.lstrip()) if line[0].isspace() and not rules.indented else 0
            at = start + indent
            if pieces and line_break is not None:
                pieces.append(line_break)
            if cuts:
                stays = _complement(cuts, len(body))
                pieces += [(at + first, at + last) for first, last in stays]
                result.kept.append((number, "".join(body[first:last] for first, last in stays)))
            else:
                pieces.append((at, at + len(body)))
                result.kept.append((number, None))
            line_break = None
        if line_break is None or (text[line_break[0]] != "\n" and line[-1] == "\n"):
            line_break = (end_of_line - 1, end_of_line)
    result.removed = _complement(_strip(text, pieces), len(text))
    result.counts = rules.counts
    return result


def _strip(text: str, pieces: list[Span]) -> list[Span]:
    """`pieces` without the white space at both ends of their concatenation."""
    while pieces:
        start, end = pieces[0]
        start = end - len(text[start:end].lstrip())
        if start < end:
            pieces[0] = (start, end)
            break
        pieces.pop(0)
    while pieces:
        start, end = pieces[-1]
        end = start + len(text[start:end].rstrip())
        if start < end:
            pieces[-1] = (start, end)
            break
        pieces.pop()
    return pieces


def _complement(pieces: Iterable[Span], length: int) -> list[Span]:
    """The spans of [0, length) that no piece covers; `pieces` are ascending and disjoint."""
    gaps: list[Span] = []
    at = 0
    for start, end in pieces:
        if start > at:
            gaps.append((at, start))
        at = end
    if at < length:
        gaps.append((at, length))
    return gaps


def apply_edits(text: str, spans: Iterable[Span]) -> str:
    """`text` without the characters of `spans`, which are [start, end), ascending and disjoint.

    Raises ValueError for a span that is not: applying it would silently leave another text.
    """
    kept: list[str] = []
    at = 0
    for start, end in spans:
        if not at <= start <= end <= len(text):
            raise ValueError(
                f"edit span [{start}, {end}) does not follow character {at} within {len(text)} characters: "
                "the spans belong to another text or are not in order"
            )
        kept.append(text[at:start])
        at = end
    kept.append(text[at:])
    return "".join(kept)
