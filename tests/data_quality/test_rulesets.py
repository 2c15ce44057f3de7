"""Every shipped rule can fire, and fires at its threshold: a family of documents in which one step makes it flip."""

import math
from collections.abc import Callable
from functools import cache

import pytest

from data_quality.config import QualityConfig, SignalsConfig
from data_quality.rules import Rule, Ruleset, choose_rulesets, load_ruleset, shipped_rulesets
from data_quality.signals import text_signals
from data_quality.vocabulary import Vocabulary

Family = tuple[Callable[[int], str], range]


def words(count: int, length: int = 6, salt: str = "") -> list[str]:
    """Distinct words of lower-case letters; `length` includes the salt."""
    free = length - len(salt)
    return [salt + "".join(chr(97 + number // 26**place % 26) for place in range(free)) for number in range(count)]


def mixed(first: int, first_word: str, all_words: int) -> str:
    return " ".join([first_word] * first + words(all_words - first))


def lines(copies: int, copy: str, total: int, line: Callable[[str], str], separator: str = "\n") -> str:
    """`total` lines, `copies` + 1 of them equal to `copy`."""
    return separator.join([copy] * (copies + 1) + [line(word) for word in words(total - copies - 1)])


def inserted(phrase: str, count: int, filler: int) -> str:
    """`filler` distinct words, with `phrase` put between them `count` times."""
    parts = words(filler)
    return " ".join(word + (f" {phrase}" if number < count else "") for number, word in enumerate(parts))


def phrase(n: int) -> str:
    return " ".join(words(n, salt="x"))


def long_line(word: str) -> str:
    return f"{word} is a word in a line that is long enough to be one"


FAMILIES: dict[str, Family] = {
    "gopher_quality.gopher_short_doc": (lambda k: " ".join(words(k)) + " , . !", range(40, 60)),
    "gopher_quality.gopher_long_doc": (lambda k: " ".join(words(k, 5)), range(99_999, 100_003)),
    "gopher_quality.gopher_below_avg_threshold": (lambda k: " ".join(["ab"] * k + words(99, 3)), range(4)),
    "gopher_quality.gopher_above_avg_threshold": (
        lambda k: " ".join(words(k, 11) + words(99, 10)),
        range(4),
    ),
    "gopher_quality.gopher_too_many_hashes": (lambda k: mixed(k, "#", 100), range(20)),
    "gopher_quality.gopher_too_many_ellipsis": (lambda k: mixed(k, "…", 100), range(20)),
    "gopher_quality.gopher_too_many_bullets": (
        lambda k: "\n".join([f" - {word}" for word in words(k)] + words(100 - k)),
        range(80, 100),
    ),
    "gopher_quality.gopher_too_many_end_ellipsis": (
        lambda k: "\n".join([f"{word}... " for word in words(k)] + words(100 - k)),
        range(20, 40),
    ),
    "gopher_quality.gopher_below_alpha_threshold": (lambda k: mixed(k, "42", 100), range(30)),
    "gopher_quality.gopher_enough_stop_words": (
        lambda k: " ".join(words(60) + ["the", "the", "have", "The"][: k + 1]),
        range(4),
    ),
    "gopher_repetition.dup_para_frac": (
        lambda k: lines(k, "the end", 100, long_line, "\n\n"),
        range(20, 40),
    ),
    "gopher_repetition.dup_para_char_frac": (
        lambda k: lines(k, "the end of it", 100, lambda word: f"{word} is one", "\n\n"),
        range(10, 40),
    ),
    "gopher_repetition.dup_line_frac": (lambda k: lines(k, "the end", 100, long_line), range(20, 40)),
    "gopher_repetition.dup_line_char_frac": (
        lambda k: lines(k, "the end of it", 100, lambda word: f"{word} is one"),
        range(10, 40),
    ),
    **{
        f"gopher_repetition.top_{n}_gram": (lambda k, n=n: inserted(phrase(n), k, 300), range(1, 100))
        for n in (2, 3, 4)
    },
    **{
        f"gopher_repetition.duplicated_{n}_n_grams": (lambda k, n=n: inserted(phrase(n), k, 300), range(1, 100))
        for n in range(5, 11)
    },
    "c4.lorem_ipsum": (lambda k: "\n".join(["A good line."] * 9 + ["It says Lorem Ipsum."] * k), range(2)),
    "c4.curly_bracket": (lambda k: "\n".join(["A good line."] * 9 + ["It says { twice."] * k), range(2)),
    "c4.too_few_sentences": (lambda k: "It is one. " * k + "\nToo short.", range(1, 10)),
    "fineweb.empty": (lambda k: "\n".join(["Too short"] + ["This one is not."] * k), range(2)),
    "fineweb.line_punct_ratio": (
        lambda k: "\n".join([f"{word} is here." for word in words(k)] + [f"{w} is not" for w in words(100 - k)]),
        range(20),
    ),
    "fineweb.short_line_ratio": (
        lambda k: "\n".join([f"{w} is a short one" for w in words(k)] + [long_line(w) for w in words(100 - k)]),
        range(50, 80),
    ),
    "fineweb.char_dup_ratio": (lambda k: lines(k, "That is all.", 100, long_line), range(10)),
    "fineweb.list_ratio": (
        lambda k: "\n".join([" ".join(words(100)), *(f"{word} and more" for word in words(k))]),
        range(290, 310),
    ),
}
SHIPPED = choose_rulesets(QualityConfig(rulesets=tuple(shipped_rulesets())))
RULES = [(ruleset, rule) for ruleset in SHIPPED for rule in ruleset.rules]
RELATIONS = {"<": lambda a, b: a < b, ">": lambda a, b: a > b}


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary()


def value(text: str, ruleset: Ruleset, rule: Rule) -> float:
    return text_signals(text, SignalsConfig(), vocabulary())[0][ruleset.column(rule)]


@pytest.mark.parametrize(("ruleset", "rule"), RULES, ids=[ruleset.reason(rule) for ruleset, rule in RULES])
def test_every_rule_fires_and_only_just_does_not(ruleset: Ruleset, rule: Rule) -> None:
    make, steps = FAMILIES[ruleset.reason(rule)]
    values = [value(make(step), ruleset, rule) for step in steps]
    fires = [RELATIONS[rule.operator](measured, rule.threshold) for measured in values]
    flips = [at for at in range(1, len(fires)) if fires[at] != fires[at - 1]]
    assert len(flips) == 1, "the family must cross the threshold exactly once"
    at = flips[0]
    assert abs(values[at] - values[at - 1]) <= max(0.05 * rule.threshold, 1)
    assert math.isclose(values[at], rule.threshold, rel_tol=0.06, abs_tol=1)


def test_no_rule_is_without_its_documents() -> None:
    assert set(FAMILIES) == {ruleset.reason(rule) for ruleset, rule in RULES}


def test_published_thresholds() -> None:
    """Gopher, arXiv 2112.11446, A.1.1 and table A1; C4, arXiv 1910.10683; FineWeb as in datatrove."""

    def thresholds(name: str) -> list[float]:
        return [rule.threshold for rule in load_ruleset(name).rules]

    assert thresholds("gopher_quality") == [50, 100_000, 3, 10, 0.1, 0.1, 0.9, 0.3, 0.8, 2]
    paragraphs_and_lines, top, dup = [0.3, 0.2, 0.3, 0.2], [0.2, 0.18, 0.16], [0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    assert thresholds("gopher_repetition") == paragraphs_and_lines + top + dup
    assert thresholds("c4") == [0, 0, 5]
    assert thresholds("fineweb") == [1, 0.12, 0.67, 0.01, 0.3]
