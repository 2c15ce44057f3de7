"""Running headers, footers and page numbers of a PDF file, recognised across its pages.

Rows (all that stands on one height) are peeled from the top and the bottom of a page as long as they run: they recur at
the same place of most pages, or begin or end with the number of the page, or are the running title of a chapter. The
page's own number does not count in a comparison; other numbers do, since a form recurs with other numbers on each page.
"""

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from data_quality.sources.pdf_lines import Line

RUNNING_ROWS = 3
"""Rows at the top, and at the bottom, of a page that may run."""
RUNNING_SHARE = 0.4
"""Of the pages; below a half, since left and right pages often differ."""
TITLE_PAGES = 3
"""Pages on which a title of a chapter must recur."""
SAME_PLACE = 3.0
"""Points within which lines stand at the same height."""
APART = 1.4
"""Heights of type between a row that is set apart and the next."""
FEW_LETTERS = 8
"""A row apart with so few ("Page 3 of 9", "- iv -") is compared without any number."""
NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)")
AT_AN_END = re.compile(r"^\W?\s?(\d{1,5})\b|\b(\d{1,5})\s?\W?$")
ROMAN = re.compile(r"\b[ivxlc]+\b", re.IGNORECASE)


class Row(NamedTuple):
    """Lines on one height; ``height`` of their type; ``apart`` from the row after it."""

    text: str
    bottom: float
    height: float
    apart: bool
    lines: list[Line]


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without headers, footers and page numbers. Fewer than three pages cannot show what recurs."""
    if len(pages) < 3:
        return [list(page) for page in pages]
    edges = [_edges(page) for page in pages]
    usual = max(2.0, RUNNING_SHARE * len(pages))
    offset = _page_offset(edges, usual)
    recurring: Counter[tuple[str, int]] = Counter()
    beginning: Counter[tuple[str, int]] = Counter()
    outermost: Counter[int] = Counter()
    for index, sides in enumerate(edges):
        rows = [row for side in sides for row in side]
        recurring.update({(_recurring(row, index, offset), place) for row in rows for place in _places(row)})
        beginning.update({(_beginning(row, index, offset), place) for row in rows for place in _places(row)})
        outermost.update({place for side in sides for row in side[:1] for place in _places(row)})

    def runs(row: Row, is_outermost: bool, index: int) -> bool:
        if is_outermost and offset is not None and index + offset in _numbers_at_ends(row):
            return True
        places = _places(row)
        if max(recurring[_recurring(row, index, offset), place] for place in places) > usual:
            return True
        if not is_outermost or max(outermost[place] for place in places) <= usual:
            return False
        # What opens page after page in larger type than the text is a heading, of a slide for instance.
        if row.height > 1.15 * statistics.median(line.height for line in pages[index]):
            return False
        return max(beginning[_beginning(row, index, offset), place] for place in places) >= TITLE_PAGES

    body = []
    for index, (page, sides) in enumerate(zip(pages, edges, strict=True)):
        running: set[int] = set()
        for side in sides:
            for depth, row in enumerate(side):
                if not runs(row, depth == 0, index):
                    break
                running.update(map(id, row.lines))
        body.append([line for line in page if id(line) not in running])
    return body if any(body) else [list(page) for page in pages]


def _edges(page: Sequence[Line]) -> tuple[list[Row], list[Row]]:
    """The rows at the top from the top down, and those at the bottom from the bottom up."""
    grouped: list[list[Line]] = []
    for line in sorted(page, key=lambda line: (-line.bottom, line.left)):
        if grouped and grouped[-1][0].bottom - line.bottom < SAME_PLACE:
            grouped[-1].append(line)
        else:
            grouped.append([line])
    return _rows(grouped), _rows(grouped[::-1])


def _rows(grouped: list[list[Line]]) -> list[Row]:
    rows = []
    for index, lines in enumerate(grouped[:RUNNING_ROWS]):
        height = max(line.height for line in lines)
        following = grouped[index + 1][0].bottom if index + 1 < len(grouped) else None
        apart = following is None or abs(following - lines[0].bottom) > APART * height
        text = " ".join(line.text for line in sorted(lines, key=lambda line: line.left))
        rows.append(Row(text, lines[0].bottom, height, apart, lines))
    return rows


def _page_offset(edges: Sequence[tuple[list[Row], list[Row]]], usual: float) -> int | None:
    """What is to be added to a page's index for the number printed on it; None where most pages bear none."""
    offsets: Counter[int] = Counter()
    for index, sides in enumerate(edges):
        numbers = [int(number) for side in sides for row in side[:1] for number in NUMBER.findall(row.text)]
        offsets.update({number - index for number in numbers})
    offset = max(offsets, key=lambda offset: (offsets[offset], -abs(offset)), default=0)
    return offset if offsets[offset] > usual else None


def _numbers_at_ends(row: Row) -> list[int]:
    return [int(number) for match in AT_AN_END.findall(row.text) for number in match if number]


def _recurring(row: Row, index: int, offset: int | None) -> str:
    """What stays of a row from page to page."""
    text = row.text
    if row.apart and sum(character.isalpha() for character in text) <= FEW_LETTERS:
        text = ROMAN.sub("#", re.sub(r"\d+", "#", text))
    elif offset is not None:
        text = re.sub(rf"\b{index + offset}\b", "#", text)
    return " ".join(text.split()).casefold()


def _beginning(row: Row, index: int, offset: int | None) -> str:
    """The first words of a running title, in which a section may follow the chapter."""
    return " ".join(_recurring(row, index, offset).split()[:3])


def _places(row: Row) -> tuple[int, int]:
    """Two overlapping steps of a ladder, one of which any two rows closer than half a step share."""
    step = 2 * SAME_PLACE
    return 2 * round(row.bottom / step), 2 * round(row.bottom / step + 0.5) + 1
