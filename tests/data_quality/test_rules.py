"""Rules: errors that name the nearest valid word, thresholds from the configuration, verdicts from one query."""

import operator
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from data_quality.config import QualityConfig, SignalsConfig
from data_quality.explain import explain
from data_quality.judge import judge
from data_quality.rules import (
    OPERATORS,
    Ruleset,
    TextVersion,
    choose_rulesets,
    load_ruleset,
    measured,
    shipped_rulesets,
)
from data_quality.signal_catalogue import EDITED_SIGNALS, signal_columns
from data_quality.signal_choice import resolve_signals

RULESET = """
name: mine
description: An example.
citation: None.
text: raw
rules:
  - {name: short, signal: words, operator: "<", threshold: 10, reason: short, source: none}
  - {name: chinese, signal: han_ratio, operator: ">=", threshold: 0.5, language: zh, reason: zh, source: none}
"""
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}


def write_ruleset(folder: Path, old: str = "", new: str = "") -> Path:
    path = folder / "mine.yaml"
    path.write_text(RULESET.replace(old, new) if old else RULESET, encoding="utf-8")
    return path


def write_signals(path: Path, rows: list[dict[str, object]]) -> Path:
    """A signals shard with these values and zero elsewhere."""
    zero = dict.fromkeys(signal_columns(), 0.0)
    pq.write_table(pa.Table.from_pylist([{"language": None} | zero | row for row in rows]), path)
    return path


