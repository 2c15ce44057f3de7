"""Texts under every kind: they come back, a huge one is cut where it does not show, words are cut by their rule."""

from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from lm.tokenizer import encode_documents, has_fixed_bytes, token_byte_lengths, unknown_id
from lm.tokenizers import common
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling
from lm.tokenizers.word import word_pattern
from tests.lm.tokenizer_kinds import CONFIGS, LOSSLESS, NASTY, of_kind, training_texts


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60) | st.text(alphabet="a the模型\n <0x41>|'é", max_size=60))
def test_any_text_comes_back_and_every_byte_is_counted(kind: str, text: str) -> None:
    tokenizer = of_kind(kind)
    assert has_fixed_bytes(tokenizer)
    (ids,) = encode_documents(tokenizer, [text])
    assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == text
    assert token_byte_lengths(tokenizer)[ids].sum() == len(text.encode())


@pytest.mark.parametrize("kind", LOSSLESS)
def test_hard_texts_come_back(kind: str) -> None:
    tokenizer = of_kind(kind)
    for text, ids in zip(NASTY, encode_documents(tokenizer, NASTY), strict=True):
        assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == text
        assert token_byte_lengths(tokenizer)[ids].sum() == len(text.encode())


@pytest.mark.parametrize("size", [300, 1000])
@pytest.mark.parametrize("kind", list(CONFIGS))
def test_a_huge_text_encodes_in_pieces_as_it_does_whole(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = of_kind(kind)
    # the second without a single space, the third with what Python and the library call whitespace in different ways
    texts = [" ".join(training_texts()[:30]), "模型，学习don't数据3.14" * 90, "wo\x1crd 模\x85型\u2028x\ty " * 90]
    whole = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    monkeypatch.setattr(common, "CHUNK_CHARS", size)
    for text, ids in zip(texts, whole, strict=True):
        parts = list(common.pieces(tokenizer, text))
        assert "".join(parts) == text
        if tokenizer.normalizer is None or " " in text:
            assert len(parts) > 1
        (got,) = encode_documents(tokenizer, [text])
        assert got.tolist() == ids
    encoded_texts = encode_spans(tokenizer, texts, unknown_id(tokenizer), Spelling({}))
    for text, encoded in zip(texts, encoded_texts, strict=True):
        assert encoded.bytes.sum() == len(text.encode())


@pytest.mark.parametrize("kind", list(CONFIGS))
@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="abé 模型한,.'1\n\t\x1c\x85\u2028\u0301", max_size=80), size=st.integers(4, 40))
def test_no_cut_shows_in_the_ids(kind: str, text: str, size: int) -> None:
    tokenizer = of_kind(kind)
    with patch.object(common, "CHUNK_CHARS", size):
        (got,) = encode_documents(tokenizer, [text])
    assert got.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", ["word", "word-separate", "wordpiece", "unigram"])
def test_counts_are_those_of_whole_texts(kind: str) -> None:
    tokenizer = of_kind(kind)
    texts = training_texts()[:40] + NASTY * 2
    expected: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        expected.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    assert common.pre_token_counts(tokenizer, texts) == expected
    with patch.object(common, "HELD_CHARS", 100):
        assert common.pre_token_counts(tokenizer, texts) == expected


@pytest.mark.parametrize(
    ("spaces", "words"),
    [
        (
            "attached",
            [
                "We",
                " don't",
                " pay",
                " ",
                " 3.14",
                ",",
                "\n",
                " ",
                "模",
                "型",
                " x",
                "1",
                "!",
                "!",
                "\t",
                "'",
                "ok",
                "  ",
            ],
        ),
        (
            "separate",
            [
                "We",
                " ",
                "don't",
                " ",
                "pay",
                "  ",
                "3.14",
                ",",
                "\n",
                " ",
                "模",
                "型",
                " ",
                "x",
                "1",
                "!",
                "!",
                "\t",
                "'",
                "ok",
                "  ",
            ],
        ),
    ],
)
def test_words_by_their_rule(spaces: str, words: list[str]) -> None:
    text = "We don't pay  3.14,\n 模型 x1!!\t'ok  "
    pre_tokenizer = pre_tokenizers.Split(Regex(word_pattern(spaces, 64)), "isolated")
    assert [word for word, _ in pre_tokenizer.pre_tokenize_str(text)] == words
    longest = pre_tokenizers.Split(Regex(word_pattern(spaces, 3)), "isolated").pre_tokenize_str("abcdefg 12345")
    assert max(len(word.strip()) for word, _ in longest) == 3
