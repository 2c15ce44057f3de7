"""Line edits as spans: which characters of a document a cleaner of lines leaves out, and with that a text version.

The rules themselves are in `c4_lines.py` and `refinedweb_lines.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data_quality.c4_lines import C4Lines
from data_quality.characters import WHITE
from data_quality.compiled import kernel
from data_quality.config import C4LineEdits, RefinedWebLineEdits
from data_quality.refinedweb_lines import RefinedWebLines
from data_quality.text_lines import Lines

Span = tuple[int, int]
LineEdits = C4LineEdits | RefinedWebLineEdits


class LineRules(Protocol):
    """What decides line by line; made anew for every document."""

    indented: bool  # lines come with the white space before them
    counts: dict[str, int]  # signals of the document that only the rules can count

    def decide(self, lines: Lines, text: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each line of a text: whether it stays as it is, and whether instead `cuts` is to be asked."""
        ...

    def cuts(self, body: str) -> Sequence[Span] | None:
        """The spans of a line to cut out of it; None: the whole line goes. Called for lines in order."""
        ...


@dataclass(frozen=True)
class EditedLines:
    """What line rules make of a document."""

    whole: np.ndarray  # int64: numbers of the lines (`str.splitlines`) that stay as they are
    changed: list[str]  # what is left of the other lines that stay
    stays: np.ndarray  # bool[characters] of the text
    counts: dict[str, int]  # what the rules counted

    @property
    def removed(self) -> np.ndarray:
        """The character spans of the text that go, int32[spans, 2]: each its start and its end (exclusive)."""
        return _gaps(self.stays)


def edit_lines(lines: Lines, text: int, config: LineEdits) -> EditedLines:
    """Apply the line rules of a text version to one of some texts.

    What is left of it without `removed` are the kept lines, parted by one line break each, without white space at
    both ends. For C4 it equals what datatrove leaves of the document, but for one thing: where two kept lines are
    parted by a line break other than `\\n` (a form feed, U+2028, ...) that character stays.
    """
    rules: LineRules = C4Lines(config) if isinstance(config, C4LineEdits) else RefinedWebLines(config)
    stays, asked = rules.decide(lines, text)
    first, last = lines.first[text], lines.first[text + 1]
    starts, ends = (lines.begins if rules.indented else lines.starts)[first:last], lines.ends[first:last]
    changed: dict[int, str] = {}
    cut: list[Span] = []
    for number in np.flatnonzero(asked).tolist():
        start = int(starts[number])
        body = lines.row[start : ends[number]]
        cuts = rules.cuts(body)
        stays[number] = cuts is not None
        if cuts:
            cut += [(start + left, start + right) for left, right in cuts]
            changed[number] = "".join(body[left:right] for left, right in _complement(cuts, len(body)))
    kept = _mark_kept(
        lines.codes, lines.classes, lines.offsets[text], lines.offsets[text + 1], stays, starts, ends,
        lines.breaks[first:last], np.array(cut, dtype=np.int64).reshape(-1, 2),
    )  # fmt: skip
    whole = np.flatnonzero(stays)
    if changed:
        whole = whole[~np.isin(whole, list(changed))]
    return EditedLines(whole, list(changed.values()), kept, rules.counts)


@kernel
def _mark_kept(codes, classes, begin, end, stays, starts, ends, breaks, cut):  # type: ignore[no-untyped-def]
    """The characters of a text that stay: kept lines without what is cut, and one line break between two of them.

    Of the breaks between two kept lines it is the first `\\n`, or if there is none the first one.
    """
    kept = np.zeros(end - begin, dtype=np.bool_)
    line_break, after_kept = -1, False
    for line in range(len(stays)):
        if stays[line]:
            if after_kept:
                kept[line_break - begin] = True
            kept[starts[line] - begin : ends[line] - begin] = True
            line_break, after_kept = -1, True
        last = breaks[line] - 1
        if line_break < 0 or (codes[line_break] != 10 and codes[last] == 10):
            line_break = last
    for row in range(len(cut)):
        kept[cut[row, 0] - begin : cut[row, 1] - begin] = False
    for at in range(len(kept)):
        if kept[at]:
            if not classes[begin + at] & WHITE:
                break
            kept[at] = False
    for at in range(len(kept) - 1, -1, -1):
        if kept[at]:
            if not classes[begin + at] & WHITE:
                break
            kept[at] = False
    return kept


@kernel
def _gaps(stays):  # type: ignore[no-untyped-def]
    gaps = 0
    for at in range(len(stays)):
        gaps += not stays[at] and (at == 0 or stays[at - 1])
    spans = np.empty((gaps, 2), dtype=np.int32)
    gap = -1
    for at in range(len(stays)):
        if not stays[at]:
            if at == 0 or stays[at - 1]:
                gap += 1
                spans[gap, 0] = at
            spans[gap, 1] = at + 1
    return spans


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
