"""Words: spaCy's, chunk by chunk; never an unsegmented sentence as one word."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.pipeline import Sentencizer

from data_quality import english_rules as rules_module
from data_quality import vocabulary as vocabulary_module
from data_quality.characters import SENTENCE_ENDS
from data_quality.dedupe.windows import tokenize
from data_quality.english_rules import ask_spacy, english_rules
from data_quality.interning import StringTable, encode_strings
from data_quality.plain_chunks import cut_plain_chunks
from data_quality.scripts import LETTERS, MARKS, UNSEGMENTED, ranges
from data_quality.segment import word_rule
from data_quality.vocabulary import WHITE_SPACE, Vocabulary
from data_quality.words import (
    MAX_CHUNK_CHARACTERS,
    ChunkSplitter,
    chunk_splitter,
    split_words,
    text_language,
    word_spans,
)

SENTENCES = [
    "He's here, isn't he? (They'd've gone at 5km/h...) I cannot; don't. Dr. Smith etc.",
    "foo_bar(baz)[0] = {1: 'a'};  // see http://example.com/a_b?c=d, or me@example.org.",
    "``code`` :ref:`x` **bold** <b>tag</b> --flag=value -x 3-4 well-known a.m. id. :-) :)) <3",
    "10,000.50 US$5 C$7 £3 50% 5GB 12:30 1/2 2^3 x=y a<b Foo.Bar e.g. i.e. U.S.A. N.Y.",
    "“Quoted” ‘single’ — dash – en…ellipsis naïve café №5 ½ ©2020 °C. it’s '' \"\" 'em",
    "======== -------- ........ ,,,, ;;; !!! ### *** ___ ~~~ ||| \\n \\t <space>",
    "IS_ALPHA ORTH (IS_ALPHA) gonna Cannot LET'S let's. o.O 8) (-8 )-: ><(((*> w/o and/or",
]
CJK = st.text(alphabet="中文東京的我㐀𧽼のはをアー・한국은다 \n\u3000aB1.-_%+。，é", max_size=40)
SOUTH_EAST_ASIAN = [
    ("th", "เราจะไปเดินเล่นที่สวนสาธารณะ", "เ ร า จ ะ ไ ป เ ดิ น เ ล่ น ที่ ส ว น ส า ธ า ร ณ ะ"),
    ("th", "ปี๒๕๖๖ใช้Python(ดี)", "ปี ๒๕๖๖ ใ ช้ Python ( ดี )"),
    ("my", "သူတို့ပန်းခြံသို့သွားမည်။", "သူ တို့ ပ န်း ခြံ သို့ သွား မ ည် ။"),
    ("km", "យើងនឹងទៅ\u200bដើរលេង។", "យើ ង នឹ ង ទៅ\u200b ដើ រ លេ ង ។"),
    ("bo", "ཁོང་སློབ་གྲྭ་ལ་འགྲོ།", "ཁོ ང ་ སློ བ ་ གྲྭ ་ ལ ་ འ གྲོ །"),
    ("khb", "ᦅᦱᦙᦺᦑᦟᦹᧉ", "ᦅ ᦱ ᦙ ᦺ ᦑ ᦟ ᦹ ᧉ"),
    ("nod", "ᨩᩮ᩠ᨿᨦᩉᩲ᩠ᨾ᩵", "ᨩᩮ᩠ ᨿ ᨦ ᩉᩲ᩠ ᨾ᩵"),
    ("jv", "ꦱꦏꦧꦺꦃꦲꦺꦴꦁ", "ꦱ ꦏ ꦧꦺꦃ ꦲꦺꦴꦁ"),
    ("ban", "ᬓᬧᬶᬲᬦ᭄", "ᬓ ᬧᬶ ᬲ ᬦ᭄"),
    ("lo", "ພວກເຮົາຈະໄປຍ່າງຫຼິ້ນ", "ພ ວ ກ ເ ຮົ າ ຈ ະ ໄ ປ ຍ່ າ ງ ຫຼິ້ ນ"),
]
THAI_AND_OTHERS = st.text(alphabet="ཁོ་ᦅᨩᩮꦧꦺᬓᬶกาิ่์เดាមី្းကို။໑ຮົ \u200b漢かa1.(é\u0301", max_size=40)
PARTS = [
    *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    *("a", "Ab", "AB", "x", "10", "3a", "km", "m", "s", "h", "'s", "'S", "he", "That", "don", "t", "'ll", "www", "com"),
    *("http", "://", "e.g", "U.S", "..", "...", "--", "---", "D", "P", "o", "0", "8", "can", "not", "US$", "a.m", "é"),
    *("Corp", "hPa", "mbar", "’s", "—", "“"),
]
CHUNKS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=7).map("".join) | st.text(
    alphabet="aAbBsdemTt09.,:;!?'\"()[]{}<>_-/#*&`=+$%@|\\^~éß’…—°", min_size=1, max_size=14
)


@cache
def tokenizer() -> Any:
    return spacy.blank("en").tokenizer


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary()


def by_spacy(text: str) -> list[str]:
    return [token.text for token in tokenizer()(text) if token.text.strip()]


@pytest.mark.parametrize("text", SENTENCES)
def test_words_are_those_of_spacy(text: str) -> None:
    assert split_words(text) == by_spacy(text)


@settings(deadline=None)
@given(CHUNKS)
def test_every_chunk_is_cut_as_spacy_cuts_it(chunk: str) -> None:
    assert list(chunk_splitter()(chunk)) == [token.text for token in tokenizer()(chunk)]


@settings(deadline=None)
@given(st.lists(CHUNKS, min_size=1, max_size=30), st.booleans())
def test_a_vocabulary_cuts_new_chunks_together_as_the_splitter_cuts_each(chunks: list[str], plain: bool) -> None:
    fresh = Vocabulary(plain)
    tokens, starts = fresh.tokens(*encode_strings(chunks))
    known = [*map(tuple, map(chunk_splitter(plain), chunks))]
    ids = {word: int(fresh.intern(*encode_strings([word]))[0]) for words in known for word in words}
    assert [tuple(tokens[start:end]) for start, end in pairwise(starts)] == [
        tuple(ids[word] for word in words) for words in known
    ]
    assert len(set(ids.values())) == len(ids)


def test_most_chunks_of_prose_and_code_are_plain() -> None:
    prose = 'word, (word) "Word." well-known and/or REFRESH. nation\'s 3.14 2nd-rate'
    code = "--flag=value foo.bar() /usr/lib _name k=v 'quoted' f(x)[0]; %d"
    chunks = f"{prose} {code}".split()
    codes, starts, ends = encode_strings(chunks)
    offsets = np.append(starts, ends[-1])
    cut = cut_plain_chunks(codes, offsets, chunk_splitter().joined_pairs())
    assert [chunk for chunk, words in zip(chunks, cut.counts, strict=True) if words == 0] == []


def test_strings_keep_their_numbers_while_a_table_grows() -> None:
    strings = [f"s{number}" * (number % 7) for number in range(5_000)]
    table, numbers = StringTable(), []
    for at in range(0, len(strings), 37):
        numbers += table.intern(*encode_strings(strings[at : at + 37])).tolist()
    first = {string: numbers[at] for at, string in reversed(list(enumerate(strings)))}
    assert numbers == [first[string] for string in strings]
    assert sorted(set(numbers)) == list(range(table.known)) == list(range(len(set(strings))))
    assert table.find(*encode_strings([*strings, "unknown"])).tolist() == [*numbers, -1]


def test_a_long_text_of_few_words_takes_little_memory_and_none_for_good() -> None:
    table = StringTable()
    table.intern_chunks(*encode_strings(["the cat sat on the mat " * 100] * 2_000))
    assert table.known == 6  # one of them empty, behind the space at the end
    assert table.nbytes < 64 << 20
    fresh = Vocabulary()
    fresh.tokens(*encode_strings(["the cat sat on the mat " * 600_000]))  # one line
    assert fresh.nbytes > 256 << 20
    fresh.make_room()
    assert fresh.nbytes < 8 << 20


def test_what_an_interrupted_call_did_not_learn_the_next_one_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Vocabulary()
    expected = Vocabulary().tokens(*encode_strings(["U.S. one two-fold"]))[0].tolist()

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(vocabulary_module, "cut_plain_chunks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fresh.tokens(*encode_strings(["U.S. one two-fold"]))
    assert fresh.tokens(*encode_strings(["U.S. one two-fold"]))[0].tolist() == expected


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs the development data")
def test_words_are_those_of_spacy_on_real_text() -> None:
    path = Path(os.environ["TEXTMILL_DATA"]) / "corpus_en" / "part-000.jsonl.zst"
    with pa.input_stream(str(path), compression="zstd") as stream:
        texts = [json.loads(line)["text"] for line in stream.read(400_000).split(b"\n")[:-1]]
    assert len(texts) > 20
    for text in texts:
        if not UNSEGMENTED.search(text):
            assert split_words(text) == by_spacy(text)


@settings(deadline=None)
@given(st.text(max_size=60) | CJK | THAI_AND_OTHERS, st.sampled_from([None, "en", "zh", "ja", "ko", "th"]))
def test_spans_are_the_words_places(text: str, language: str | None) -> None:
    spans = word_spans(text, language)
    words = split_words(text, language)
    assert spans.shape == (len(spans), 2)
    assert [text[start:end] for start, end in spans] == words
    assert "".join(words) == "".join(text.split())
    tokens, starts = vocabulary().tokens(*encode_strings(text.splitlines()), word_rule(language or text_language(text)))
    assert int((tokens != WHITE_SPACE).sum()) == len(words)
    assert len(starts) == len(text.splitlines()) + 1


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("今天天气很好，我们去公园。", "zh", "今天天气 很 好 ， 我们 去 公园 。"),
        ("使用Python3编程", "zh", "使用 Python3 编程"),
        ("他Check-in在2009.03.08，用C++写a--b", "zh", "他 Check - in 在 2009.03 . 08 ， 用 C++ 写 a -- b"),
        ("在document中使用北京大学。", "en", "在 document 中 使用 北京大学 。"),
        ("今日は天気がいいです。", "ja", "今日 は 天気 が いい です 。"),
        ("東京へ行く", "ja", "東京 へ 行 く"),
        ("これは・テスト・を", "ja", "これ は ・ テスト ・ を"),
        ("東京大学", "ja", "東京 大学"),
        ("コンピュータを使ってありがとうございました", "ja", "コンピュータ を 使 って あり がと うご ざい まし た"),
        ("오늘은 날씨가 좋습니다.", "ko", "오늘 은 날씨 가 좋 습니다 ."),
        ("발전하는 나라", "ko", "발전 하 는 나라"),
    ],
)
def test_no_unsegmented_sentence_is_one_word(text: str, language: str, words: str) -> None:
    assert split_words(text, language) == words.split()
    assert len(Vocabulary().tokens(*encode_strings([text]), word_rule(language))[0]) == len(words.split())


@pytest.mark.parametrize(("language", "text", "words"), SOUTH_EAST_ASIAN)
@pytest.mark.parametrize("plain", [False, True])
def test_scripts_that_need_a_dictionary_are_cut_into_letters_with_their_marks(
    language: str, text: str, words: str, plain: bool
) -> None:
    assert split_words(text, language) == split_words(text) == words.split()
    assert [text[start:end] for start, end in word_spans(text, language, plain)] == words.split()
    assert ChunkSplitter(characters=True)(text) == tuple(words.split())
    assert len(Vocabulary(plain).tokens(*encode_strings([text]), word_rule(language))[0]) == len(words.split())


@given(THAI_AND_OTHERS)
def test_no_word_begins_with_a_mark_that_follows_a_letter_and_windows_have_the_same_units(text: str) -> None:
    starts, ends, _ = tokenize(text)
    tokens = set(zip(starts.tolist(), ends.tolist(), strict=True))
    after_letter = re.compile(f"[{LETTERS}][{MARKS}]*[{MARKS}]")
    within = {place for found in after_letter.finditer(text) for place in range(found.start() + 1, found.end())}
    for start, end in word_spans(text, "th").tolist():
        assert start not in within
        if re.match(f"[{LETTERS}]", text[start]):
            assert (start, end) in tokens


def test_letters_and_marks_are_those_of_unicode() -> None:
    for pattern, categories in ((LETTERS, "LN"), (MARKS, "M")):
        for first, last in ranges(pattern):
            found = {unicodedata.category(chr(code)) for code in range(first, last + 1)} - {"Cn"}
            assert {category[0] for category in found} <= set(categories), hex(first)
    listed = {code for first, last in ranges(LETTERS + MARKS) for code in range(first, last + 1)}
    blocks = [(0xE00, 0xFFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF)]
    blocks += [(0x1950, 0x1AAF), (0x1B00, 0x1B7F), (0xA980, 0xA9DF), (0x11700, 0x1174F)]
    for first, last in blocks:  # Thai, Lao, Tibetan, Myanmar, Khmer, Tai, Indonesian
        for code in range(first, last + 1):
            category = unicodedata.category(chr(code))
            assert category == "Cn" or (code in listed) == (category[0] in "LM"), hex(code)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("今天天气很好，我们去公园。", "zh"),
        ("今日は天気がいいです。", "ja"),
        ("오늘은 날씨가 좋습니다.", "ko"),
        ("东京 2020 年", "zh"),
        ("Ein Satz über 東京", "en"),
        ("", "en"),
        ("12 + 3", "en"),
    ],
)
def test_without_a_language_the_scripts_decide(text: str, language: str) -> None:
    assert text_language(text) == language
    assert split_words(text) == split_words(text, language)


def test_a_stated_language_is_taken_by_its_base() -> None:
    assert [text_language("東京", code) for code in ("zh-Hant", "ja_JP", "EN", "und", None)] == [
        "zh",
        "ja",
        "en",
        "zh",
        "zh",
    ]


def test_the_longest_piece_of_an_endless_sentence_is_short() -> None:
    assert len(split_words("오늘은날씨가좋아서우리는공원에산책하러갑니다.", "ko")) > 5
    for sentence, language in [
        ("ア" * 500, "ja"),
        ("あ" * 500, "ja"),
        ("漢" * 500, "ja"),
        ("한" * 490, "ko"),
        ("我是人" * 200, "zh"),
        ("ที่" * 400, "th"),
    ]:
        assert max(map(len, split_words(sentence, language))) <= 12


def test_plain_words_are_runs_of_letters_and_single_signs() -> None:
    split = ChunkSplitter(plain=True)
    assert split("don't...(x_1)") == ("don", "'", "t", ".", ".", ".", "(", "x_1", ")")
    assert split("naïve-café") == ("naïve", "-", "café")
    assert split("北京大学is") == ("北京大学", "is")


def test_sentences_end_where_spacys_sentencizer_ends_them() -> None:
    assert frozenset(Sentencizer.default_punct_chars) == SENTENCE_ENDS


def test_no_process_but_the_first_imports_spacy() -> None:
    english_rules()
    code = "import sys, data_quality.words as words; print(words.split_words('It is.'), 'spacy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "['It', 'is', '.'] False\n"


def test_rules_that_are_not_there_or_damaged_are_spacys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "__file__", str(tmp_path / "english_rules.py"))
    asked: list[str] = []
    monkeypatch.setattr(rules_module, "ask_spacy", lambda: asked.append("spacy") or ask_spacy())
    read = english_rules.__wrapped__
    assert read() == read() == english_rules()
    assert asked == ["spacy"]  # once, then from the file
    [kept] = (tmp_path / "__pycache__").iterdir()
    kept.write_text(kept.read_text()[:1000])
    assert read() == english_rules()
    kept.write_text('{"prefix": "a"}')
    assert read() == english_rules()
    kept.unlink()
    (tmp_path / "__pycache__").rmdir()
    (tmp_path / "__pycache__").write_text("no directory")  # nothing can be written
    assert read() == english_rules()
    assert asked == ["spacy"] * 4


def test_a_long_chunk_is_cut_in_pieces_first() -> None:
    words = split_words("x" * (3 * MAX_CHUNK_CHARACTERS + 1) + " y")
    assert [len(word) for word in words] == [MAX_CHUNK_CHARACTERS] * 3 + [1, 1]


def test_vocabulary_marks_white_space_that_spacy_keeps_as_a_token() -> None:
    vocabulary = Vocabulary()
    for text in ["a b", "a  b", "a\tb", " a", "a \t b", "a. ", "a.  "]:
        expected = ["_" if token.is_space else token.text for token in tokenizer()(text)]
        shape = ["_" if token == WHITE_SPACE else "w" for token in vocabulary.tokens(*encode_strings([text]))[0]]
        assert shape == ["_" if token == "_" else "w" for token in expected], text
