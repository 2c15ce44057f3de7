"""Optional signals: measured only where asked for, within their bounds on any text, and what they say they count."""

import json
import math
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data_quality.chinese import TraditionalCharacters, chinese_signals
from data_quality.config import BadWordList, BadWordsConfig, ListFile, QualityConfig, SignalsConfig, UrlLists
from data_quality.custom import CustomDocument
from data_quality.rules import shipped_rulesets
from data_quality.signal_catalogue import EDITED_SIGNALS, GROUPS, column, signal_columns
from data_quality.signal_choice import resolve_signals
from data_quality.signals import compute_signals, text_versions
from data_quality.urls import BannedUrls
from data_quality.vocabulary import Vocabulary
from tests.data_quality.measured import document_signals, text_signals

LISTS = Path(__file__).parent / "lists"
URL = UrlLists(
    domains=LISTS / "domains.txt",
    substrings=LISTS / "strings.txt",
    hard_words=LISTS / "hard.txt",
    soft_words=LISTS / "soft.txt",
)
BAD = BadWordsConfig(lists={"zh": BadWordList(file=LISTS / "bad_zh.txt"), "en": BadWordList(file=LISTS / "bad_en.txt")})
EVERYTHING = QualityConfig(
    rulesets=("c4", "c4_dclm", "refinedweb"),
    signals=SignalsConfig(groups=tuple(GROUPS), url=URL, traditional=LISTS / "traditional.txt", bad_words=BAD),
)
TEXTS = st.text(max_size=200) | st.lists(
    st.text(alphabet="aB .!?#\t-[]{}…【】。國好话坏1\r\x0c\u2028\U0001f600", max_size=40)
    | st.sampled_from(["3 likes", "badword", "Read more...", "坏话", "1234", "SIGN-IN now", "\ud7ff\ufffe\x00"]),
    max_size=10,
).map("\n".join)


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary()


@cache
def everything() -> SignalsConfig:
    return resolve_signals(EVERYTHING)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from(["en", "zh", "de", None]), st.text(max_size=30))
def test_every_signal_is_finite_and_within_its_bounds(text: str, language: str | None, url: str) -> None:
    document = CustomDocument("d", text, language, metadata_json=json.dumps({"url": url}))
    values, edits = document_signals(document, everything(), vocabulary())
    catalogue = signal_columns(EDITED_SIGNALS, GROUPS)
    assert values.keys() == catalogue.keys()
    assert edits.keys() == EDITED_SIGNALS.keys()
    for name, value in values.items():
        signal = catalogue[name]
        assert math.isfinite(value), name
        assert 0 <= value <= (math.inf if signal.upper is None else signal.upper), name
        assert not signal.integer or value == int(value), name


@pytest.mark.parametrize("group", GROUPS)
def test_a_rule_brings_its_group_and_no_other(tmp_path: Path, group: str) -> None:
    rule = {
        "name": "r",
        "signal": next(iter(GROUPS[group])),
        "operator": ">",
        "threshold": 1,
        "reason": "",
        "source": "",
    }
    ruleset = {"name": "mine", "description": "", "citation": "", "text": "raw", "rules": [rule]}
    (tmp_path / "mine.yaml").write_text(json.dumps(ruleset))
    signals = EVERYTHING.signals.model_copy(update={"groups": ()})
    resolved = resolve_signals(QualityConfig(rulesets=(str(tmp_path / "mine.yaml"),), signals=signals))
    assert resolved.groups == (group,)
    assert [*text_versions(resolved)] == ["c4"]
    for name in ("url", "traditional", "bad_words"):
        assert (getattr(resolved, name) is not None) == (name == group)


def test_the_default_rulesets_measure_nothing_optional() -> None:
    resolved = resolve_signals(QualityConfig())
    assert resolved == SignalsConfig()
    assert set(text_signals("A text.", resolved, vocabulary())[0]) == set(signal_columns())


def test_a_shard_has_the_columns_of_what_is_measured(tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "text": ["A text, 坏话.", None], "source": ["s", "s"], "language": ["zh", None]}
    pq.write_table(pa.table(rows | {"metadata": ['{"url": "http://bad.example/"}', "{}"]}), tmp_path / "d.parquet")
    compute_signals(tmp_path / "d.parquet", tmp_path / "s.parquet", everything())
    table = pq.read_table(tmp_path / "s.parquet")
    spans = [f"{version}_edits" for version in EDITED_SIGNALS]
    assert table.column_names == ["id", "language", "source", *signal_columns(EDITED_SIGNALS, GROUPS), *spans]
    assert table["url_domain"].to_pylist() == [1, 0]
    assert table["bad_words"].to_pylist() == [1, 0]


def test_keys_hold_what_lists_say_and_not_where_they_are(tmp_path: Path) -> None:
    def key(folder: str, content: str) -> object:
        path = tmp_path / folder / "domains.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        config = QualityConfig(rulesets=("refinedweb_url",), signals=SignalsConfig(url=UrlLists(domains=path)))
        return resolve_signals(config).key_material()

    assert key("a", "x.example\n") == key("b", "x.example\n")
    assert key("a", "x.example\n") != key("a", "y.example\n")
    assert str(tmp_path) not in json.dumps(key("a", "x.example\n"))
    unread = SignalsConfig(url=UrlLists(domains=ListFile(path="list.txt")))
    with pytest.raises(ValueError, match=r"list\.txt was not read: pass the signals through resolve_signals"):
        unread.key_material()


