"""The lines of some texts as positions in one array of code points, found and measured in compiled loops."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_quality.characters import LINE_BREAK, TERMINAL, WHITE, class_table, code_points
from data_quality.compiled import kernel


@dataclass(frozen=True)
class Lines:
    """The lines (`str.splitlines`) of texts that stand in a row; all positions are characters of the whole row.

    Text i has the characters offsets[i]:offsets[i + 1] and the lines first[i]:first[i + 1]. A line lies in
    [begins, breaks) with its line break, and in [starts, ends) without white space at both ends.
    """

    texts: Sequence[str]
    codes: np.ndarray  # uint32[characters]
    classes: np.ndarray  # uint16[characters]: bits of characters.py
    offsets: np.ndarray  # int64[texts + 1]
    first: np.ndarray  # int64[texts + 1]
    begins: np.ndarray  # int64[lines], as are the next three
    breaks: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @cached_property
    def row(self) -> str:
        """All texts, one after the other."""
        return "".join(self.texts)

    @cached_property
    def lowered(self) -> list[str]:
        """Every text in lower case, which may have other characters than the text has."""
        return [text.lower() for text in self.texts]


def text_lines(texts: Sequence[str]) -> Lines:
    """The lines of some texts."""
    codes = code_points("".join(texts))
    classes = class_table()[codes]
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return Lines(texts, codes, classes, offsets, *_find_lines(codes, classes, offsets))


@kernel
def _find_lines(codes, classes, offsets):  # type: ignore[no-untyped-def]
    first = np.zeros(len(offsets), dtype=np.int64)
    for text in range(len(offsets) - 1):
        count, at, end = 0, offsets[text], offsets[text + 1]
        open_line = False
        while at < end:
            open_line = True
            if classes[at] & LINE_BREAK:
                if codes[at] == 13 and at + 1 < end and codes[at + 1] == 10:
                    at += 1
                count += 1
                open_line = False
            at += 1
        first[text + 1] = first[text] + count + open_line
    lines = first[-1]
    begins = np.empty(lines, dtype=np.int64)
    breaks = np.empty(lines, dtype=np.int64)
    starts = np.empty(lines, dtype=np.int64)
    ends = np.empty(lines, dtype=np.int64)
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        for line in range(first[text], first[text + 1]):
            begins[line] = at
            while at < end and not classes[at] & LINE_BREAK:
                at += 1
            if at + 1 < end and codes[at] == 13 and codes[at + 1] == 10:
                at += 1
            at = min(at + 1, end)
            breaks[line] = at
            start, stop = begins[line], at
            while start < stop and classes[stop - 1] & WHITE:
                stop -= 1
            while start < stop and classes[start] & WHITE:
                start += 1
            starts[line], ends[line] = start, stop
    return first, begins, breaks, starts, ends


@kernel
def line_marks(codes, starts, ends, first):  # type: ignore[no-untyped-def]
    """How many lines of each text begin with a bullet or a dash, and how many end with an ellipsis: int64[texts, 2]."""
    result = np.zeros((len(first) - 1, 2), dtype=np.int64)
    for text in range(len(result)):
        for line in range(first[text], first[text + 1]):
            start, end = starts[line], ends[line]
            if start == end:
                continue
            result[text, 0] += codes[start] == 0x2022 or codes[start] == 0x2D
            dots = end - start >= 3 and codes[end - 1] == 0x2E and codes[end - 2] == 0x2E and codes[end - 3] == 0x2E
            result[text, 1] += dots or codes[end - 1] == 0x2026
    return result


@kernel
def symbol_counts(codes, offsets):  # type: ignore[no-untyped-def]
    """UTF-8 bytes of each text, and in it hashes, ellipses (`...` without overlap, or one sign) and braces that open.

    int64[texts, 4].
    """
    result = np.zeros((len(offsets) - 1, 4), dtype=np.int64)
    for text in range(len(result)):
        dots = 0
        for at in range(offsets[text], offsets[text + 1]):
            code = codes[at]
            result[text, 0] += 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
            result[text, 1] += code == 0x23
            dots = dots + 1 if code == 0x2E else 0
            result[text, 2] += code == 0x2026 or dots == 3
            if dots == 3:
                dots = 0
            result[text, 3] += code == 0x7B
    return result


# Columns of `line_numbers`. Those of "\n" lines leave out empty ones; NONBLANK also lines of white space only.
(
    LINE_FEEDS, NONBLANK, NONBLANK_CHARACTERS, NONBLANK_COPIED, PUNCTUATED, SHORT,
    LINES, LINE_COPIES, LINE_COPIED, PARAGRAPHS, PARAGRAPH_COPIES, PARAGRAPH_COPIED,
) = range(12)  # fmt: skip


@kernel
def line_numbers(codes, classes, offsets, short, repetition):  # type: ignore[no-untyped-def]
    """Counts of what is parted by "\\n" in each text, by the columns above: int64[texts, 12].

    COPIES counts second and later copies, COPIED their characters; SHORT lines have at most `short` characters.
    Lines and paragraphs are as datatrove splits them for Gopher's repetition (gopher_repetition_filter.py): at rows of
    line breaks, so that a text which begins and ends with one has two empty lines; they mean nothing
    without `repetition`. PUNCTUATED and NONBLANK are FineWeb's (fineweb_quality_filter.py).
    """
    result = np.zeros((len(offsets) - 1, 12), dtype=np.int64)
    for text in range(len(result)):
        begin, end = offsets[text], offsets[text + 1]
        row = result[text]
        feeds = 0
        for at in range(begin, end):
            feeds += codes[at] == 10
        row[LINE_FEEDS] = feeds
        table, starts, ends = _segments(feeds + 1)
        known, start = 0, begin
        for at in range(begin, end + 1):
            if at < end and codes[at] != 10:
                continue
            length = at - start
            blank = _is_white(classes, start, at)
            if length and (repetition or not blank):
                known, copy = _seen(codes, start, at, table, starts, ends, known)
                row[LINES] += 1
                row[LINE_COPIES] += copy
                row[LINE_COPIED] += length * copy
                if not blank:
                    row[NONBLANK] += 1
                    row[NONBLANK_CHARACTERS] += length
                    row[NONBLANK_COPIED] += length * copy
                    row[PUNCTUATED] += (classes[at - 1] & TERMINAL) != 0
                    row[SHORT] += length <= short
            start = at + 1
        if repetition:
            empty = 1
            if begin < end:
                empty = (codes[begin] == 10) + (codes[end - 1] == 10)
            row[LINES] += empty
            row[LINE_COPIES] += max(empty - 1, 0)
            _paragraphs(codes, classes, begin, end, feeds, row)
    return result


@kernel
def _paragraphs(codes, classes, begin, end, feeds, row):  # type: ignore[no-untyped-def]
    """What two or more line feeds part, of the text without white space at both ends."""
    while begin < end and classes[begin] & WHITE:
        begin += 1
    while begin < end and classes[end - 1] & WHITE:
        end -= 1
    table, starts, ends = _segments(feeds // 2 + 1)
    known, start, at = 0, begin, begin
    while at <= end:
        after = at
        while after < end and codes[after] == 10:
            after += 1
        if at == end or after - at > 1:
            known, copy = _seen(codes, start, at, table, starts, ends, known)
            row[PARAGRAPHS] += 1
            row[PARAGRAPH_COPIES] += copy
            row[PARAGRAPH_COPIED] += (at - start) * copy
            start = after
        at = max(after, at + 1)


@kernel
def _segments(most):  # type: ignore[no-untyped-def]
    """An empty set of up to `most` segments: slots, and start and end of each segment."""
    size = 16
    while size < 2 * most:
        size *= 2
    return np.full(size, -1, dtype=np.int32), np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)


@kernel
def _seen(codes, start, end, table, starts, ends, known):  # type: ignore[no-untyped-def]
    """Add codes[start:end] to a set of `known` segments: how many it then has, and whether it had this one."""
    value = np.uint64(end - start)
    for at in range(start, end):
        value = (value ^ np.uint64(codes[at])) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    mask = np.uint64(len(table) - 1)
    slot = value & mask
    while table[slot] >= 0:
        other = starts[table[slot]]
        if ends[table[slot]] - other == end - start:
            at = 0
            while at < end - start and codes[other + at] == codes[start + at]:
                at += 1
            if at == end - start:
                return known, True
        slot = (slot + np.uint64(1)) & mask
    table[slot], starts[known], ends[known] = known, start, end
    return known + 1, False


@kernel
def _is_white(classes, start, end):  # type: ignore[no-untyped-def]
    while start < end and classes[start] & WHITE:
        start += 1
    return start == end
