"""Language identification on sentences of known language, and the table that it writes."""

import hashlib
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality import language
from data_quality.config import LanguageConfig, SignalsConfig
from data_quality.language import SCHEMA, describe, identify, identify_shard
from data_quality.signals import compute_signals

CONFIG = LanguageConfig()


def described(text: str, stated: str | None, config: LanguageConfig) -> dict[str, Any]:
    [row] = describe([text], [stated], config)
    return row


SENTENCES = [
    ("en", "The weather is fine today, and we are going to walk in the park.", "Latn"),
    ("en", "THE WEATHER IS FINE TODAY, AND WE ARE GOING TO WALK IN THE PARK.", "Latn"),
    ("de", "Das Wetter ist heute schön, und wir gehen im Park spazieren.", "Latn"),
    ("fr", "Il fait beau aujourd'hui et nous allons nous promener dans le parc.", "Latn"),
    ("es", "Hoy hace buen tiempo y vamos a dar un paseo por el parque.", "Latn"),
    ("ru", "Сегодня хорошая погода, и мы идём гулять в парк.", "Cyrl"),
    ("el", "Σήμερα ο καιρός είναι καλός και πάμε βόλτα στο πάρκο.", "Grek"),
    ("ar", "الطقس جميل اليوم وسنذهب للتنزه في الحديقة.", "Arab"),
    ("hi", "आज मौसम अच्छा है और हम पार्क में टहलने जा रहे हैं।", "Deva"),
    ("th", "วันนี้อากาศดี เราจะไปเดินเล่นที่สวนสาธารณะ", "Thai"),
    ("zh", "今天天气很好，我们去公园散步。", "Hans"),
    ("zh", "今天天氣很好，我們去公園散步。", "Hant"),
    ("zh", "春眠不觉晓，处处闻啼鸟。", "Hans"),
    ("zh", "山中人", "Hani"),
    ("yue", "佢哋嘅屋企喺香港，我唔知佢幾時返嚟。", "Hant"),
    ("ja", "今日は天気がいいので、公園へ散歩に行きます。", "Jpan"),
    ("ja", "カタカナダケノブンショウデス", "Jpan"),
    ("ko", "오늘은 날씨가 좋아서 우리는 공원에 산책하러 갑니다.", "Hang"),
    ("und", "12 + 3 = 15", "Zyyy"),
    ("und", "", "Zyyy"),
]


@pytest.mark.parametrize(("language", "text", "script"), SENTENCES)
def test_sentences_of_known_language(language: str, text: str, script: str) -> None:
    row = described(text, None, CONFIG)
    assert (row["language"], row["identified"], row["script"]) == (language, language, script)
    assert float(row["language_score"]) > 0.5 or language == "und"


def test_the_score_of_a_mixed_text_is_the_share_of_its_script() -> None:
    chinese = identify("今天天气很好")[0]
    mixed = identify("今天天气很好 in the park")[0]
    assert chinese.score == pytest.approx(1.0, abs=0.01)
    assert (mixed.language, mixed.score) == ("zh", pytest.approx(18 / 27, abs=1e-3))  # 6 Han count for 18 letters


def test_kana_in_a_name_make_no_chinese_text_japanese() -> None:
    assert identify("我们在优の良品买了很多好吃的东西，明天再去。")[0].language == "zh"


def test_a_text_without_a_cjk_character_is_never_chinese_or_japanese() -> None:
    assert not {"zh", "ja", "ko", "yue", "wuu"} & {each.language for each in identify("def f(x): return x+1")}


def test_share_of_lines() -> None:
    english = "The weather is fine today, and we walk in the park."
    german = "Das Wetter ist heute schön, wir gehen im Park spazieren."
    text = "\n".join([english] * 7 + [german] + ["ok", "", "12 34 56 78 90 12 34 56 78 90"])
    assert described(text, None, CONFIG)["language_line_share"] == 7 / 8
    assert described(text, "de", CONFIG)["language_line_share"] == 1 / 8
    assert described(text, None, LanguageConfig(max_lines=0))["language_line_share"] == 1
    both = "\n".join([english] * 50 + [german] * 50)
    assert described(both, "en", LanguageConfig(max_lines=4))["language_line_share"] == 0.5
    assert (
        described("東京大学経済学部図書館\n" * 2 + "これは日本語の文章です。", "ja", CONFIG)["language_line_share"] == 1
    )


