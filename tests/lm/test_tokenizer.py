"""The byte-level tokenizer: exact round trips, and the same bytes whatever the order and the threads."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from lm.stop import Interrupted
from lm.tokenizer import (
    END_OF_TEXT,
    encode_documents,
    end_of_text_id,
    has_fixed_bytes,
    kind_of,
    load_tokenizer,
    token_byte_lengths,
    train_tokenizer,
    unknown_id,
)
from lm.tokenizers import common
from lm.tokenizers.config import ByteBPEConfig
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling

NASTY = [
    "",
    " ",
    "plain words",
    "  two  spaces \t tab\r\n\n\nlines  ",
    "中文没有空格所以一个句子看起来像一个很长很长的词" * 9,
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 😀👩‍👩‍👧 e\u0301 \u200b\ufeff नमस्ते ภาษาไทย",
    "\x00\x01 control \x7f",
    "don't you'll I'm ''''s",
    "1234567890" * 20 + "!" * 100 + " " * 100 + "x",
    f"a document that says {END_OF_TEXT} in its text",
]


def digest(directory: Path) -> str:
    return hashlib.sha256((directory / "tokenizer.json").read_bytes()).hexdigest()


def test_the_order_of_documents_does_not_show(tmp_path: Path, documents: dict[str, str]) -> None:
    texts = list(documents.values())
    digests = set()
    for n in range(3):
        random.Random(n).shuffle(texts)
        train_tokenizer(texts, ByteBPEConfig(vocab_size=300), tmp_path / str(n))
        digests.add(digest(tmp_path / str(n)))
    assert len(digests) == 1


def test_the_number_of_threads_does_not_show(tmp_path: Path) -> None:
    script = (
        "import sys, random; from pathlib import Path; from lm.tokenizer import *; from lm.tokenizers.config import *;"
        "r = random.Random(0); w = [''.join(r.choices('abcdefgh模型', k=r.randint(1, 9))) for _ in range(3000)];"
        "t = [' '.join(r.choices(w, k=50)) for _ in range(400)];"
        "train_tokenizer(t, ByteBPEConfig(vocab_size=700), Path(sys.argv[1]))"
    )
    for threads in ("1", "2", "5"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONPATH": os.getcwd()}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / threads)], env=environment, check=True)
    assert len({digest(tmp_path / threads) for threads in ("1", "2", "5")}) == 1


@pytest.mark.parametrize("text", NASTY)
def test_decoding_gives_back_the_text(tokenizer_dir: Path, text: str) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    (ids,) = encode_documents(tokenizer, [text])
    assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == text


@pytest.mark.parametrize("text", NASTY)
def test_token_bytes_add_up_to_the_text(tokenizer_dir: Path, text: str) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    (ids,) = encode_documents(tokenizer, [text])
    assert token_byte_lengths(tokenizer)[ids].sum() == len(text.encode())


def test_special_tokens_stand_for_no_bytes_and_come_from_no_text(tokenizer_dir: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    end = end_of_text_id(tokenizer)
    assert token_byte_lengths(tokenizer)[end] == 0
    assert (token_byte_lengths(tokenizer) == 0).sum() == 1
    assert end not in encode_documents(tokenizer, [END_OF_TEXT])[0]


def test_no_word_is_longer_than_the_caps(tmp_path: Path) -> None:
    texts = ["数据模型学习" * 50 + " " + "a" * 300 + "9" * 200 + "-" * 200 + " " * 200] * 5
    config = ByteBPEConfig(vocab_size=2000, max_word_length=7, max_unsegmented_length=3)
    train_tokenizer(texts, config, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    words = [texts[0][slice(*span)] for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(texts[0])]
    assert {len(w.strip(" ")) for w in words if "a" in w} == {7, 300 % 7}
    assert {len(w.strip(" ")) for w in words if "模" in w or "据" in w} == {3}
    assert max(map(len, words)) == 8  # a space and 7
    assert "".join(words) == texts[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("we don't  stop", ["we", " don", "'t", " ", " stop"]),
        ("模型学习数据x9 ひらがな", ["模型学习", "数据", "x", "9", " ひらがな"]),
        ("हिन्दी cafe\u0301", ["हिन्दी", " cafe\u0301"]),
        ("a\n\n b", ["a", "\n\n", " b"]),
    ],
)
def test_pre_tokens(tokenizer_dir: Path, text: str, words: list[str]) -> None:
    pre_tokenizer = load_tokenizer(tokenizer_dir).pre_tokenizer
    assert [text[slice(*span)] for _, span in pre_tokenizer.pre_tokenize_str(text)] == words


def test_a_huge_text_is_encoded_in_pieces_and_to_the_same_tokens(
    tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    text = " ".join(NASTY) + "\n\n" + "the model's  data \n\n café" * 50
    (whole,) = encode_documents(tokenizer, [text])
    for size in (200, 333, 777):
        monkeypatch.setattr(common, "CHUNK_CHARS", size)
        pieces = list(common.pieces(tokenizer, text))
        assert "".join(pieces) == text
        assert max(map(len, pieces)) <= size
        first, second = encode_documents(tokenizer, [text, "the"])
        assert first.tolist() == whole.tolist()
        assert second.tolist() == encode_documents(tokenizer, ["the"])[0].tolist()


def test_the_sample_is_bounded_and_documents_are_counted(tmp_path: Path) -> None:
    seen: list[int] = []
    got = train_tokenizer(
        ("x" * 100 for _ in range(50)), ByteBPEConfig(sample_bytes=1000), tmp_path, progress=seen.append
    )
    assert got["documents"] == 10
    assert got["bytes"] == 1000
    assert sum(seen) == 10
    assert got["vocab_size"] == load_tokenizer(tmp_path).get_vocab_size() < 8192


def test_stopping_leaves_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="reading text for the tokenizer"):
        train_tokenizer(["a b"] * 5, ByteBPEConfig(), tmp_path, should_stop=lambda: True)
    assert not (tmp_path / "tokenizer.json").exists()


def test_bad_tokenizers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no text"):
        train_tokenizer([], ByteBPEConfig(), tmp_path)
    with pytest.raises(FileNotFoundError, match="no tokenizer there"):
        load_tokenizer(tmp_path)
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"tokenizer\.json: the tokenizer has no <\|endoftext\|> token, nor </s>"):
        load_tokenizer(tmp_path)
    Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"not byte-level .*: known kinds are byte_bpe, character, wordpiece"):
        load_tokenizer(tmp_path)


def test_tokenizers_of_others_are_scored_by_what_their_tokens_span(tmp_path: Path) -> None:
    """A SentencePiece-like one: marks for spaces, one put before the text, no bytes, `</s>` between documents."""
    names = ["<unk>", "</s>", "▁", "▁the", "▁cat", "s", "a"]
    library = Tokenizer(models.Unigram([(name, -float(n)) for n, name in enumerate(names)], 0, False))
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    library.add_special_tokens(["<unk>", "</s>"])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert (kind_of(tokenizer), end_of_text_id(tokenizer), unknown_id(tokenizer)) == ("unigram", 1, 0)
    assert not has_fixed_bytes(tokenizer)
    (encoded,) = encode_spans(tokenizer, ["the cats 模a"], 0, Spelling.load(tmp_path))
    assert [tokenizer.id_to_token(i) for i in encoded.ids] == ["▁the", "▁cat", "s", "▁", "<unk>", "a"]
    assert encoded.bytes.tolist() == [3, 4, 1, 1, 3, 1]
    assert (encoded.spelling_nats > 0).tolist() == [False] * 4 + [True, False]
    huge = "a" * (common.CHUNK_CHARS + 5)
    assert list(common.pieces(tokenizer, huge)) == [huge]  # a cut would put another mark before the rest


def test_one_that_is_kept_is_read_once_and_again_when_the_file_is_another(tmp_path: Path) -> None:
    """What has encoded a text is never freed whole by the library; of work on a thousand shards one is left."""
    train_tokenizer(["one two three"] * 9, ByteBPEConfig(vocab_size=258), tmp_path)
    first = load_tokenizer(tmp_path, kept=True)
    assert load_tokenizer(tmp_path, kept=True) is first
    assert load_tokenizer(tmp_path) is not first
    train_tokenizer(["four five six"] * 9, ByteBPEConfig(vocab_size=262), tmp_path)
    assert load_tokenizer(tmp_path, kept=True).get_vocab_size() == 262
