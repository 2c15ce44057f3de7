"""Every shipped rule can fire, and fires at its threshold: a family of documents in which one step makes it flip."""

import json
import math
import operator
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from data_quality.config import (
    BadWordList,
    BadWordsConfig,
    CustomSignal,
    LanguageConfig,
    QualityConfig,
    SignalsConfig,
    UrlLists,
)
from data_quality.custom import CustomDocument
from data_quality.language import describe
from data_quality.rules import Rule, Ruleset, choose_rulesets, load_ruleset, shipped_rulesets
from data_quality.signal_catalogue import EDITED_SIGNALS, GROUPS
from data_quality.signal_choice import resolve_signals
from data_quality.stop_words import STOP_WORDS
from data_quality.vocabulary import Vocabulary
from tests.data_quality.measured import document_signals

Family = tuple[Callable[[int], str], range]


ENGLISH = """It was raining when we came to the harbour. Nobody had seen the ship for many days. The old pilot waited at
the window. His daughter brought him a letter. She could not read the name on it. Both of them laughed about it."""
GERMAN = """Es regnete, als wir zum Hafen kamen. Niemand hatte das Schiff seit Tagen gesehen. Der alte Lotse wartete am
Fenster. Seine Tochter brachte ihm einen Brief. Sie konnte den Namen darauf nicht lesen. Beide lachten darüber."""


def german_after_english(count: int) -> str:
    """An English text, and after it `count` words of a German one."""
    return " ".join([ENGLISH, *GERMAN.split()[:count]])


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


def han(count: int, first: int = 0) -> list[str]:
    """Distinct Chinese characters that both simplified and traditional texts write."""
    return [chr(0x4E00 + number) for number in range(20_000) if chr(0x4E00 + number) not in "國"][first:][:count]