@pytest.mark.parametrize(
    ("value", "threshold", "said"),
    [
        (100_020.0, 100_000.0, "100020"),
        (3, 50.0, "3"),
        (0.79996, 0.8, "0.79996"),
        (0.8, 0.8, "0.8"),
        (0.123456, 0.3, "0.1235"),
        (0.30000000000000004, 0.3, "0.30000000000000004"),
        ("de", "en", "de"),
        (("de", "fr"), "en", "de, fr"),
    ],
)
def test_what_was_measured_is_told_apart_from_the_threshold(value, threshold, said):
    assert measured(value, threshold) == said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("signal: words", "signal: wrods", "unknown signal 'wrods' of text version raw; did you mean 'words'"),
        ('operator: "<"', 'operator: "=<"', r"rules\.0\.operator: unknown operator '=<'; did you mean '<"),
        ('operator: "<"', "operator: less", "unknown operator 'less'; valid are: !=, <, <=, ==, >, >=, in, not in"),
        ("name: chinese", "name: short", "rule names given twice: short"),
        ("threshold: 10", "threshold: ten", r"rules\.0: signal 'words' is a number: compare it by < <= > >= == with"),
        ('operator: "<"', "operator: in", r"rules\.0: signal 'words' is a number: compare it by < <= > >= == with"),
        (
            "signal: words",
            "signal: language",
            r"rules\.0: signal 'language' is a word: compare it by ==, !=, in, not in",
        ),
        (
            'words, operator: "<", threshold: 10',
            'language, operator: "==", threshold: [en]',
            "== and != take one word, in and not in take a list of words",
        ),
        ("threshold: 10", "threshold: .nan", r"rules\.0\.threshold\.float: Input should be a finite number"),
        ("source: none}", "sauce: none}", r"rules\.0\.source: Field required"),
        ("text: raw", "text: edited", "text: Input should be 'raw', 'c4', 'c4_dclm' or 'refinedweb'"),
        ("text: raw", "text: [", "is not readable YAML"),
        ("name: mine", "name: list", "a ruleset cannot be named 'list'"),
        ("threshold: 10", "threshold: 10, text: c5", r"rules\.0\.text: Input should be 'raw', 'c4'"),
        (
            'signal: words, operator: "<", threshold: 10',
            'signal: bytes, operator: "<", threshold: 10, text: c4_dclm',
            "unknown signal 'bytes' of text version c4_dclm",
        ),
        ("signal: words", "signal: c4__words", "did you mean 'words'"),
    ],
)
def test_a_wrong_ruleset_is_explained(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_ruleset(tmp_path, old, new)
    with pytest.raises(ValueError, match=message) as error:
        load_ruleset(path)
    assert str(path) in str(error.value)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown ruleset 'gopher_qualty'; did you mean 'gopher_quality'"):
        load_ruleset("gopher_qualty")
    with pytest.raises(ValueError, match=r"ruleset file .*none\.yaml does not exist"):
        load_ruleset("none.yaml")
    with pytest.raises(ValidationError, match="did you mean 'gopher_quality'"):
        QualityConfig(rulesets=("gopher_qualty",))
    with pytest.raises(ValidationError, match=r"unknown rule 'gopher_quality\.short'; did you mean"):
        QualityConfig(thresholds={"gopher_quality.short": 3})
    with pytest.raises(ValidationError, match="rulesets given twice: c4"):
        QualityConfig(rulesets=("c4", "fineweb", "c4"))
    with pytest.raises(ValidationError, match="the ruleset c4 needs the text version c4"):
        QualityConfig(signals=SignalsConfig(c4=None))


def test_a_threshold_from_the_configuration_replaces_the_published_one() -> None:
    def short_doc(config: QualityConfig) -> float:
        (ruleset,) = choose_rulesets(config)
        return next(rule.threshold for rule in ruleset.rules if rule.name == "gopher_short_doc")

    assert short_doc(QualityConfig(rulesets=("gopher_quality",))) == 50
    thresholds = {"gopher_quality.gopher_short_doc": 30.0}
    assert short_doc(QualityConfig(rulesets=("gopher_quality",), thresholds=thresholds)) == 30
    wrong = r"threshold for gopher_quality\.gopher_short_doc: signal 'non_symbol_words' is a number"
    with pytest.raises(ValidationError, match=wrong):
        QualityConfig(rulesets=("gopher_quality",), thresholds={"gopher_quality.gopher_short_doc": "short"})


def test_fineweb_judges_c4s_text_only_where_c4_is_chosen() -> None:
    def columns(*names: str) -> set[str]:
        (fineweb,) = (r for r in choose_rulesets(QualityConfig(rulesets=names)) if r.name == "fineweb")
        return {fineweb.column(rule) for rule in fineweb.rules}

    assert all(column.startswith("c4__") for column in columns("c4", "fineweb"))
    assert columns("c4", "fineweb") == columns("fineweb", "c4")
    assert not any(column.startswith("c4__") for column in columns("fineweb"))


def test_a_rule_may_stand_on_another_version_than_its_ruleset() -> None:
    def column(*names: str) -> str:
        chosen = {ruleset.name: ruleset for ruleset in choose_rulesets(QualityConfig(rulesets=names))}
        return chosen["c4_dclm"].column(chosen["c4_dclm"].rules[0])

    assert column("c4_dclm") == "characters"
    (refinedweb,) = choose_rulesets(QualityConfig(rulesets=("refinedweb",)))
    assert {refinedweb.text_of(rule) for rule in refinedweb.rules} == {"raw", "refinedweb"}
    assert get_args(TextVersion) == ("raw", *EDITED_SIGNALS)


def test_resolved_rulesets_survive_json() -> None:
    for ruleset in choose_rulesets(QualityConfig()):
        assert Ruleset.model_validate_json(ruleset.model_dump_json()) == ruleset


@pytest.mark.parametrize("symbol", OPERATORS)
def test_every_operator_means_what_it_says(tmp_path: Path, symbol: str) -> None:
    ruleset = load_ruleset(write_ruleset(tmp_path, 'operator: "<"', f'operator: "{symbol}"'))
    path = write_signals(tmp_path / "s.parquet", [{"id": str(words), "words": words} for words in (9, 10, 11)])
    judge([path], [ruleset], tmp_path / "verdicts.parquet")
    for row in pq.read_table(tmp_path / "verdicts.parquet").to_pylist():
        assert ("mine.short" in row["reasons"]) == COMPARE[symbol](int(row["id"]), 10)


def test_thresholds_are_compared_as_doubles(tmp_path: Path) -> None:
    ruleset = load_ruleset(write_ruleset(tmp_path, "threshold: 10", "threshold: 0.3"))
    values = {"below": 0.1 + 0.1, "equal": 0.3, "above": 0.1 + 0.2}  # 0.1 + 0.2 is the next double after 0.3
    path = write_signals(tmp_path / "s.parquet", [{"id": name, "words": value} for name, value in values.items()])
    counts = judge([path], [ruleset], tmp_path / "verdicts.parquet")
    assert counts["reasons"]["mine.short"] == 1


def test_a_rule_of_one_language_leaves_others_alone(tmp_path: Path) -> None:
    rows = [
        {"id": str(language), "words": 99, "han_ratio": 0.9, "language": language} for language in ("zh", "ja", None)
    ]
    path = write_signals(tmp_path / "s.parquet", rows)
    counts = judge([path], [load_ruleset(write_ruleset(tmp_path))], tmp_path / "verdicts.parquet")
    assert counts == {
        "documents": 3,
        "passed": 2,
        "reasons": {"mine.short": 0, "mine.chinese": 1},
        "first_reasons": {"mine.short": 0, "mine.chinese": 1},
        "unmatched": [],
    }


def shards(folder: Path, count: int) -> list[Path]:
    rows = [
        {"id": f"doc-{number:04d}", "words": number % 23, "han_ratio": number % 7 / 7, "language": "zh"}
        for number in range(3_000)
    ]
    return [write_signals(folder / f"{count}-{at}.parquet", rows[at::count]) for at in range(count)]


def test_verdicts_give_all_reasons_in_the_order_of_the_rules(tmp_path: Path) -> None:
    counts = judge(shards(tmp_path, 1), [load_ruleset(write_ruleset(tmp_path))], tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["id", "reasons", "first_reason", "listed"]
    for number, row in enumerate(table.to_pylist()):
        fired = [("mine.short", number % 23 < 10), ("mine.chinese", number % 7 / 7 >= 0.5)]
        reasons = [name for name, fires in fired if fires]
        first = next(iter(reasons), None)
        assert row == {"id": f"doc-{number:04d}", "reasons": reasons, "first_reason": first, "listed": None}
    assert counts["documents"] == 3_000
    assert counts["passed"] + sum(counts["first_reasons"].values()) == 3_000
    assert [path for path in tmp_path.iterdir() if path.suffix in (".tmp", ".spill")] == []


def test_verdicts_do_not_depend_on_threads_shards_or_their_order(tmp_path: Path) -> None:
    ruleset = load_ruleset(write_ruleset(tmp_path))
    one, three = shards(tmp_path, 1), shards(tmp_path, 3)
    written = set()
    for number, (paths, threads) in enumerate([(one, 1), (one, 4), (three, 2), (three[::-1], 1)]):
        out = tmp_path / f"verdicts-{number}.parquet"
        judge(paths, [ruleset], out, threads=threads)
        written.add(out.read_bytes())
    assert len(written) == 1


def test_signals_without_the_c4_version_are_refused_by_name(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"id": "a", "language": None} | dict.fromkeys(signal_columns(texts=()), 0.0)])
    pq.write_table(table, tmp_path / "s.parquet")
    with pytest.raises(
        ValueError, match=r"name c4__curly_bracket, c4__lorem_ipsum, c4__sentences, .* it takes a run with these rules"
    ):
        judge([tmp_path / "s.parquet"], choose_rulesets(QualityConfig(rulesets=("c4",))), tmp_path / "v.parquet")
    with pytest.raises(ValueError, match="at least one signals shard"):
        judge([], choose_rulesets(QualityConfig()), tmp_path / "v.parquet")


