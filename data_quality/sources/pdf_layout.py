"""From the placed lines of pages to text: running lines removed, lines joined to paragraphs, hyphens undone.

Lines are joined until a gap, an indent, another size of type, or a line into which the next word would still have
fitted ends the paragraph.
"""

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from data_quality.sources.pdf_lines import Line
from data_quality.sources.pdf_running import without_running_lines

GAP = 1.3
"""A paragraph ends before a line further down than so many usual steps from line to line."""
LIST_ITEM = re.compile(r"(?:[•◦▪‣∙·–—*-]|\(?(?:\d{1,3}|[A-Za-z])[.)])\s")
ENDS_SENTENCE = re.compile(r"[.!?:;。！？：；…][\"'”’)\]）」』]*$")
CJK = re.compile(r"[\u2e80-\u30ff\u31f0-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
LEADERS = re.compile(r"(?:\s{0,2}\.){4,}\s{0,2}")
ACCENTS = dict(zip("´¨ˆ˜ˇ¯˘˙˚", "\u0301\u0308\u0302\u0303\u030c\u0304\u0306\u0307\u030a", strict=True))
ACCENTED = re.compile(f"([{''.join(ACCENTS)}])([A-Za-zı])")


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
                found = _separator(block, line, step, edges if index else edges_before, index == 0)
                if found is not None:
                    yield separator, block
                    block, separator = [], found
            block.append(line)
    if block:
        yield separator, block


def _separator(block: list[Line], line: Line, step: float, edges: dict[int, float], new_page: bool) -> str | None:
    """What stands between the last line of a block and the next line; None where they belong together."""
    last = block[-1]
    if last.hyphen:
        return None
    down = last.bottom - line.bottom
    size = min(last.height, line.height)
    if not new_page and abs(down) < 0.3 * size and line.left >= last.left:
        return "\t" if line.left - last.right > size else None  # cells of one row
    if LEADERS.search(last.text):
        return "\n"  # a line of a table of contents
    if abs(last.height - line.height) > 0.15 * size:
        return "\n\n"
    if new_page or down < 0 or down > 8 * step:  # the next page or column
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
    pieces = [lines[0].text]
    for before, line in pairwise(lines):
        if before.hyphen:
            pieces.append("-" if _keeps_hyphen(before.text, line.text, words) else "")
        elif not (CJK.match(before.text[-1]) and CJK.match(line.text[0])):
            pieces.append(" ")
        pieces.append(line.text)
    return LEADERS.sub("\t", "".join(pieces)).rstrip("\t")


def _keeps_hyphen(before: str, after: str, words: Counter[str]) -> bool:
    """Whether a hyphen at a line's end belongs to the word: what occurs elsewhere decides, then its looks."""
    start = re.split(r"[^\w-]", before)[-1]
    end = re.split(r"[^\w-]", after, maxsplit=1)[0]
    whole, hyphenated = words[f"{start}{end}".lower()], words[f"{start}-{end}".lower()]
    if whole != hyphenated:
        return hyphenated > whole
    same_case = end[:1].islower() or (start.isupper() and end.isupper())
    return not (start[-1:].isalpha() and same_case and "-" not in start)
