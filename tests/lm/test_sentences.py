"""Sentence ends in tokens, and where words begin."""

from pathlib import Path

import numpy as np
import pytest

from lm.sentences import SentenceEnds, find_sentences
from lm.tokenizer import encode_documents, load_tokenizer
from lm.tokenizers.config import TokenizerConfig, WordPieceConfig
from lm.words_in_tokens import WordStarts
from tests.lm.masked_corpus import ROBERTA, documents, make_index

TEXT = 'He saw Mr. Fox, e.g. at 3.14 p.m. today. "Is it so?" she said. No!! (Yes.) Go... on… Well. J. Smith came.'
SENTENCES = [
    "He saw Mr. Fox, e.g. at 3.14 p.m. today.",
    '"Is it so?"',
    "she said.",
    "No!!",
    "(Yes.)",
    "Go...",
    "on…",
    "Well.",
    "J. Smith came.",
]
CHINESE = "他说：“好！”我走了。真的？！是…。最后一句没有句号"
CHINESE_SENTENCES = ["他说：“好！”", "我走了。", "真的？！", "是…。", "最后一句没有句号"]


def squeezed(text: str) -> str:
    return "".join(text.split()).lower()


@pytest.mark.parametrize("kind", ["wordpiece", "byte_bpe"])
@pytest.mark.parametrize(("text", "expected"), [(TEXT, SENTENCES), (CHINESE, CHINESE_SENTENCES)])
def test_sentences_end_where_the_rule_says(tmp_path: Path, kind: str, text: str, expected: list[str]) -> None:
    config: TokenizerConfig = ROBERTA
    if kind == "wordpiece":
        config = WordPieceConfig(kind="wordpiece", vocab_size=300, min_frequency=1)
    # Often enough for every word, mark and character to be a token of its own.
    words = " ".join([text, *text.split(), "mr fox p m j e g"])
    index, folder = make_index(tmp_path, [text, *[words] * 40], config)
    tokenizer = load_tokenizer(folder)
    sentences = find_sentences(index, tokenizer, 100)
    stream = np.concatenate(
        [
            np.append(index.open()[0][start : start + length], 0)
            for start, length in zip(index.start, index.length, strict=True)
        ]
    ).astype(np.int64)
    found = [
        squeezed(tokenizer.decode(stream[low:high].tolist()).replace("##", ""))
        for low, high in zip(sentences.low, sentences.high, strict=True)
    ]
    document = int(np.flatnonzero(index.bytes == len(text.encode()))[0])
    here = found[sentences.first[document] : sentences.first[document + 1]]
    assert here == [squeezed(sentence) for sentence in expected]


def test_sentences_cut_documents_without_gap_and_long_ones_are_cut_evenly(tmp_path: Path) -> None:
    texts = [*documents(20), "word " * 100, "", "   "]
    index, folder = make_index(tmp_path, texts)
    sentences = find_sentences(index, load_tokenizer(folder), 16)
    assert (sentences.high - sentences.low).max() <= 16
    for document in range(len(index)):
        first, end = sentences.first[document], sentences.first[document + 1]
        if index.length[document]:
            low, high = sentences.low[first:end], sentences.high[first:end]
            assert low[0] == sentences.begin[document]
            assert high[-1] == sentences.begin[document] + index.length[document]
            assert (low[1:] == high[:-1]).all()
            assert (high > low).all()
        else:
            assert first == end
    assert sentences.begin[-1] == index.tokens + len(index)


def test_the_shortest_documents(tmp_path: Path) -> None:
    _, folder = make_index(tmp_path, documents(5))
    ends, stop = SentenceEnds(load_tokenizer(folder)), load_tokenizer(folder).token_to_id(".")
    assert not len(ends(np.empty(0, dtype=np.int64)))
    assert ends(np.array([stop]), np.array([False])).tolist() == [True]
    assert ends(np.array([stop, stop]), np.array([False, True])).tolist() == [True, True]


def test_words_begin_without_hashes_and_chinese_ones_where_the_segmenter_says(tmp_path: Path) -> None:
    text = "bakilo 我们爱北京 mu，天安门"
    _, folder = make_index(tmp_path, [text] * 5 + documents(30))
    tokenizer = load_tokenizer(folder)
    ids = encode_documents(tokenizer, [text])[0]
    names = [tokenizer.id_to_token(int(i)) for i in ids]
    plain = WordStarts(tokenizer)(ids)
    assert [name.startswith("##") for name in names] == (~plain).tolist()

    asked: list[str] = []

    def segment(run: str) -> list[str]:
        asked.append(run)
        return {"我们爱北京": ["我们", "爱", "北京"], "天安门": ["天安门"]}[run]

    starts = WordStarts(tokenizer, segment)(ids)
    assert asked == ["我们爱北京", "天安门"]
    words = np.split(np.array([name.removeprefix("##") for name in names]), np.flatnonzero(starts)[1:])
    assert ["".join(word) for word in words] == ["bakilo", "我们", "爱", "北京", "mu", "，", "天安门"]


def test_words_of_byte_level_tokens(tmp_path: Path) -> None:
    text = "baki lodemuna, 3.14 sa"
    _, folder = make_index(tmp_path, documents(30), ROBERTA)
    tokenizer = load_tokenizer(folder)
    ids = encode_documents(tokenizer, [text])[0]
    starts = WordStarts(tokenizer)(ids)
    words = [tokenizer.decode(part.tolist()) for part in np.split(ids, np.flatnonzero(starts)[1:])]
    assert words == ["baki", " lodemuna", ",", " ", "3", ".", "14", " sa"]
