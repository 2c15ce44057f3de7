"""Signals against oracles written from the published definitions, and on texts that break naive counting."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality import vocabulary as vocabulary_module
from data_quality.config import C4LineEdits, SignalsConfig
from data_quality.line_edits import edit_lines
from data_quality.signal_catalogue import signal_columns
from data_quality.signals import compute_signals
from data_quality.spans import Edit, apply_edits
from data_quality.text_lines import text_lines
from data_quality.vocabulary import Vocabulary
from data_quality.words import split_words
from tests.data_quality.measured import text_signals

CONFIG = SignalsConfig()
TEXTS = [
    "",
    " ",
    "\n",
    "\n\n\n",
    "word",
    "no newline at the end of this line",
    "one\r\ntwo\r\n\r\nthree four five.\x0csix seven eight.\u2028nine ten eleven.",
    "A [1] citation. Another [citation needed] one.  Two spaces!\n[2] [3] [4]\n[edit] gone here now.  [5]\n",
    "- a\n- a\n• b\n- see more...\nto be…\n#tag {x} Lorem Ipsum dolor sit amet.\n",
    "a b c d e a b c d e a b c d e f g h i j a b c d e\n\na b c d e\n\na b c d e",
    "we use cookies here. You agree.\njavascript is needed, lorem ipsum here.\nread the terms of use {now}.",
    "今天天气很好，我们去公园。今天天气很好，我们去公园。\n" * 3,
    "今日は天気がいいです。とても。\n오늘은 날씨가 좋습니다. 정말로!\n",
]
LINES = st.lists(
    st.text(alphabet="ab .!?\t-[1]{}…#\r\x0c\u2028中あ한é", max_size=30)
    | st.sampled_from(["a b c.", "the end of this", "[edit]", "java[1]script is on", "lorem ipsum {", "x" * 1001]),
    max_size=8,
)


@cache
def shared_vocabulary() -> Vocabulary:
    return Vocabulary()


def removed(text: str, config: C4LineEdits) -> list[Edit]:
    return edits_of(edit_lines(text_lines([text]), 0, config).removed)


def edits_of(spans: np.ndarray) -> list[Edit]:
    return [Edit(*span) for span in spans.tolist()]


def signals(text: str, config: SignalsConfig = CONFIG) -> dict[str, float]:
    return text_signals(text, config, shared_vocabulary())[0]


def duplicate_ngrams(words: list[str], n: int) -> int:
    """Gopher's repeated n-grams as datatrove counts them, from its description: greedy, second copy on, no overlap."""
    seen, characters, at = set(), 0, 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        if gram in seen:
            characters, at = characters + len(gram), at + n
        else:
            seen.add(gram)
            at += 1
    return characters