def test_what_is_missing_is_said() -> None:
    with pytest.raises(
        ValidationError, match=r"refinedweb_url\.banned_domain needs lists of your own: give signals\.url"
    ):
        QualityConfig(rulesets=("refinedweb_url",))
    with pytest.raises(ValidationError, match=r"bad_words\.bad_word needs lists of your own: give signals\.bad_words"):
        QualityConfig(rulesets=("bad_words",))
    with pytest.raises(ValidationError, match="unknown group of signals 'chinise'; did you mean 'chinese'"):
        SignalsConfig(groups=("chinise",))
    with pytest.raises(ValueError, match=r"signals\.url: give at least one list"):
        resolve_signals(QualityConfig(signals=SignalsConfig(url=UrlLists(), groups=("url",))))
    with pytest.raises(ValueError, match=r"signals\.bad_words: give the list of a language"):
        resolve_signals(QualityConfig(signals=SignalsConfig(groups=("bad_words",))))
    with pytest.raises(ValueError, match="the signals of the group url lack what they need"):
        text_signals("x", SignalsConfig(groups=("url",)), vocabulary())


def test_a_text_version_is_made_by_its_ruleset_only(tmp_path: Path) -> None:
    rule = {"name": "r", "signal": "removed_word_ratio", "operator": ">", "threshold": 1, "reason": "", "source": ""}
    ruleset = {"name": "mine", "description": "", "citation": "", "text": "refinedweb", "rules": [rule]}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(ruleset))
    with pytest.raises(ValidationError, match=r"mine\.r needs the text version refinedweb: choose the ruleset refined"):
        QualityConfig(rulesets=(str(path),))
    resolved = resolve_signals(QualityConfig(rulesets=("refinedweb", str(path))))
    assert [*text_versions(resolved)] == ["c4", "refinedweb"]


def test_all_shipped_rulesets_have_their_table_of_traditional_characters() -> None:
    pytest.importorskip("opencc", reason="needs opencc-python-reimplemented")
    assert "chinese_web_text" in shipped_rulesets()
    resolved = resolve_signals(QualityConfig(rulesets=("chinese_web_text",)))
    assert resolved.traditional is not None
    characters = TraditionalCharacters(resolved.traditional)
    assert characters.measure("中国的天气很好")["traditional_ratio"] == 0
    assert characters.measure("中國的天氣很好")["traditional_ratio"] == 2 / 7
    assert characters.measure("乾坤, of both scripts")["traditional_ratio"] == 0
    assert characters.measure("かな only")["traditional_ratio"] == 0


def test_a_wrong_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("國家 国家\n")
    with pytest.raises(
        ValueError, match=r"table\.txt: '國家 国家' is not a character, a tab, and its simplified forms"
    ):
        TraditionalCharacters(ListFile(path=str(path)))


@pytest.mark.parametrize(
    ("text", "signal", "expected"),
    [
        ("甲乙甲乙", "char_entropy", math.log(2)),
        ("甲 乙\n甲 乙", "distinct_char_ratio", 0.5),
        ("１2甲乙，", "digit_word_ratio", 0.5),
        ("甲，乙。!", "punctuation", 3),
        ("甲...…", "ellipsis_char_ratio", 2 / 5),
        ("甲###乙#", "hash_run_ratio", 2 / 6),
        ("【甲乙】丙丁【】【戊\n】", "lenticular_ratio", 2 / 12),
        ("甲，展开\n乙 Read More\n丙。。。\n\n丁", "readmore_line_ratio", 3 / 4),
        ("• 甲\n- 乙\n●丙\n\n丁-", "marker_line_ratio", 3 / 4),
    ],
)
def test_chinese_signals_count_what_they_say(text: str, signal: str, expected: float) -> None:
    assert chinese_signals(text)[signal] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.bad.example/a", (1, 0, 0, 0)),
        ("deep.bad.example:80", (1, 0, 0, 0)),
        ("http://notbad.example", (0, 0, 0, 0)),
        ("http://worse.example", (1, 0, 0, 0)),
        ("http://a.example/Very.b-ad", (0, 1, 0, 0)),
        ("http://a.example/hard/soft", (0, 0, 1, 1)),
        ("http://a.example/hardly?q=soft&p=SOFTER", (0, 0, 0, 2)),
        ("http://[broken", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
        (None, (0, 0, 0, 0)),
    ],
)
def test_addresses_are_compared_with_the_lists(url: str | None, expected: tuple[int, ...]) -> None:
    names = ("url_domain", "url_substrings", "url_hard_words", "url_soft_words")
    assert BannedUrls(URL).measure(url) == dict(zip(names, expected, strict=True))


def test_columns_carry_the_name_of_their_version() -> None:
    assert column("raw", "words") == "words"
    assert column("c4_dclm", "words") == "c4_dclm__words"
