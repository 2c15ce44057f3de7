"""C4's line rules: Raffel et al., arXiv 1910.10683, section 2.2, in the form of datatrove's `C4QualityFilter`
(pipeline/filters/c4_filters.py), which FineWeb runs with `filter_no_terminal_punct=False`.
"""

import re
from collections.abc import Sequence

import numpy as np

from data_quality.characters import IS_HAN, IS_KANA, UNSPACED_LETTER, WHITE
from data_quality.compiled import kernel
from data_quality.config import C4LineEdits
from data_quality.scripts import EAST_ASIAN, UNSPACED
from data_quality.text_lines import Lines

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
_WHOLE: tuple[tuple[int, int], ...] = ()


class C4Lines:
    """Decides on the stripped lines of one document.

    `counts` holds the lines that reach C4's two document rules: earlier line rules hide a line from them.
    """

    indented = False

    def __init__(self, config: C4LineEdits) -> None:
        self._config = config
        self.counts = {"lorem_ipsum": 0, "curly_bracket": 0}

    def decide(self, lines: Lines, text: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each line of a text: whether it stays, and whether that is for `cuts` to say, since its words matter.

        Most lines have no phrase and no citation, and go or stay by how many words they have and how long they are.
        """
        config = self._config
        first, last = lines.first[text], lines.first[text + 1]
        starts, ends = lines.starts[first:last], lines.ends[first:last]
        words, longest, brackets, braces = _line_facts(lines.codes, lines.classes, starts, ends)
        stays = words >= config.min_words_per_line
        if config.max_word_length is not None:
            stays &= longest <= config.max_word_length
        asked = brackets if config.remove_citations else np.zeros(len(words), dtype=np.bool_)
        if config.filter_no_terminal_punct:
            asked[:] = True
        lowered = lines.lowered[text]
        for phrase in _LINE_PHRASES:
            at = lowered.find(phrase)
            if at >= 0 and len(lowered) != len(lines.texts[text]):
                asked[:] = True  # positions are not those of the text
            while at >= 0:
                asked[np.searchsorted(starts, lines.offsets[text] + at, side="right") - 1] = True
                at = lowered.find(phrase, at + 1)
        self.counts["curly_bracket"] += int((braces & stays & ~asked).sum())
        return stays, asked

    def cuts(self, body: str) -> Sequence[tuple[int, int]] | None:
        """The citations in the line `body`, or None for a line that goes."""
        config = self._config
        longest = config.max_word_length
        if longest is not None and len(body) > longest and any(len(word) > longest for word in coarse_words(body)):
            return None
        line = _CITATION.sub("", body) if config.remove_citations else body
        if config.filter_no_terminal_punct and (not line.endswith(_LINE_ENDS) or line.endswith("...")):
            return None
        if len(coarse_words(body, config.min_words_per_line)) < config.min_words_per_line:
            return None
        lowered = line.lower()
        found = [phrase for phrase in _LINE_PHRASES if phrase in lowered]
        if "lorem ipsum" in found:
            self.counts["lorem_ipsum"] += 1
        if config.filter_javascript and "javascript" in found:
            return None
        if "{" in line:
            self.counts["curly_bracket"] += 1
        if config.filter_policy and any(phrase in _POLICY_PHRASES for phrase in found):
            return None
        return [match.span() for match in _CITATION.finditer(body)] if len(line) < len(body) else _WHOLE


@kernel
def _line_facts(codes, classes, starts, ends):  # type: ignore[no-untyped-def]
    """Of each line: `coarse_words` and the longest one's characters; whether it has `[`, and whether `{`."""
    lines = len(starts)
    words = np.zeros(lines, dtype=np.int64)
    longest = np.zeros(lines, dtype=np.int64)
    brackets = np.zeros(lines, dtype=np.bool_)
    braces = np.zeros(lines, dtype=np.bool_)
    for line in range(lines):
        length = 0
        for at in range(starts[line], ends[line]):
            bits = classes[at]
            if bits & WHITE:
                length = 0
                continue
            alone = bits & (IS_HAN | IS_KANA)
            if alone or bits & UNSPACED_LETTER or length == 0:
                words[line] += 1
                length = 0
            length += 1
            longest[line] = max(longest[line], length)
            if alone:
                length = 0
            brackets[line] |= codes[at] == 91
            braces[line] |= codes[at] == 123
    return words, longest, brackets, braces


def coarse_words(body: str, at_most: int = -1) -> list[str]:
    """C4's words: between white space; but each Han or Kana character is one, or no Chinese line would have three.

    One begins at each letter of Thai and the other scripts without spaces, too. After `at_most` words it stops cutting:
    enough to know that there are so many.
    """
    if not body.isascii():
        body = EAST_ASIAN.sub(r" \g<0> ", body, count=max(at_most, 0))
        body = UNSPACED.sub(r" \g<0>", body, count=max(at_most, 0))
    return body.split(None, at_most)