def top_ngram(words: list[str], n: int) -> int:
    grams = [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
    if not grams:
        return 0
    counts = Counter(grams)
    most = max(counts.values())
    return most * len(next(gram for gram in grams if counts[gram] == most))


def copies(elements: list[str]) -> tuple[int, int]:
    repeated = [element for at, element in enumerate(elements) if element in elements[:at]]
    return len(repeated), sum(map(len, repeated))


@cache
def sentencizer() -> Any:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline


def c4_oracle(text: str) -> tuple[str, int]:
    """C4's cleaner with FineWeb's switches: the text it leaves and its sentences, without its document rules."""
    kept, sentences = [], 0
    for line in map(str.strip, text.splitlines()):
        words = re.sub("([中あ])", r" \1 ", line).split()
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        phrases = ("javascript", "cookies", "terms of use", "privacy policy", "cookie policy")
        if len(words) < 3 or any(len(word) > 1000 for word in words):
            continue
        if any(phrase in line.lower() for phrase in phrases):
            continue
        kept.append(line)
        sentences += max(1, sum(1 for _ in sentencizer()(line).sents))
    return "\n".join(kept).strip(), sentences


def same_words(text: str) -> bool:
    return not re.search("[\u3040-\u30ff\u4e00-\u9fff]", text)


def check(text: str) -> None:
    values = signals(text)
    words = split_words(text)
    total = max(len(text), 1)
    assert values["words"] == len(words)
    for n in (2, 3, 4):
        assert values[f"top_{n}_gram"] == top_ngram(words, n) / total
    for n in range(5, 11):
        assert values[f"dup_{n}_gram"] == duplicate_ngrams(words, n) / total
    lines, paragraphs = re.split("\n+", text), re.split("\n{2,}", text.strip())
    assert values["dup_line_frac"] == copies(lines)[0] / len(lines)
    assert values["dup_line_char_frac"] == copies(lines)[1] / total
    assert values["dup_para_frac"] == copies(paragraphs)[0] / len(paragraphs)
    assert values["dup_para_char_frac"] == copies(paragraphs)[1] / total
    nonblank = [line for line in text.split("\n") if line.strip()]
    assert values["char_dup_ratio"] == copies(nonblank)[1] / max(len(text.replace("\n", "")), 1)
    assert values["list_ratio"] == (text.count("\n") / len(words) if words else 0)


@pytest.mark.parametrize("text", TEXTS)
def test_signals_equal_their_definitions(text: str) -> None:
    check(text)


@settings(max_examples=150, deadline=None)
@given(LINES, st.sampled_from(["\n", "\n\n", " "]))
def test_signals_equal_their_definitions_on_any_text(lines: list[str], separator: str) -> None:
    check(separator.join(lines))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "ab", "ba", "a-b", "é"]), max_size=120))
def test_ngrams_equal_their_definitions_on_repetitive_text(words: list[str]) -> None:
    check(" ".join(words))


@settings(max_examples=150, deadline=None)
@given(LINES)
def test_c4_leaves_the_text_that_its_rules_describe(lines: list[str]) -> None:
    text = "\n".join(lines)
    values, edits = text_signals(text, CONFIG, shared_vocabulary(), "en")
    left = apply_edits(text, edits_of(edits["c4"]))
    expected, sentences = c4_oracle(text)
    # where only a form feed or the like parts two lines, it stays: compare line by line
    assert [line.strip() for line in left.splitlines()] == [line.strip() for line in expected.splitlines()]
    if "\x0c" not in text and "\u2028" not in text and "\r" not in text:
        assert left == expected
    assert values["c4__characters"] == len(left)
    assert values["c4__words"] == len(split_words(left, "en"))
    if same_words(text):
        assert values["c4__sentences"] == sentences
    again = text_signals(left, CONFIG, shared_vocabulary(), "en")[0]
    if values["c4__nonblank_lines"] == again["c4__nonblank_lines"]:
        for name in ("line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio"):
            assert values[f"c4__{name}"] == again[name]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | LINES.map("\n".join))
def test_every_signal_is_finite_and_within_its_bounds(text: str) -> None:
    values = signals(text)
    columns = signal_columns()
    assert set(values) == set(columns)
    for name, signal in columns.items():
        value = values[name]
        assert math.isfinite(value), name
        assert 0 <= value <= (math.inf if signal.upper is None else signal.upper), name
        assert not signal.integer or value == int(value), name


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_can_be_measured(text: str) -> None:
    values = signals(text)
    assert all(math.isfinite(value) for value in values.values())


def test_values_by_hand() -> None:
    text = "The cat is HERE... # 12\n- to be, or not\n\n{Lorem Ipsum} 中文\n"
    values = signals(text)
    assert values["words"] == 18  # the cat is HERE ... # 12 | - to be , or not | { Lorem Ipsum } 中文
    assert values["hash_ratio"] == 1 / 18
    assert values["ellipsis_ratio"] == 1 / 18
    assert values["bullet_line_ratio"] == 1 / 4
    assert values["stop_words"] == 2  # to be; "The" is not "the"
    assert values["curly_bracket"] == 1
    assert values["lorem_ipsum"] == 1
    assert values["lines"] == 4
    assert values["nonblank_lines"] == 3
    assert values["paragraphs"] == 2
    assert values["non_symbol_words"] == 12
    assert values["bytes"] == len(text.encode())


