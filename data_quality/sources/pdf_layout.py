"""From the placed lines of pages to text: running lines removed, lines joined to paragraphs, hyphens undone.

A line that recurs at one place of most pages is a running header, footer or page number, and so is the outermost line
where it begins or ends with the page number. Lines are joined until a gap,
an indent, another size of type, or a line into which the next word would still have fitted ends the paragraph.
"""

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

RUNNING_CANDIDATES = 3
"""Lines at the top and at the bottom of a page that may be running ones."""
RUNNING_SHARE = 0.4
"""Of the pages; below a half, since left and right pages often differ."""
TITLE_PAGES = 3
"""Pages on which a line must recur where the outermost line of most pages stands: running titles of chapters."""
SAME_PLACE = 3.0
"""Points within which lines stand at the same place."""
GAP = 1.3
"""A paragraph ends before a line further down than so many usual steps from line to line."""
LIST_ITEM = re.compile(r"(?:[•◦▪‣∙·–—*-]|\(?(?:\d{1,3}|[A-Za-z])[.)])\s")
ENDS_SENTENCE = re.compile(r"[.!?:;。！？：；…][\"'”’)\]）」』]*$")
CJK = re.compile(r"[\u2e80-\u30ff\u31f0-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
LEADERS = re.compile(r"\s*(?:\.\s?){4,}\s*")
PAGE_NUMBER = re.compile(r"^(\d{1,5})\b|\b(\d{1,5})$")
ACCENTS = dict(zip("´¨ˆ˜ˇ¯˘˙˚", "\u0301\u0308\u0302\u0303\u030c\u0304\u0306\u0307\u030a", strict=True))
ACCENTED = re.compile(f"([{''.join(ACCENTS)}])([A-Za-zı])")
ROMAN = re.compile(r"\b[ivxlc]+\b", re.IGNORECASE)


class Line(NamedTuple):
    """A line and its place in points, y upwards. ``hyphen``: its last word goes on in the next line."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    hyphen: bool

    @property
    def height(self) -> float:
        return max(self.top - self.bottom, 1.0)


def text_of(pages: Sequence[Sequence[Line]]) -> tuple[str, int]:
    """The text of a document and the number of running lines left out of it."""
    body = without_running_lines(pages)
    removed = sum(map(len, pages)) - sum(map(len, body))
    words = Counter(word.lower() for page in body for line in page for word in re.findall(r"[\w-]+", line.text))
    blocks = [(separator, _joined(block, words)) for separator, block in _paragraphs(body)]
    text = "".join(separator + block for separator, block in blocks).strip()
    return ACCENTED.sub(_accented, text), removed


def _accented(match: re.Match[str]) -> str:
    """``´e``, as TeX draws an accent, as ``é``; unchanged where there is no such letter."""
    letter = match[2].replace("ı", "i") + ACCENTS[match[1]]
    composed = unicodedata.normalize("NFC", letter)
    return composed if len(composed) == 1 else match[0]


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without headers, footers and page numbers. Fewer than three pages cannot show what recurs."""
    if len(pages) < 3:
        return [list(page) for page in pages]
    seen: Counter[tuple[str, int]] = Counter()
    outermost: Counter[int] = Counter()
    candidates = [_candidates(page) for page in pages]
    for found in candidates:
        for key in (_recurring, _beginning):
            seen.update({(key(line), place) for line, _ in found for place in _places(line)})
        outermost.update({place for line, is_outermost in found if is_outermost for place in _places(line)})
    usual = max(2.0, RUNNING_SHARE * len(pages))
    offsets = Counter(
        offset
        for index, found in enumerate(candidates)
        for offset in {number - index for line, is_outermost in found if is_outermost for number in _numbers(line)}
    )
    page_offset = max(offsets, key=lambda offset: (offsets[offset], -abs(offset)), default=0)
    is_numbered = offsets[page_offset] > usual

    def is_running(line: Line, is_outermost: bool, index: int) -> bool:
        if is_outermost and is_numbered and page_offset + index in _numbers(line):
            return True
        times = max(seen[_recurring(line), place] for place in _places(line))
        if times > usual or (times == len(pages)):
            return True
        if not is_outermost or max(outermost[place] for place in _places(line)) <= usual:
            return False
        # A heading that opens page after page (of slides, say) is set larger than the text.
        if line.height > 1.15 * statistics.median(other.height for other in pages[index]):
            return False
        begins = max(seen[_beginning(line), place] for place in _places(line))
        return max(times, begins) >= TITLE_PAGES

    body = []
    for index, (page, found) in enumerate(zip(pages, candidates, strict=True)):
        running = {id(line) for line, is_outermost in found if is_running(line, is_outermost, index)}
        body.append([line for line in page if id(line) not in running])
    return body


def _candidates(page: Sequence[Line]) -> list[tuple[Line, bool]]:
    """Lines near the top and the bottom of a page, each with whether it is the very first or last."""
    ordered = sorted(page, key=lambda line: -line.bottom)
    edges = {id(line): line for line in ordered[:RUNNING_CANDIDATES] + ordered[-RUNNING_CANDIDATES:]}
    if not edges:
        return []
    first, last = ordered[0].bottom - SAME_PLACE, ordered[-1].bottom + SAME_PLACE
    return [(line, line.bottom >= first or line.bottom <= last) for line in edges.values()]


def _numbers(line: Line) -> list[int]:
    """The numbers with which a line begins and ends."""
    return [int(number) for match in PAGE_NUMBER.findall(line.text) for number in match if number]


def _recurring(line: Line) -> str:
    """What stays of a line from page to page: numbers, Roman ones too, are all alike."""
    text = re.sub(r"\d+", "#", line.text)
    if len(text) <= 8:
        text = ROMAN.sub("#", text)
    return " ".join(text.split()).casefold()


def _beginning(line: Line) -> str:
    """The first words of a running title in which chapter and section follow each other."""
    return " ".join([*_recurring(line).split()[:3], "…"])


def _places(line: Line) -> tuple[int, int]:
    """Two overlapping steps of a ladder, one of which any two lines closer than half a step share."""
    step = 2 * SAME_PLACE
    return 2 * round(line.bottom / step), 2 * round(line.bottom / step + 0.5) + 1


def _paragraphs(pages: Sequence[Sequence[Line]]) -> Iterator[tuple[str, list[Line]]]:
    """Runs of lines to be joined, each with what stands before it: a line feed or an empty line."""
    block: list[Line] = []
    separator = ""
    edges: dict[int, float] = {}
    for page in pages:
        step = _usual_step(page)
        edges_before, edges = edges, _right_edges(page)
        for index, line in enumerate(page):
            if block:
                found = _separator(block, line, step, edges if index else edges_before)
                if found is not None:
                    yield separator, block
                    block, separator = [], found
            block.append(line)
    if block:
        yield separator, block


def _separator(block: list[Line], line: Line, step: float, edges: dict[int, float]) -> str | None:
    """What stands between the last line of a block and the next line; None where they belong together."""
    last = block[-1]
    if last.hyphen:
        return None
    down = last.bottom - line.bottom
    size = min(last.height, line.height)
    if abs(down) < 0.3 * size and line.left >= last.left:
        return "\t" if line.left - last.right > size else None  # cells of one row
    if LEADERS.search(last.text):
        return "\n"  # a line of a table of contents
    if abs(last.height - line.height) > 0.15 * size:
        return "\n\n"
    if down < 0 or down > 8 * step:  # the next column or page
        goes_on = not ENDS_SENTENCE.search(last.text) and not _is_short(last, line, edges)
        return None if goes_on and not _starts_item(line) and not line.text[0].isupper() else "\n\n"
    if down > GAP * max(step, size):
        return "\n\n"
    if _starts_item(line) or _is_short(last, line, edges):
        return "\n" if line.left - last.left < size or _starts_item(line) else "\n\n"
    if line.left - last.left > 0.8 * size:
        hangs = len(block) == 1 and (_starts_item(last) or not line.text[0].isupper())
        return None if hangs else "\n\n"
    return None


def _starts_item(line: Line) -> bool:
    return LIST_ITEM.match(line.text) is not None


def _usual_step(page: Sequence[Line]) -> float:
    """The usual distance of a line from the one above it."""
    steps = [
        above.bottom - below.bottom
        for above, below in pairwise(page)
        if 0.5 * above.height < above.bottom - below.bottom < 2.5 * above.height
    ]
    return statistics.median_low(steps) if steps else 0.0


def _right_edges(page: Sequence[Line]) -> dict[int, float]:
    """For each step of left edges on a page: where lines that begin about there usually end."""
    rights: dict[int, list[float]] = {}
    for line in page:
        for column in range(_column(line) - 1, _column(line) + 2):
            rights.setdefault(column, []).append(line.right)
    return {column: sorted(ends)[int(0.85 * (len(ends) - 1) + 0.5)] for column, ends in rights.items()}


def _column(line: Line) -> int:
    return round(line.left / 24)


def _is_short(line: Line, following: Line, edges: dict[int, float]) -> bool:
    """Whether the first word of the following line would have fitted at the end of a line."""
    edge = edges.get(_column(line), line.right)
    first = following.text.split(maxsplit=1)[0]
    if CJK.match(first):
        first = first[:2]
    width = (following.right - following.left) / max(1, len(following.text))
    return line.right + (len(first) + 1.5) * width < edge


def _joined(lines: Sequence[Line], words: Counter[str]) -> str:
    text = lines[0].text
    for before, line in pairwise(lines):
        if before.hyphen:
            text = _without_hyphen(text, line.text, words)
        elif text and line.text and CJK.match(text[-1]) and CJK.match(line.text[0]):
            text += line.text
        else:
            text += f" {line.text}"
    return LEADERS.sub("\t", text).rstrip("\t")


def _without_hyphen(text: str, following: str, words: Counter[str]) -> str:
    """Join a word broken at a line's end: without its hyphen unless only the form with it occurs elsewhere."""
    first = re.search(r"[\w-]*$", text)
    second = re.match(r"[\w-]*", following)
    assert first is not None
    assert second is not None
    start, end = first.group(), second.group()
    whole, hyphenated = (start + end).lower(), f"{start}-{end}".lower()
    plain = start[-1:].isalpha() and end[:1].islower() and "-" not in start
    if words[whole] > words[hyphenated] or (plain and words[whole] == words[hyphenated]):
        return text + following
    return f"{text}-{following}"