def spread(phrase: str, count: int, filler: int) -> list[str]:
    """`filler` distinct characters, none of them in `phrase`, with `phrase` put between them `count` times."""
    return [character + (phrase if number < count else "") for number, character in enumerate(han(filler, 100))]


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
        f"gopher_repetition.duplicated_{n}_n_grams": (lambda k, n=n: inserted(phrase(n), k, 600), range(1, 100))
        for n in range(5, 11)
    },
    "gopher_repetition_paper.dup_line_frac": (
        lambda k: "\n".join(["the end"] * (k + 1) + [long_line(word) for word in words(99 - k)]),
        range(20, 40),
    ),
    "gopher_repetition_paper.dup_para_frac": (
        lambda k: "\n \n".join(["the end"] * (k + 1) + [long_line(word) for word in words(99 - k)]),
        range(20, 40),
    ),
    "gopher_repetition_paper.dup_line_char_frac": (
        lambda k: "\n".join(["the end of it"] * (k + 1) + [f"{word} is one" for word in words(99 - k)]),
        range(10, 40),
    ),
    "gopher_repetition_paper.dup_para_char_frac": (
        lambda k: "\n\n\n".join(["the end of it"] * (k + 1) + [f"{word} is one" for word in words(99 - k)]),
        range(10, 40),
    ),
    **{
        f"gopher_repetition_paper.{kind}_{n}_gram": (lambda k, n=n: inserted(phrase(n), k, 600), range(2, 100))
        for kind, sizes in (("top", (2, 3, 4)), ("dup", range(5, 11)))
        for n in sizes
    },
    "refinedweb.too_few_words": (lambda k: " ".join(words(k)) + " , . !", range(40, 60)),
    "refinedweb.too_many_words": (lambda k: " ".join(words(k, 5)), range(99_999, 100_003)),
    "refinedweb.short_words": (lambda k: " ".join(["ab"] * k + words(99, 3)), range(4)),
    "refinedweb.long_words": (lambda k: " ".join(words(k, 11) + words(99, 10)), range(4)),
    "refinedweb.too_many_hashes": (lambda k: mixed(k, "#", 100), range(20)),
    "refinedweb.too_many_ellipses": (lambda k: mixed(k, "…", 100), range(20)),
    "refinedweb.too_many_bullets": (
        lambda k: "\n".join([f" - {word}" for word in words(k)] + words(100 - k)),
        range(80, 100),
    ),
    "refinedweb.too_many_end_ellipses": (
        lambda k: "\n".join([f"{word}... " for word in words(k)] + words(100 - k)),
        range(20, 40),
    ),
    "refinedweb.too_few_alphabetic_words": (lambda k: mixed(k, "42", 100), range(30)),
    "refinedweb.too_few_stop_words": (lambda k: " ".join(words(60) + ["the"] * k), range(4)),
    "refinedweb.too_many_words_removed": (
        lambda k: "\n".join([" ".join(words(1_000))] + [f"{word.upper()} it" for word in words(k)]),
        range(20, 35),
    ),
    "refinedweb_url.banned_domain": (lambda k: f"http://{'x' * (1 - k)}bad.example/page", range(2)),
    "refinedweb_url.banned_string": (lambda k: f"http://a.example/very{'x' * (1 - k)}-b.ad", range(2)),
    "refinedweb_url.hard_word": (lambda k: f"http://a.example/the{'-' * k}hard", range(2)),
    "refinedweb_url.soft_words": (lambda k: f"http://a.example/soft-and{'-' * k}softer", range(2)),
    "c4_dclm.too_long": (lambda k: "a good line of text. " * 9_047 + "x" * k, range(20)),
    "c4_dclm.lorem_ipsum": (
        lambda k: "\n".join(["A good line of text."] * 9 + ["It says Lorem Ipsum to you."] * k),
        range(2),
    ),
    "c4_dclm.curly_bracket": (
        lambda k: "\n".join(["A good line of text."] * 9 + ["It says { twice here."] * k),
        range(2),
    ),
    "c4_dclm.too_few_sentences": (lambda k: "It is one of them. " * k + "\nIt is too short.", range(1, 10)),
    "c4_paragraphs.too_few_long_lines": (
        lambda k: "\n".join(["x" * 300, "y" * k, "z" * 250, "short"]),
        range(198, 203),
    ),
    "map_cc.too_much_in_lenticular_brackets": (lambda k: "【" + "广" * k + "】" + "".join(han(98 - k)), range(20)),
    "map_cc.too_few_sentences": (lambda k: "今天天气很好。" * k + "好", range(3)),
    "map_cc.too_short": (lambda k: "".join(han(k)), range(40, 60)),
    "map_cc.too_long": (lambda k: "".join(han(k)), range(9_990, 10_010)),
    "map_cc.short_words": (lambda k: "好，" * 70 + "天气，" * k, range(20, 40)),
    "map_cc.long_words": (lambda k: " ".join(words(k, 11) + words(99, 10)), range(4)),
    "map_cc.too_many_hashes": (lambda k: "#好" * k + "".join(han(200 - 2 * k)), range(10, 30)),
    "map_cc.too_many_ellipses": (lambda k: "…好" * k + "".join(han(200 - 2 * k)), range(10, 30)),
    "map_cc.too_many_digits": (lambda k: "7" * k + "".join(han(100 - k)) + "。！？", range(20, 40)),
    "map_cc.too_many_readmore_lines": (
        lambda k: "\n".join(["天气很好，展开"] * k + ["我们去公园。"] * (100 - k)),
        range(20, 40),
    ),
    "map_cc.too_many_bullets": (
        lambda k: "\n".join(["● 天气很好"] * k + ["我们去公园。"] * (100 - k)),
        range(80, 100),
    ),
    "map_cc.no_punctuation": (lambda k: "".join(han(99)) + "，" * k, range(2)),
    "map_cc.too_few_distinct_characters": (lambda k: "".join(han(k)) + "好" * (1_000 - k), range(90, 110)),
    "map_cc.low_entropy": (lambda k: "".join(han(k)) * 9, range(10, 30)),
    **{
        f"map_cc.top_{n}_gram": (lambda k, n=n: "".join(spread("".join(han(n)), k, 500)), range(2, 200, 2))
        for n in (2, 3, 4)
    },
    **{
        f"map_cc.dup_{n}_gram": (lambda k, n=n: "".join(spread("".join(han(n)), k, 300)), range(2, 200, 2))
        for n in range(5, 11)
    },
    "chinese_web_text.too_short": (lambda k: "".join(han(k)), range(190, 210)),
    "chinese_web_text.short_lines": (
        lambda k: "\n".join(["天气很好我们去公园"] * k + ["天气很好我们去公园吧啊"] * 10),
        range(20),
    ),
    "chinese_web_text.too_little_han": (lambda k: "".join(han(k)) + "x" * (100 - k), range(20, 40)),
    "chinese_web_text.traditional": (lambda k: "今天天气很好，我们去公园。" * 9 + "國" * k, range(2)),
    "chinese_web_text.repeated_13_grams": (lambda k: "".join(han(13)) * k + "".join(han(500, 50)), range(2, 80)),
    "chinese_web_text_sensitive.sensitive_words": (
        lambda k: "\n".join(["这是坏话，坏话"] * k + ["我们去公园。"] * (100 - k)),
        range(40, 60),
    ),
    "roots_zh.no_words": (lambda k: "好" * k, range(2)),
    "roots_zh.too_many_words": (lambda k: "a " * (999_990 + k), range(0, 20, 5)),
    "roots_zh.char_repetition": (lambda k: "".join(spread("甲乙丙", k, 500)), range(2, 400, 5)),
    "roots_zh.special_characters": (lambda k: "".join(han(100 - k)) + "。" * k, range(20, 40)),
    "bad_words.bad_word": (lambda k: f"this is a {'x' * (1 - k)}badword in it", range(2)),
    "custom.mostly_tables": (lambda k: "7" * k + "x" * (100 - k), range(20, 40)),
    "custom.shouting": (lambda k: "Be quiet! " * k + "I am. " * (100 - k), range(40, 60)),
    "fineweb_language.language_score": (german_after_english, range(10, 30)),
    "language_en.other_language": (german_after_english, range(10, 35)),
    "language_zh.other_language": (lambda k: "今天天气很好我们去公园散步" * 5 + "の" * k, range(12)),
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
    "fineweb.char_dup_ratio": (lambda k: lines(k, "That is all.", 500, long_line), range(40)),
    "fineweb.list_ratio": (
        lambda k: "\n".join([" ".join(words(100)), *(f"{word} and more" for word in words(k))]),
        range(290, 310),
    ),
}