@pytest.mark.parametrize(
    ("switch", "line"),
    [
        ({"filter_no_terminal_punct": False}, "no full stop here"),
        ({"filter_no_terminal_punct": False}, "it goes on and on..."),
        ({"min_words_per_line": 0}, "Two words."),
        ({"max_word_length": None}, "a b " + "x" * 1001 + "."),
        ({"filter_javascript": False}, "Please switch JavaScript on."),
        ({"filter_policy": False}, "Read our Privacy Policy first."),
    ],
)
def test_every_c4_switch_keeps_the_line_it_is_for(switch: dict[str, Any], line: str) -> None:
    strict = C4LineEdits(filter_no_terminal_punct=True)
    text = "This stays as it is.\n" + line + "\nThis stays, too."
    assert apply_edits(text, removed(text, strict)) == "This stays as it is.\nThis stays, too."
    assert removed(text, strict.model_copy(update=switch)) == []


def test_citations_go_unless_switched_off() -> None:
    text = "It rained [12] a lot [citation needed]."
    assert apply_edits(text, removed(text, C4LineEdits())) == "It rained  a lot ."
    assert removed(text, C4LineEdits(remove_citations=False)) == []


def test_c4_keeps_chinese_lines() -> None:
    text = "今天天气很好，我们去公园。\n短。\n"
    assert apply_edits(text, removed(text, C4LineEdits())) == "今天天气很好，我们去公园。"


@pytest.mark.parametrize("line", ["เราไปสวน", "ပန်းခြံသို့သွားမည်", "យើងទៅ", "ພວກເຮົາ"])
def test_c4_keeps_lines_of_other_scripts_without_spaces(line: str) -> None:
    for own in (line, f"{line}[1]"):  # with a citation the line is looked at again
        text = f"{own}\n{line[0]} {line[0]}\n"
        assert apply_edits(text, removed(text, C4LineEdits())) == line  # the second line has two words


def test_values_do_not_depend_on_the_documents_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(vocabulary: Vocabulary) -> list[tuple[dict[str, float], list[list[int]]]]:
        found = (text_signals(text, CONFIG, vocabulary) for text in TEXTS)
        return [(values, edits["c4"].tolist()) for values, edits in found]

    alone = measured(Vocabulary())
    monkeypatch.setattr(vocabulary_module, "_MAX_ENTRIES", 5)
    assert measured(Vocabulary()) == alone
    assert measured(shared_vocabulary()) == alone


def write_documents(path: Path, texts: Sequence[str | None]) -> Path:
    ids = [f"d{number}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts, "language": ["en"] * len(texts)}), path)
    return path


def test_a_shard_gets_one_row_per_document(tmp_path: Path) -> None:
    texts = [*TEXTS, None]
    out = tmp_path / "signals.parquet"
    seen: list[int] = []
    counts = compute_signals(write_documents(tmp_path / "d.parquet", texts), out, CONFIG, seen.append)
    table = pq.read_table(out)
    assert table.column_names == ["id", "language", "source", *signal_columns(), "c4_edits"]
    assert table.column("id").to_pylist() == [f"d{number}" for number in range(len(texts))]
    assert counts["documents"] == sum(seen) == len(texts)
    assert counts["bytes"] == sum(len((text or "").encode()) for text in texts)
    assert counts["edited"] > 0
    for text, row in zip(texts, table.to_pylist(), strict=True):
        values, edits = text_signals(text or "", CONFIG, shared_vocabulary(), "en")
        assert {name: row[name] for name in values} == values
        assert [[span["start"], span["end"]] for span in row["c4_edits"]] == edits["c4"].tolist()
        assert row["source"] is None
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_the_c4_version_can_be_left_out(tmp_path: Path) -> None:
    out = tmp_path / "signals.parquet"
    compute_signals(write_documents(tmp_path / "d.parquet", TEXTS), out, SignalsConfig(c4=None))
    assert [name for name in pq.read_schema(out).names if name.startswith("c4__")] == []
    assert "c4_edits" not in pq.read_schema(out).names


def test_a_file_that_is_no_documents_shard_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: no column text; this is not a documents shard"):
        compute_signals(tmp_path / "x.parquet", tmp_path / "out.parquet", CONFIG)
