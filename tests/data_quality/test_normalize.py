import unicodedata

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.config import NormalizeConfig
from data_quality.documents import Document, ShardWriter, iter_documents, read_shard
from data_quality.hashing import text_hash
from data_quality.normalize import _SUSPECT, normalize_shard, normalize_text

DEFAULT = NormalizeConfig()
BARE = NormalizeConfig(fix_mojibake=False, unicode_form=None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("schÃ¶n", "schön"),
        ("itâ€™s", "it’s"),
        ("one schÃ¶n\nzwei schön", "one schön\nzwei schön"),  # line by line: one good line does not save a bad one
        ("\x93quoted\x94 é", "“quoted” é"),
        ("schön, it’s “quoted”", "schön, it’s “quoted”"),
        ("e\u0301", "é"),
        ("a\r\nb\rc\u2028d\u2029e\x0bg\x0ch", "a\nb\nc\nd\ne\ng\nh"),
        ("a\r\nb\rc\x0bd\x0ce", "a\nb\nc\nd\ne"),
        ("a\x00b\x07c\x7fd", "abcd"),
        ("é\x00b\x07c\x7fd\x81\ufeff", "ébcd"),
        ("\ufefftext", "text"),
        ("\x1b[1;31mred\x1b[0m [x]", "red [x]"),
        ("tab\tstays", "tab\tstays"),
        ("    indented  \n\tcode\t\n", "    indented\n\tcode"),
        ("全角空格\u3000\n\u3000\u3000段落", "全角空格\n\u3000\u3000段落"),
        ("a\n\n\nb", "a\n\n\nb"),
        ("a\n\n\n\nb", "a\n\n\nb"),
        ("a\n \n\t\n \n \nb", "a\n\n\nb"),
        ("\n\n  a\n\n", "  a"),
        (" \n\t", ""),
        ("", ""),
    ],
)
def test_rules(before, after):
    assert normalize_text(before, DEFAULT) == after


def test_byte_85_is_an_ellipsis_of_windows_1252_or_else_a_line_end():
    assert normalize_text("a\x85b", DEFAULT) == "a…b"
    assert normalize_text("a\x85b", BARE) == "a\nb"


CHINESE = "「你好，世界！」——（测试）：《书名》；１２３％　ＡＢＣ…“引号”、ﾊﾝｶｸ ガギグ 한국어 １．５％"


def test_chinese_and_japanese_survive():
    assert normalize_text(CHINESE, DEFAULT) == CHINESE
    assert normalize_text("か\u3099", DEFAULT) == "が"
    assert normalize_text("目标\x92\x8c引用", DEFAULT) == "目标引用"  # broken bytes are no Western quotes here


def test_nfkc_folds_width_and_ligatures_only_when_asked():
    folded = normalize_text("ＡＢＣ，ﬁn", NormalizeConfig(unicode_form="NFKC"))
    assert folded == "ABC,fin"
    assert normalize_text("ＡＢＣ，ﬁn", DEFAULT) == "ＡＢＣ，ﬁn"


def test_options_switch_their_rule_off():
    assert normalize_text("schÃ¶n", NormalizeConfig(fix_mojibake=False)) == "schÃ¶n"
    assert normalize_text("e\u0301", NormalizeConfig(unicode_form=None)) == "e\u0301"
    assert normalize_text("a\n\n\n\n\nb", NormalizeConfig(max_blank_lines=0)) == "a\nb"
    assert normalize_text("a\n\n\n\n\nb", NormalizeConfig(max_blank_lines=9)) == "a\n\n\n\n\nb"


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    config = NormalizeConfig(fix_mojibake=False)
    once = normalize_text(text, config)
    assert normalize_text(once, config) == once


@given(st.text())
def test_what_is_promised_holds_for_any_text(text):
    out = normalize_text(text, DEFAULT)
    assert not any(unicodedata.category(character) == "Cc" for character in out if character not in "\n\t")
    assert not set(out) & set("\u2028\u2029\ufeff")
    assert unicodedata.is_normalized("NFC", out)
    assert all(line == line.rstrip() for line in out.split("\n"))
    assert "\n\n\n\n" not in out


@given(st.text(st.characters(max_codepoint=127)))
def test_the_ascii_path_is_the_general_one(text):
    assert normalize_text(text, BARE) == normalize_text(text + "\né", BARE).removesuffix("é").strip("\n")


@settings(max_examples=150)
@given(st.text(st.characters().filter(lambda character: not _SUSPECT.match(character))))
def test_ftfy_has_nothing_to_do_where_it_is_not_asked(line):
    assert ftfy.fix_encoding(line) == line


def make_shard(directory, texts):
    with ShardWriter(directory) as writer:
        for number, text in enumerate(texts):
            writer.add(Document(f"d{number}", text, "s", "en", {"n": number}))
    return directory / writer.shards[0].name


def test_shard_keeps_everything_but_the_text_and_its_hash(tmp_path):
    source = make_shard(tmp_path / "in", ["a  ", "same", "\x00", "e\u0301"])
    counts = normalize_shard(source, tmp_path / "out.parquet", DEFAULT)
    documents = list(iter_documents(tmp_path / "out.parquet"))
    assert [(d.id, d.text, d.metadata["n"]) for d in documents] == [("d0", "a", 0), ("d1", "same", 1), ("d3", "é", 3)]
    hashes = read_shard(tmp_path / "out.parquet")["text_hash"].to_pylist()
    assert hashes == [text_hash(d.text) for d in documents]
    assert counts == {
        "documents": 4,
        "written": 3,
        "changed": 3,
        "empty": 1,
        "text_bytes_in": 3 + 4 + 1 + 3,
        "text_bytes_out": 1 + 4 + 2,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.parquet"]
    kept = normalize_shard(source, tmp_path / "all.parquet", NormalizeConfig(drop_empty=False))
    assert (kept["written"], kept["empty"]) == (4, 0)


def test_a_shard_of_nothing_but_empty_documents(tmp_path):
    source = make_shard(tmp_path / "in", [" ", "\n"])
    assert normalize_shard(source, tmp_path / "out.parquet", DEFAULT)["written"] == 0
    assert read_shard(tmp_path / "out.parquet").num_rows == 0