def cjk_families(language: str) -> dict[str, Family]:
    """For FineWeb-2's rules: words of one Han character or Hangul syllable, parted by spaces."""
    first = 0xAC00 if language == "ko" else 0x7C00
    pool = [c for c in map(chr, range(first, first + 1_000)) if c not in STOP_WORDS[language]]
    stop = STOP_WORDS[language]
    longest = 5 if language in ("zh", "yue") else 6

    def inserted(phrase: list[str], count: int) -> str:
        return " ".join(word + (f" {' '.join(phrase)}" if at < count else "") for at, word in enumerate(pool[:300]))

    def mixed(count: int, word: str) -> str:
        return " ".join([word] * count + pool[: 100 - count])

    def lines(count: int, line: Callable[[str], str]) -> str:
        return "\n".join([*map(line, pool[:count]), *(f"{word} 糸" for word in pool[count:100])])

    def copies(count: int) -> str:
        return "\n".join(
            [" ".join(pool[-6:])] * (count + 1) + [" ".join(pool[at : at + 6]) for at in range(99 - count)]
        )

    def run(count: int) -> str:
        return " ".join(pool[:300]) + "！" * count

    rules: dict[str, Family] = {
        "dup_line_frac": (copies, range(10, 60)),
        **{
            f"top_{n}_gram": (run, range(n, 600))
            if language in ("zh", "yue")
            else (lambda k, n=n: inserted(pool[-n:], k), range(1, 200))
            for n in (2, 3, 4)
        },
        **{f"duplicated_{n}_n_grams": (lambda k, n=n: inserted(pool[-n:], k), range(1, 200)) for n in range(5, 11)},
        "empty": (lambda k: "\n" + "糸" * k, range(2)),
        "line_punct_ratio": (lambda k: lines(k, lambda word: f"{word}。"), range(30)),
        "char_dup_ratio": (copies, range(40)),
        "list_ratio": (
            lambda k: "\n".join([" ".join(pool[:100]), *(f"{word} 糸" for word in pool[100 : 100 + k])]),
            range(5, 80),
        ),
        "gopher_short_doc": (lambda k: " ".join(pool[:k]) + " 、 。", range(40, 60)),
        "gopher_long_doc": (lambda k: " ".join((pool * 120)[:k]), range(99_999, 100_003)),
        "gopher_below_avg_threshold": (lambda k: "。！ " * 60 + "糸" * k, range(2)),
        "gopher_above_avg_threshold": (
            lambda k: " ".join(words(k, longest + 1) + words(99, longest)),
            range(4),
        ),
        "gopher_too_many_hashes": (lambda k: mixed(k, "#"), range(20)),
        "gopher_too_many_ellipsis": (lambda k: mixed(k, "…"), range(20)),
        "gopher_too_many_bullets": (lambda k: lines(k, lambda word: f"- {word}"), range(80, 100)),
        "gopher_too_many_end_ellipsis": (lambda k: lines(k, lambda word: f"{word}…"), range(20, 40)),
        "gopher_below_alpha_threshold": (lambda k: mixed(k, "42"), range(40)),
        "gopher_enough_stop_words": (
            lambda k: " ".join(pool[:60] + [stop[0], stop[0], stop[1], stop[2]][: k + 1]),
            range(4),
        ),
    }
    return {f"fineweb2_{language}.{name}": family for name, family in rules.items()}


for language in ("zh", "yue", "ja", "ko"):
    FAMILIES |= cjk_families(language)

