"""Bad words against one regular expression per entry, which is what C4's semantics say."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.bad_words import BadWords, BadWordSignals
from data_quality.config import BadWordList, BadWordsConfig, ListFile

ENTRIES = ["bad", "bad word", "b-d", "-x", "word", "x", "坏", "坏话", "坏话连篇", "é"]
TEXTS = st.lists(st.sampled_from([*ENTRIES, "BAD", "good", " ", "  ", "_", "\n", "。", "ad", "1"]), max_size=20).map(
    "".join
)


def oracle(text: str, entries: list[str], boundaries: bool) -> list[tuple[int, str]]:
    lowered = text.lower()
    found: dict[int, str] = {}
    for entry in sorted(entries, key=len):
        pattern = rf"(?=(?<!\w){re.escape(entry)}(?!\w))" if boundaries else rf"(?={re.escape(entry)})"
        found |= {match.start(): entry for match in re.finditer(pattern, lowered)}
    return sorted(found.items())


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.sampled_from(ENTRIES), unique=True), st.booleans())
def test_places_are_those_of_a_regular_expression(text: str, entries: list[str], boundaries: bool) -> None:
    assert BadWords(entries, boundaries).find(text) == oracle(text, entries, boundaries)


def config(folder: Path, **lists: str) -> BadWordsConfig:
    loaded = {}
    for language, content in lists.items():
        path = folder / f"{language}.txt"
        path.write_text(content, encoding="utf-8")
        loaded[language] = BadWordList(file=ListFile(path=str(path)), allow=("性",))
    return BadWordsConfig(lists=loaded)


def test_boundaries_depend_on_the_language(tmp_path: Path) -> None:
    signals = BadWordSignals(config(tmp_path, en="ass\n", zh="坏话\n性\n"))
    assert signals.measure("a class of its own", "en", 5)["bad_words"] == 0
    assert signals.measure("an ASS.", "en", 4) == {"bad_words": 1, "bad_word_ratio": 0.25, "bad_words_per_line": 1}
    assert signals.measure("他说坏话了，性", "zh", 7)["bad_words"] == 1  # 性 is allowed
    assert signals.measure("an ass, 坏话", "de", 3)["bad_words"] == 0  # no list of that language
    assert signals.measure("an ass, 坏话坏话", "zh-Hant", 3)["bad_words"] == 2  # the list of zh
    for unknown in (None, "und"):
        assert signals.measure("an ass, 坏话坏话", unknown, 3)["bad_words"] == 1  # the default language is en


def test_per_line_counts_different_words_of_each_line(tmp_path: Path) -> None:
    signals = BadWordSignals(config(tmp_path, zh="甲乙\n丙丁\n"))
    text = "甲乙甲乙丙丁\n\n甲乙\n好\n好"
    assert signals.measure(text, "zh", 9)["bad_words_per_line"] == 3 / 4


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the list .*none\.txt cannot be read: No such file"):
        ListFile(path=str(tmp_path / "none.txt")).resolved()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8"):
        ListFile(path=str(tmp_path / "latin.txt")).entries()
    path = tmp_path / "list.txt"
    path.write_text("# note\n\n one \ntwo\none\n")
    listed = ListFile(path=str(path)).resolved()
    assert listed.entries() == ["one", "two"]
    path.write_text("three\n")
    with pytest.raises(ValueError, match=r"list\.txt changed while it was in use"):
        listed.entries()
