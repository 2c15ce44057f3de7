"""Words: spaCy's, chunk by chunk; never an unsegmented sentence as one word."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.scripts import UNSEGMENTED
from data_quality.vocabulary import WHITE_SPACE, Vocabulary
from data_quality.words import MAX_CHUNK_CHARACTERS, chunk_splitter, split_words, word_spans

SENTENCES = [
    "He's here, isn't he? (They'd've gone at 5km/h...) I cannot; don't. Dr. Smith etc.",
    "foo_bar(baz)[0] = {1: 'a'};  // see http://example.com/a_b?c=d, or me@example.org.",
    "``code`` :ref:`x` **bold** <b>tag</b> --flag=value -x 3-4 well-known a.m. id. :-) :)) <3",
    "10,000.50 US$5 C$7 £3 50% 5GB 12:30 1/2 2^3 x=y a<b Foo.Bar e.g. i.e. U.S.A. N.Y.",
    "“Quoted” ‘single’ — dash – en…ellipsis naïve café №5 ½ ©2020 °C. it’s '' \"\" 'em",
    "======== -------- ........ ,,,, ;;; !!! ### *** ___ ~~~ ||| \\n \\t <space>",
    "IS_ALPHA ORTH (IS_ALPHA) gonna Cannot LET'S let's. o.O 8) (-8 )-: ><(((*> w/o and/or",
]
CHUNKS = st.text(alphabet="aAbBsdemTt09.,:;!?'\"()[]{}<>_-/#*&`=+$%@|\\^~éß’…—°", min_size=1, max_size=14)


@cache
def tokenizer() -> Any:
    return spacy.blank("en").tokenizer


def by_spacy(text: str) -> list[str]:
    return [token.text for token in tokenizer()(text) if token.text.strip()]


@pytest.mark.parametrize("text", SENTENCES)
def test_words_are_those_of_spacy(text: str) -> None:
    assert split_words(text) == by_spacy(text)


@settings(deadline=None)
@given(CHUNKS)
def test_every_chunk_is_cut_as_spacy_cuts_it(chunk: str) -> None:
    assert list(chunk_splitter()(chunk)) == [token.text for token in tokenizer()(chunk)]


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
@given(st.text(max_size=60))
def test_spans_are_the_words_places(text: str) -> None:
    spans = word_spans(text)
    assert spans.shape == (len(spans), 2)
    assert [text[start:end] for start, end in spans] == split_words(text)
    assert "".join(split_words(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("今天天气很好，我们去公园。", 13),
        ("今日は天気がいいです。", 11),
        ("東京へ行く", 5),
        ("오늘은 날씨가 좋습니다.", 4),
        ("使用Python3编程", 5),
    ],
)
def test_no_unsegmented_sentence_is_one_word(text: str, words: int) -> None:
    assert len(split_words(text)) == words
    assert len(Vocabulary().tokens([text])[0]) == words


def test_a_long_chunk_is_cut_in_pieces_first() -> None:
    words = split_words("x" * (3 * MAX_CHUNK_CHARACTERS + 1) + " y")
    assert [len(word) for word in words] == [MAX_CHUNK_CHARACTERS] * 3 + [1, 1]


def test_vocabulary_marks_white_space_that_spacy_keeps_as_a_token() -> None:
    vocabulary = Vocabulary()
    for text in ["a b", "a  b", "a\tb", " a", "a \t b", "a. ", "a.  "]:
        expected = ["_" if token.is_space else token.text for token in tokenizer()(text)]
        shape = ["_" if token == WHITE_SPACE else "w" for token in vocabulary.tokens([text])[0]]
        assert shape == ["_" if token == "_" else "w" for token in expected], text
