"""Signals that Chinese pipelines judge by: of characters, since their words are not between spaces.

Sources: the thresholds of MAP-CC (Du et al., arXiv 2404.04167) and ChineseWebText (Chen et al., arXiv 2311.01149);
definitions are our own (signal_catalogue.py), because MAP-CC's code counts some of them otherwise than it says.
"""

import math
import re

import numpy as np

from data_quality.characters import DIGIT, IS_HAN, PUNCTUATION, WHITE, class_table, code_points
from data_quality.config import ListFile
from data_quality.errors import UsageError
from data_quality.ngrams import contained_characters, copied_ngrams
from data_quality.ratio import ratio

LONG_NGRAM = 13

_LENTICULAR = re.compile("【([^】\n]*)】")
_HASHES = re.compile("#+")
_READ_MORE = re.compile(r"(?:\.\.\.|…|。。。|read ?more|展开|展開|更多|全文)$", re.IGNORECASE)
_MARKERS = tuple("•●○◦■□▪▫◆◇▶►▷★☆※·・‣⁃*-–—")


def chinese_signals(text: str) -> dict[str, float]:
    """The signals of the group `chinese`."""
    codes = code_points(text)
    classes = class_table()[codes]
    white = (classes & WHITE) != 0
    punctuation = (classes & PUNCTUATION) != 0
    ink = int(len(codes) - white.sum())
    counts = np.unique(codes[~white], return_counts=True)[1]
    spoken = int((~white & ~punctuation).sum())
    digits = int((((classes & DIGIT) != 0) & ~white & ~punctuation).sum())
    lines = [line for line in (line.strip() for line in text.split("\n")) if line]
    return {
        "char_entropy": _entropy(counts, ink),
        "distinct_char_ratio": ratio(len(counts), ink),
        "digit_word_ratio": ratio(digits, spoken),
        "punctuation": int(punctuation.sum()),
        "ellipsis_char_ratio": ratio(text.count("...") + text.count("…"), len(text)),
        "hash_run_ratio": ratio(len(_HASHES.findall(text)), len(text)),
        "lenticular_ratio": ratio(sum(map(len, _LENTICULAR.findall(text))), len(text)),
        "readmore_line_ratio": ratio(sum(_READ_MORE.search(line) is not None for line in lines), len(lines)),
        "marker_line_ratio": ratio(sum(line.startswith(_MARKERS) for line in lines), len(lines)),
    }


def char_repetition(text: str) -> dict[str, float]:
    """The signals of the group `char_repetition`."""
    codes = code_points(text)
    codes = codes[(class_table()[codes] & WHITE) == 0].astype(np.int32)
    contained = contained_characters(codes, np.ones(len(codes), dtype=np.int32))
    values = {f"char_top_{n}_gram": ratio(int(contained[n - 2]), len(codes)) for n in (2, 3, 4)}
    values |= {f"char_dup_{n}_gram": ratio(int(contained[n - 2]), len(codes)) for n in range(5, 11)}
    values["char_repeated_3_grams"] = _repeated_trigrams(codes)
    grams = max(len(codes) - LONG_NGRAM + 1, 0)
    return values | {"char_dup_13_grams": ratio(copied_ngrams(codes, LONG_NGRAM), grams)}


class TraditionalCharacters:
    """The characters that only traditional Chinese writes, from a table of simplified forms.

    A character counts if the table gives it simplified forms, itself not among them, and if it is not the simplified
    form of another one.
    """

    def __init__(self, table: ListFile) -> None:
        self._traditional = np.zeros(0x110000, dtype=np.bool_)
        simplified: set[str] = set()
        for entry in table.entries():
            character, _, forms = entry.partition("\t")
            if len(character) != 1 or not forms:
                raise UsageError(
                    f"the list {table.path}: '{entry[:40]}' is not a character, a tab, and its simplified forms"
                )
            simplified.update(forms.split())
            self._traditional[ord(character)] = character not in forms.split()
        for form in simplified:
            if len(form) == 1:
                self._traditional[ord(form)] = False

    def measure(self, text: str) -> dict[str, float]:
        """The signal of the group `traditional`."""
        codes = code_points(text)
        han = codes[(class_table()[codes] & IS_HAN) != 0]
        return {"traditional_ratio": ratio(int(self._traditional[han].sum()), len(han))}


def _repeated_trigrams(codes: np.ndarray) -> float:
    """ROOTS' character repetition ratio (bigscience-workshop/data-preparation, filtering.py) for n = 3."""
    wide = codes.astype(np.int64)
    counts = np.unique((wide[:-2] << 42) | (wide[1:-1] << 21) | wide[2:], return_counts=True)[1]
    frequent = min(math.isqrt(len(counts)), int((counts > 1).sum()))
    return ratio(int(np.sort(counts)[::-1][:frequent].sum()), int(counts.sum()))


def _entropy(counts: np.ndarray, total: int) -> float:
    """Entropy in nats of a distribution given by counts; they come ordered by character, so the sum is the same."""
    if not total:
        return 0.0
    shares = counts / total
    return max(0.0, float(-(shares * np.log(shares)).sum()))
