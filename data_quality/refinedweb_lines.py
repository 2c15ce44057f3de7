"""RefinedWeb's line rules: Penedo et al., arXiv 2306.01116, section G.2, in the form of DCLM's rebuilt pipeline
(mlfoundations/dclm, baselines_configs/dclm_baseline_refinedweb.yaml and mappers/modifiers.py).
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

import numpy as np

from data_quality.c4_lines import coarse_words
from data_quality.config import RefinedWebLineEdits
from data_quality.text_lines import Lines

_UPPER = ascii_uppercase.encode()
_COUNTED = (
    "likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads",
    "views", "followers",
)  # fmt: skip
_COUNTER = re.compile(rf"\W*+\d[\d.,]*+[kmb]?\s++(?:{'|'.join(_COUNTED)})\W*", re.IGNORECASE)
_PHRASES = re.compile(r"^sign-in\s?|\s?read more\.\.\.$|\s?items in cart", re.IGNORECASE)
_WHOLE: tuple[tuple[int, int], ...] = ()


class RefinedWebLines:
    """Decides on the lines of one document in order; of several blank lines in a row the first stays."""

    indented = True

    def __init__(self, config: RefinedWebLineEdits) -> None:
        self._config = config
        self._after_blank = False
        self.counts: dict[str, int] = {}

    def decide(self, lines: Lines, text: int) -> tuple[np.ndarray, np.ndarray]:
        """`cuts` is asked of every line."""
        count = lines.first[text + 1] - lines.first[text]
        return np.zeros(count, dtype=np.bool_), np.ones(count, dtype=np.bool_)

    def cuts(self, body: str) -> Sequence[tuple[int, int]] | None:
        """The phrases to cut out of the line `body`, or None for a line that goes."""
        if not body:
            again, self._after_blank = self._after_blank, True
            return None if again else _WHOLE
        cuts = self._cuts(body)
        if cuts is not None:
            self._after_blank = False
        return cuts

    def _cuts(self, body: str) -> Sequence[tuple[int, int]] | None:
        config = self._config
        if _uppercase(body) > config.max_uppercase_ratio * len(body):
            return None
        if config.filter_numeric and body.isdigit():
            return None
        if config.filter_counters and _COUNTER.fullmatch(body):
            return None
        words = len(coarse_words(body, max(config.min_words_per_line, config.phrase_words + 1)))
        if words < config.min_words_per_line:
            return None
        if words > config.phrase_words:
            return _WHOLE
        cuts = [match.span() for match in _PHRASES.finditer(body)]
        return None if cuts and not _PHRASES.sub("", body).strip() else cuts


def _uppercase(body: str) -> int:
    if body.isascii():
        return len(body) - len(body.encode().translate(None, _UPPER))
    return sum(map(str.isupper, body))
