"""C4's line rules: Raffel et al., arXiv 1910.10683, section 2.2, in the form of datatrove's `C4QualityFilter`
(pipeline/filters/c4_filters.py), which FineWeb runs with `filter_no_terminal_punct=False`.
"""

import re
from collections.abc import Sequence

from data_quality.config import C4LineEdits
from data_quality.scripts import UNSEGMENTED

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

    def __init__(self, text: str, config: C4LineEdits) -> None:
        lowered = text.lower()
        self._phrases = tuple(phrase for phrase in _LINE_PHRASES if phrase in lowered)
        self._citations = config.remove_citations and "[" in text
        self._config = config
        self.counts = {"lorem_ipsum": 0, "curly_bracket": 0}

    def cuts(self, body: str) -> Sequence[tuple[int, int]] | None:
        """The citations in the line `body`, or None for a line that goes."""
        config = self._config
        longest = config.max_word_length
        if longest is not None and len(body) > longest and any(len(word) > longest for word in coarse_words(body)):
            return None
        line = _CITATION.sub("", body) if self._citations else body
        if config.filter_no_terminal_punct and (not line.endswith(_LINE_ENDS) or line.endswith("...")):
            return None
        if len(coarse_words(body, config.min_words_per_line)) < config.min_words_per_line:
            return None
        phrases = self._phrases
        if len(line) < len(body):
            phrases = _LINE_PHRASES  # taking "[1]" out of "java[1]script" makes a phrase that the text does not hold
        found = [phrase for phrase in phrases if phrase in line.lower()] if phrases else []
        if "lorem ipsum" in found:
            self.counts["lorem_ipsum"] += 1
        if config.filter_javascript and "javascript" in found:
            return None
        if "{" in line:
            self.counts["curly_bracket"] += 1
        if config.filter_policy and any(phrase in _POLICY_PHRASES for phrase in found):
            return None
        return [match.span() for match in _CITATION.finditer(body)] if len(line) < len(body) else _WHOLE


def coarse_words(body: str, at_most: int = -1) -> list[str]:
    """C4's words: between white space; but each Han or Kana character is one, or no Chinese line would have three.

    After `at_most` words it stops cutting: enough to know that there are so many.
    """
    return (body if body.isascii() else UNSEGMENTED.sub(r" \g<0> ", body, count=max(at_most, 0))).split(None, at_most)