LISTS = Path(__file__).parent / "lists"
CONFIG = QualityConfig(
    rulesets=tuple(shipped_rulesets()),
    signals=SignalsConfig(
        url=UrlLists(
            domains=LISTS / "domains.txt",
            substrings=LISTS / "strings.txt",
            hard_words=LISTS / "hard.txt",
            soft_words=LISTS / "soft.txt",
        ),
        traditional=LISTS / "traditional.txt",
        bad_words=BadWordsConfig(
            lists={
                "en": BadWordList(file=LISTS / "bad_en.txt"),
                "zh": BadWordList(file=LISTS / "bad_zh.txt", allow=("好话",)),
            }
        ),
        custom=(CustomSignal(name="exclamation_ratio", function="data_quality.custom_example:exclamation_ratio"),),
    ),
)
SHIPPED = choose_rulesets(CONFIG)
SIGNALS = resolve_signals(CONFIG)
RULES = [(ruleset, rule) for ruleset in SHIPPED for rule in ruleset.rules]
CHINESE = ("chinese_web_text", "map_cc", "roots_zh")
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "not in": lambda word, words: word not in words,
}


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary()


def value(text: str, ruleset: Ruleset, rule: Rule) -> float | str:
    if rule.signal in ("language", "language_score"):
        return describe([text], [None], LanguageConfig())[0][rule.signal]
    url = text if ruleset.name == "refinedweb_url" else ""
    language = rule.language or ("zh" if ruleset.name.startswith(CHINESE) else "en")
    document = CustomDocument("d", text, language, metadata_json=json.dumps({"url": url}))
    return document_signals(document, only(ruleset, rule), vocabulary())[0][ruleset.column(rule)]


def only(ruleset: Ruleset, rule: Rule) -> SignalsConfig:
    """The signals that one rule needs: a text of a million words is not measured by all."""
    text = ruleset.text_of(rule)
    edits = {name: getattr(SIGNALS, name) if name == text else None for name in EDITED_SIGNALS}
    groups = tuple(group for group, names in GROUPS.items() if text == "raw" and rule.signal in names)
    custom = tuple(signal for signal in SIGNALS.custom if signal.name == rule.signal)
    return SIGNALS.model_copy(update={**edits, "groups": groups, "custom": custom})


@pytest.mark.parametrize(("ruleset", "rule"), RULES, ids=[ruleset.reason(rule) for ruleset, rule in RULES])
def test_every_rule_fires_and_only_just_does_not(ruleset: Ruleset, rule: Rule) -> None:
    make, steps = FAMILIES[ruleset.reason(rule)]
    values = [value(make(step), ruleset, rule) for step in steps]
    fires = [RELATIONS[rule.operator](measured, rule.threshold) for measured in values]
    flips = [at for at in range(1, len(fires)) if fires[at] != fires[at - 1]]
    assert len(flips) == 1, "the family must cross the threshold exactly once"
    at = flips[0]
    if isinstance(rule.threshold, tuple):
        return  # a word is in the list or not
    step = 1 if rule.threshold == 0 or rule.threshold >= 1 else 0  # of a count; ratios move by less
    assert abs(values[at] - values[at - 1]) <= max(0.2 * rule.threshold, step)
    assert math.isclose(values[at], rule.threshold, rel_tol=0.2, abs_tol=step)


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


def test_published_thresholds_of_fineweb_2() -> None:
    """github.com/huggingface/fineweb-2, configs/*.yml of 2025-06-16 (the paper's)."""
    fixed = [50, 100_000, 1]
    symbols = [0.1, 0.1, 0.9, 0.3]
    published = {  # copied lines, top n-grams, copied n-grams, line ends, new lines, word length, letters
        "zh": ([0.287, 0.256, 0.201, 0.171, 0.198, 0.182, 0.167, 0.154, 0.14, 0.127], 0.106, 0.178, 5, 0.735),
        "yue": ([0.442, 1.238, 0.854, 0.623, 0.241, 0.216, 0.204, 0.193, 0.182, 0.17], 0.111, 0.238, 5, 0.765),
        "ja": ([0.328, 0.239, 0.196, 0.172, 0.243, 0.225, 0.207, 0.19, 0.175, 0.159], 0.096, 0.13, 6, 0.759),
        "ko": ([0.374, 0.282, 0.228, 0.185, 0.201, 0.184, 0.168, 0.154, 0.14, 0.127], 0.062, 0.196, 6, 0.791),
    }
    for language, (repetition, ends, breaks, longest, letters) in published.items():
        rules = load_ruleset(f"fineweb2_{language}").rules
        expected = [*repetition, 1, ends, 0.1, breaks, *fixed, longest, *symbols, letters, 2]
        assert [rule.threshold for rule in rules] == expected
        assert {rule.language for rule in rules} == {language}
    assert len(STOP_WORDS["zh"]) == 22
    assert len(STOP_WORDS["yue"]) == 32
    assert len(STOP_WORDS["ja"]) == 15
    assert len(STOP_WORDS["ko"]) == 21