def test_explain_shows_value_and_threshold_of_every_rule(tmp_path: Path) -> None:
    ruleset = load_ruleset(write_ruleset(tmp_path))
    paths = shards(tmp_path, 3)
    short, chinese = explain("doc-0004", paths, [ruleset])
    assert (short.rule, short.column, short.value, short.operator, short.threshold) == (
        "mine.short",
        "words",
        4,
        "<",
        10,
    )
    assert short.fired
    assert chinese.value == 4 / 7
    assert chinese.fired
    with pytest.raises(KeyError, match="no document 'doc-9999' in 3 signals shards"):
        explain("doc-9999", paths, [ruleset])


def test_the_shipped_rulesets_are_named_after_their_files() -> None:
    assert {"gopher_quality", "gopher_repetition", "c4", "fineweb"} <= set(shipped_rulesets())
    for name in shipped_rulesets():
        assert load_ruleset(name, custom=("exclamation_ratio",)).name == name


LANGUAGE_RULES = """
name: languages
description: On what the language table says.
citation: None.
text: c4
rules:
  - {name: unsure, signal: language_score, operator: "<", threshold: 0.65, reason: r, source: none}
  - {name: german, signal: language, operator: "==", threshold: de, reason: r, source: none}
  - {name: not_chinese, signal: language, operator: "!=", threshold: zh, reason: r, source: none}
  - {name: foreign, signal: language, operator: not in, threshold: [en, zh], reason: r, source: none}
  - {name: cyrillic, signal: script, operator: in, threshold: [Cyrl, Grek], reason: r, source: none}
"""


