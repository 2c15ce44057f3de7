"""ROUGE-L: how much of a text's words stand in another in the same order (Lin 2004, section 3).

R = LCS(reference, text) / words of the reference      P = LCS / words of the text      F1 = 2 P R / (P + R)

A word is a run of letters and digits, in lower case; each Chinese character and each Kana is one by itself. On ASCII
texts this is what Google's `rouge-score` computes without stemming.
"""

import re
from collections.abc import Sequence

_ALONE = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Kana and Chinese characters
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")


def words(text: str) -> list[str]:
    """The words that are compared."""
    return _WORD.findall(text.lower())


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by a row of bits for each word (Hyyrö 2004): a bit that is 0 is a place where the row rises."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


def rouge_l(text: str, reference: str) -> float:
    """F1 in 0..1; 0 if either has no word."""
    found, wanted = words(text), words(reference)
    common = longest_common_subsequence(wanted, found)
    return 2 * common / (len(found) + len(wanted)) if common else 0.0


def corpus_rouge_l(texts: Sequence[str], references: Sequence[str]) -> float:
    """The mean over all pairs, in percent. Raises ValueError if there are not equally many, or none."""
    if len(texts) != len(references) or not references:
        raise ValueError(f"{len(texts)} texts for {len(references)} references: one each is needed")
    return 100 * sum(rouge_l(t, r) for t, r in zip(texts, references, strict=True)) / len(references)