def test_a_document_gets_the_row_that_it_gets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for _, text, _ in SENTENCES] + ["\n".join(text for _, text, _ in SENTENCES)] * 2
    stated = [None, "zh"] * (len(texts) // 2)
    alone = [described(text, given, CONFIG) for text, given in zip(texts, stated, strict=True)]
    assert describe(texts, stated, CONFIG) == alone
    monkeypatch.setattr(language, "_AT_ONCE", 100)
    assert [texts[part] for part in language._together(texts)][-2:] == [[texts[-2]], [texts[-1]]]
    assert [row for part in language._together(texts) for row in describe(texts[part], stated[part], CONFIG)] == alone


def test_a_stated_language_stands_unless_overridden() -> None:
    text = "Das Wetter ist heute schön, und wir gehen im Park spazieren."
    stated = described(text, "fr-CA", CONFIG)
    assert (stated["language"], stated["identified"]) == ("fr", "de")
    assert float(stated["language_score"]) < 0.1
    assert described(text, "fr-CA", LanguageConfig(override=True))["language"] == "de"
    assert described(text, "und", CONFIG)["language"] == "de"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.sampled_from([None, "en", "zh"]))
def test_any_text_gets_a_row(text: str, stated: str | None) -> None:
    row: dict[str, Any] = described(text, stated, CONFIG)
    assert [*row] == SCHEMA.names[1:]
    assert all(0 <= row[name] <= 1 for name in ("language_score", "language_line_share", "simplified_share"))
    assert row["language"]
    assert len(row["script"]) == 4


def documents(path: Path) -> Path:
    table = {"id": [f"d{n}" for n in range(len(SENTENCES))], "text": [text for _, text, _ in SENTENCES]}
    pq.write_table(pa.table(table | {"language": [None] * 2 + ["nl"] + [None] * (len(SENTENCES) - 3)}), path)
    return path


def test_a_shard_gets_its_table_and_signals_take_the_language_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object) -> None:
        raise AssertionError("identification is offline")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    shard, out = documents(tmp_path / "d.parquet"), tmp_path / "languages.parquet"
    seen: list[int] = []
    counts = identify_shard(shard, out, CONFIG, seen.append)
    assert counts == {"documents": len(SENTENCES), "stated": 1, "und": 2}
    assert sum(seen) == len(SENTENCES)
    rows = pq.read_table(out).to_pylist()
    assert [row["language"] for row in rows] == [
        "nl" if number == 2 else language for number, (language, _, _) in enumerate(SENTENCES)
    ]
    first = hashlib.sha256(out.read_bytes()).hexdigest()
    identify_shard(shard, out, CONFIG)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == first
    pq.write_table(pq.read_table(out).take([*reversed(range(len(SENTENCES)))]), out)  # the order is no matter
    compute_signals(shard, tmp_path / "signals.parquet", SignalsConfig(), languages=[out])
    signals = pq.read_table(tmp_path / "signals.parquet").to_pylist()
    for row, measured in zip(rows, signals, strict=True):
        assert {name: measured[name] for name in SCHEMA.names[:-1]} == {name: row[name] for name in SCHEMA.names[:-1]}
    assert not list(tmp_path.glob("*.tmp"))


def test_a_table_of_other_documents_is_refused(tmp_path: Path) -> None:
    shard, out = documents(tmp_path / "d.parquet"), tmp_path / "languages.parquet"
    identify_shard(shard, out, CONFIG)
    pq.write_table(pq.read_table(out).slice(1), out)
    with pytest.raises(ValueError, match=r"languages\.parquet lacks document d0 of .*d\.parquet: identify"):
        compute_signals(shard, tmp_path / "signals.parquet", SignalsConfig(), languages=[out])


def test_a_file_that_is_no_documents_shard_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: no column text; this is not a documents shard"):
        identify_shard(tmp_path / "x.parquet", tmp_path / "out.parquet", CONFIG)