def test_rules_on_the_language(tmp_path: Path) -> None:
    path = tmp_path / "languages.yaml"
    path.write_text(LANGUAGE_RULES)
    known = {"script": "Latn", "language_score": 0.65}
    rows = [
        {"id": "a", "language": "en"} | known,
        {"id": "b", "language": "de"} | known | {"language_score": 0.6499},
        {"id": "c", "language": "zh-Hant"} | known,
        {"id": "d", "language": None} | known,
        {"id": "e", "language": "ru"} | known | {"script": "Cyrl"},
    ]
    rulesets = choose_rulesets(QualityConfig(rulesets=(str(path), "c4")))[:1]
    judge([write_signals(tmp_path / "s.parquet", rows)], rulesets, tmp_path / "v.parquet")
    reasons = {row["id"]: row["reasons"] for row in pq.read_table(tmp_path / "v.parquet").to_pylist()}
    assert {id: [name.removeprefix("languages.") for name in names] for id, names in reasons.items()} == {
        "a": ["not_chinese"],
        "b": ["unsure", "german", "not_chinese", "foreign"],
        "c": [],
        "d": ["not_chinese", "foreign"],
        "e": ["not_chinese", "foreign", "cyrillic"],
    }
    finding = explain("e", [tmp_path / "s.parquet"], rulesets)[-1]
    assert (finding.value, finding.operator, finding.threshold, finding.fired) == ("Cyrl", "in", ("Cyrl", "Grek"), True)


def test_language_signals_are_the_documents_on_any_text_version(tmp_path: Path) -> None:
    path = tmp_path / "languages.yaml"
    path.write_text(LANGUAGE_RULES)
    for others in ((), ("c4",)):  # the text version c4 is not there, and is
        config = QualityConfig(rulesets=(*others, str(path)))
        ruleset = choose_rulesets(config)[-1]
        assert {ruleset.column(rule) for rule in ruleset.rules} == {"language", "language_score", "script"}
        assert resolve_signals(config).groups == ()
    assert Ruleset.model_validate_json(ruleset.model_dump_json()) == ruleset


def test_rules_on_the_language_need_its_table(tmp_path: Path) -> None:
    rulesets = choose_rulesets(QualityConfig(rulesets=("fineweb_language",)))
    signals = write_signals(tmp_path / "s.parquet", [{"id": "a", "language": "en"}])
    with pytest.raises(ValueError, match=r"the rules name language_score, .* it takes the section language"):
        judge([signals], rulesets, tmp_path / "v.parquet")


def test_shipped_rules_on_the_language_just_fire_and_just_do_not(tmp_path: Path) -> None:
    rulesets = choose_rulesets(QualityConfig(rulesets=("language_en", "language_zh", "fineweb_language")))
    rows = {
        "unsure": {"language": "en", "language_score": 0.6499},
        "sure": {"language": "en", "language_score": 0.65},
        "british": {"language": "en-GB", "language_score": 1.0},
        "german": {"language": "de", "language_score": 1.0},
        "traditional": {"language": "zh-Hant", "language_score": 1.0},
        "cantonese": {"language": "yue", "language_score": 1.0},
        "wu": {"language": "wuu", "language_score": 1.0},
        "none": {"language": None, "language_score": 0.0},
    }
    judge(
        [write_signals(tmp_path / "s.parquet", [{"id": id} | row for id, row in rows.items()])],
        rulesets,
        tmp_path / "v.parquet",
    )
    en, zh, unsure = "language_en.other_language", "language_zh.other_language", "fineweb_language.language_score"
    assert {row["id"]: row["reasons"] for row in pq.read_table(tmp_path / "v.parquet").to_pylist()} == {
        "unsure": [zh, unsure],
        "sure": [zh],
        "british": [zh],
        "german": [en, zh],
        "traditional": [en],
        "cantonese": [en],
        "wu": [en, zh],
        "none": [en, zh, unsure],
    }


def test_a_ruleset_can_be_kept_to_one_language(tmp_path: Path) -> None:
    config = QualityConfig(rulesets=("gopher_quality", "fineweb2_zh"), ruleset_languages={"gopher_quality": "en"})
    rulesets = choose_rulesets(config)
    rows = [{"id": language, "language": language} for language in ("en", "zh", "de")]
    judge([write_signals(tmp_path / "s.parquet", rows)], rulesets, tmp_path / "v.parquet")
    verdicts = {row["id"]: row["reasons"] for row in pq.read_table(tmp_path / "v.parquet").to_pylist()}
    assert {reason.split(".")[0] for reason in verdicts["en"]} == {"gopher_quality"}
    assert {reason.split(".")[0] for reason in verdicts["zh"]} == {"fineweb2_zh"}
    assert verdicts["de"] == []
    with pytest.raises(ValidationError, match="ruleset_languages: 'gopher' is not among the rulesets; did you mean"):
        QualityConfig(rulesets=("gopher_quality",), ruleset_languages={"gopher": "en"})
    alone = QualityConfig(rulesets=("gopher_quality",), ruleset_languages={"gopher_quality": "en", "c4": "en"})
    assert choose_rulesets(alone) == choose_rulesets(config)[:1]
