"""Gopher's repetition as the paper says it, against a brute-force reading of its words."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.config import SignalsConfig
from data_quality.ngrams import contained_characters, copied_ngrams
from data_quality.vocabulary import Vocabulary
from data_quality.words import split_words
from tests.data_quality.measured import text_signals

VOCABULARY = Vocabulary()
CONFIG = SignalsConfig(c4=None, groups=("paper_repetition", "char_repetition"))
TEXT = st.lists(st.sampled_from(["a", "bb", "ccc", ",", "\n", "\n \n", "好", "of"]), max_size=40).map(" ".join)


def signals(text: str) -> dict[str, float]:
    return text_signals(text, CONFIG, VOCABULARY)[0]


def grams(units: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(units[at : at + n]) for at in range(len(units) - n + 1)]


def covered(units: Sequence[str], n: int, chosen: set[tuple[str, ...]]) -> int:
    """Characters of the units that stand in an n-gram of `chosen`, each counted once."""
    places = {at + step for at, gram in enumerate(grams(units, n)) if gram in chosen for step in range(n)}
    return sum(len(units[place]) for place in places)


def top(units: Sequence[str], n: int) -> int:
    counts = Counter(grams(units, n))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0
    return max(covered(units, n, {gram}) for gram, count in counts.items() if count == most)


def duplicate(units: Sequence[str], n: int) -> int:
    counts = Counter(grams(units, n))
    return covered(units, n, {gram for gram, count in counts.items() if count > 1})


def check(values: dict[str, float], prefix: str, units: Sequence[str]) -> None:
    characters = max(sum(map(len, units)), 1)
    for n in (2, 3, 4):
        assert values[f"{prefix}_top_{n}_gram"] == top(units, n) / characters
    for n in range(5, 11):
        assert values[f"{prefix}_dup_{n}_gram"] == duplicate(units, n) / characters


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_signals_are_what_the_paper_says(text: str) -> None:
    values = signals(text)
    check(values, "paper", [word for word in split_words(text) if word != ","])
    characters = [character for character in text if not character.isspace()]
    check(values, "char", characters)
    long = grams(characters, 13)
    assert values["char_dup_13_grams"] == (len(long) - len(set(long))) / max(len(long), 1)
    for name, elements in (("line", text.split("\n")), ("para", re.split(r"\n\s*\n", text))):
        kept = [element.strip() for element in elements if element.strip()]
        repeated = [element for element in kept if kept.count(element) > 1]
        assert values[f"paper_dup_{name}_frac"] == len(repeated) / max(len(kept), 1)
        total = max(sum(map(len, kept)), 1)
        assert values[f"paper_dup_{name}_char_frac"] == sum(map(len, repeated)) / total


def test_what_occurs_once_is_no_repetition() -> None:
    values = signals("four words, no more")
    assert values["top_4_gram"] > 0.16  # datatrove's variant drops it for being short
    assert all(value == 0 for name, value in values.items() if name.startswith("paper_"))


def test_overlapping_copies_count_each_character_once() -> None:
    values = signals("ab " * 20)
    for n in (2, 3, 4):
        assert values[f"paper_top_{n}_gram"] == 1
        assert values[f"top_{n}_gram"] > 1  # datatrove's counts the overlaps again
    for n in range(5, 11):
        assert values[f"paper_dup_{n}_gram"] == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_trigrams_as_roots_counts_them(numbers: list[int]) -> None:
    text = "".join("甲乙丙丁"[number] for number in numbers)
    counts = sorted(Counter(grams(text, 3)).values(), reverse=True)
    frequent = min(int(len(counts) ** 0.5), sum(count > 1 for count in counts))
    expected = sum(counts[:frequent]) / max(sum(counts), 1)
    assert signals(text)["char_repeated_3_grams"] == expected


@pytest.mark.parametrize("words", [0, 1, 2, 9, 10, 11])
def test_short_texts(words: int) -> None:
    ids, lengths = np.zeros(words, dtype=np.int32), np.full(words, 3, dtype=np.int32)
    expected = [3 * words if words > n else 0 for n in range(2, 11)]
    assert contained_characters(ids, lengths).tolist() == expected
    assert copied_ngrams(ids, 10) == max(words - 10, 0)
