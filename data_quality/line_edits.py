"""C4's line edits as spans: which characters of a document C4's cleaner leaves out.

Source: Raffel et al., arXiv 1910.10683, section 2.2, in the form of datatrove's `C4QualityFilter`
(pipeline/filters/c4_filters.py), which FineWeb runs with `filter_no_terminal_punct=False`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from data_quality.config import C4LineEdits
from data_quality.scripts import UNSEGMENTED

Span = tuple[int, int]

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_LINE_ENDS = (".", "?", "!", '"', "'")
_POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_LINE_PHRASES = ("lorem ipsum", "javascript", *_POLICY_PHRASES)


@dataclass
class EditedLines:
    """What C4's line rules make of a document.

    `kept` holds number and text of the lines that stay, stripped and without citations, as they stand before the
    whole is stripped; `removed` the character spans [start, end) of the text that go. `lorem_ipsum` and
    `curly_bracket` count the lines that reach C4's two document rules: earlier line rules hide a line from them.
    """

    kept: list[tuple[int, str]] = field(default_factory=list)
    removed: list[Span] = field(default_factory=list)
    lorem_ipsum: int = 0
    curly_bracket: int = 0


def edit_lines(text: str, config: C4LineEdits) -> EditedLines:
    """Apply C4's line rules to `text`.

    `apply_edits(text, result.removed)` equals what datatrove leaves of the document, but for one thing: where two
    kept lines are parted by a line break other than `\\n` (a form feed, U+2028, ...) that character stays.
    """
    result = EditedLines()
    lowered = text.lower()
    phrases = tuple(phrase for phrase in _LINE_PHRASES if phrase in lowered)
    citations = config.remove_citations and "[" in text
    pieces: list[Span] = []  # what stays: kept characters and one line break between two kept lines
    line_break: Span | None = None  # the best one since the last kept line
    end_of_line = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        start, end_of_line = end_of_line, end_of_line + len(line)
        body = line.strip()
        kept = _keep(body, config, phrases, citations, result)
        if kept is not None:
            at = start + (len(line) - len(line.lstrip()) if line[0].isspace() else 0)
            if pieces and line_break is not None:
                pieces.append(line_break)
            pieces += _without_citations(body, at) if len(kept) < len(body) else [(at, at + len(body))]
            result.kept.append((number, kept))
            line_break = None
        if line_break is None or (text[line_break[0]] != "\n" and line[-1] == "\n"):
            line_break = (end_of_line - 1, end_of_line)
    result.removed = _complement(_strip(text, pieces), len(text))
    return result


def _keep(body: str, config: C4LineEdits, phrases: Sequence[str], citations: bool, result: EditedLines) -> str | None:
    """The stripped line `body` as C4 keeps it, or None; counts what its document rules would see."""
    longest = config.max_word_length
    if longest is not None and len(body) > longest and any(len(word) > longest for word in _coarse_words(body)):
        return None
    line = _CITATION.sub("", body) if citations else body
    if config.filter_no_terminal_punct and (not line.endswith(_LINE_ENDS) or line.endswith("...")):
        return None
    if len(_coarse_words(body, config.min_words_per_line)) < config.min_words_per_line:
        return None
    if len(line) < len(body):
        phrases = _LINE_PHRASES  # taking "[1]" out of "java[1]script" makes a phrase that the text does not hold
    found = [phrase for phrase in phrases if phrase in line.lower()] if phrases else []
    if "lorem ipsum" in found:
        result.lorem_ipsum += 1
    if config.filter_javascript and "javascript" in found:
        return None
    if "{" in line:
        result.curly_bracket += 1
    if config.filter_policy and any(phrase in _POLICY_PHRASES for phrase in found):
        return None
    return line


def _coarse_words(body: str, at_most: int = -1) -> list[str]:
    """C4's words: between white space; but each Han or Kana character is one, or no Chinese line would have three.

    After `at_most` words it stops cutting: enough to know that there are so many.
    """
    return (body if body.isascii() else UNSEGMENTED.sub(r" \g<0> ", body, count=max(at_most, 0))).split(None, at_most)


def _without_citations(body: str, at: int) -> list[Span]:
    """Spans of `body`, which starts at character `at`, that are no citation."""
    citations = [(match.start() + at, match.end() + at) for match in _CITATION.finditer(body)]
    starts = [at, *(end for _, end in citations)]
    ends = [*(start for start, _ in citations), at + len(body)]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


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
