"""Every kind of tokenizer: the library's ids, exact round trips, the same vocabulary whatever the order and threads."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from lm.tokenizer import (
    copy_tokenizer,
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
from lm.tokenizers.common import END_OF_TEXT
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling
from lm.tokenizers.word import word_pattern
from tests.lm.tokenizer_kinds import CONFIGS, LOSSLESS, NASTY, trained, training_texts

RECORDED = {
    "byte_bpe": "5f0a89d7b0cb",
    "character": "52af8a1576c9",
    "character-unk": "9dc5dd787666",
    "wordpiece": "e58bbaabf1c9",
    "wordpiece-cased": "d6a3ae40f9e8",
    "unigram": "835f563d2cff",
    "word": "71e265dfeab6",
    "word-separate": "cc096448d1a2",
}
"""What each kind learns, from the names of its tokens in order. If it changes, so must the version of the stage
`train_tokenizer` (tasks/tokenizer.py), or old tokenizers would be served for new settings."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kinds")
    return {kind: trained(kind, root / kind) for kind in CONFIGS}


@pytest.fixture(params=list(CONFIGS))
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def names(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.iterdir()))).hexdigest()


def test_what_is_learned_changes_only_with_the_version_of_the_stage(folders: dict[str, Path]) -> None:
    found = {
        kind: hashlib.sha256("\0".join(names(load_tokenizer(folder))).encode()).hexdigest()[:12]
        for kind, folder in folders.items()
    }
    assert found == RECORDED


def test_a_folder_says_its_kind(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    described = json.loads((folder / "tokenizer_config.json").read_text())
    assert described["kind"] == kind_of(tokenizer) == CONFIGS[folder.name].kind
    assert described["vocab_size"] == tokenizer.get_vocab_size() <= CONFIGS[folder.name].vocab_size
    assert (folder / "spelling.json").exists() == (unknown_id(tokenizer) is not None)


def test_the_order_of_documents_does_not_show(folder: Path, tmp_path: Path) -> None:
    texts = training_texts()
    for n in range(2):
        random.Random(n).shuffle(texts)
        train_tokenizer(texts, CONFIGS[folder.name], tmp_path / str(n))
        assert digest(tmp_path / str(n)) == digest(folder)


def test_neither_threads_nor_the_process_show(folders: dict[str, Path], tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.lm.tokenizer_kinds import CONFIGS, trained\n"
        "for kind in CONFIGS: trained(kind, Path(sys.argv[1]) / kind)"
    )
    for threads, seed in (("1", "0"), ("5", "77")):
        environment = {
            **os.environ,
            "RAYON_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.getcwd(),
        }
        subprocess.run([sys.executable, "-c", script, str(tmp_path / threads)], env=environment, check=True)
        assert {k: digest(tmp_path / threads / k) for k in CONFIGS} == {k: digest(f) for k, f in folders.items()}


def test_ids_are_those_of_the_library(folder: Path) -> None:
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.encode_special_tokens = True
    texts = NASTY + training_texts()[:20]
    ours = encode_documents(load_tokenizer(folder), texts)
    assert [i.tolist() for i in ours] == [library.encode(text, add_special_tokens=False).ids for text in texts]
    unknown = unknown_id(library)
    spans = encode_spans(load_tokenizer(folder), texts, unknown, Spelling.load(folder))
    assert [s.ids.tolist() for s in spans] == [i.tolist() for i in ours]


def test_auto_tokenizer_gives_the_same_ids_in_a_process_without_textmill(folders: dict[str, Path]) -> None:
    pytest.importorskip("transformers")
    texts = [text for text in NASTY if END_OF_TEXT not in text]  # there special tokens in a text are meant
    script = """
import json, sys
from transformers import AutoTokenizer
folders, texts = json.loads(sys.argv[1]), json.loads(sys.argv[2])
got = {}
for kind, folder in folders.items():
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    whole = tokenizer("a word")["input_ids"]
    got[kind] = [ids, [tokenizer.decode(i) for i in ids], whole, tokenizer.unk_token, tokenizer.mask_token,
                 tokenizer.eos_token_id, tokenizer.sep_token_id]
print(json.dumps(got))
"""
    given = {kind: str(folder) for kind, folder in folders.items()}
    command = [sys.executable, "-c", script, json.dumps(given), json.dumps(texts)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    for kind, folder in folders.items():
        tokenizer = load_tokenizer(folder)
        ids, back, whole, unknown, mask, end, sep = got[kind]
        assert ids == [i.tolist() for i in encode_documents(tokenizer, texts)], kind
        if kind in LOSSLESS:
            assert back == texts
        bert = kind.startswith("wordpiece")
        assert (sep if bert else end) == end_of_text_id(tokenizer)
        assert mask == ("[MASK]" if bert else None)
        assert (unknown is None) == (kind in ("byte_bpe", "character"))
        assert whole[0 : 1 if bert else 0] == ([2] if bert else [])  # [CLS] begins only BERT's input


@cache
def of_kind(kind: str) -> Tokenizer:
    """A tokenizer for many examples of hypothesis."""
    with TemporaryDirectory() as directory:
        return load_tokenizer(trained(kind, Path(directory)))


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


def test_what_tokens_stand_for_adds_up_to_the_text(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    unknown, spelling = unknown_id(tokenizer), Spelling.load(folder)
    for text, encoded in zip(NASTY, encode_spans(tokenizer, NASTY, unknown, spelling), strict=True):
        if len(encoded.ids):
            assert encoded.bytes.sum() == len(text.encode())
        else:
            assert not text.strip()
        assert ((encoded.spelling_nats > 0) == (encoded.ids == (-1 if unknown is None else unknown))).all()


@pytest.mark.parametrize("kind", ["word", "word-separate", "character-unk"])
def test_only_unknown_words_are_lost(folders: dict[str, Path], kind: str) -> None:
    """The names of known tokens and the bytes of unknown ones are the text."""
    tokenizer = load_tokenizer(folders[kind])
    unknown = unknown_id(tokenizer)
    for text in NASTY + training_texts()[:20]:
        (encoded,) = encode_spans(tokenizer, [text], unknown, Spelling.load(folders[kind]))
        raw, at = text.encode(), 0
        for token, size in zip(encoded.ids.tolist(), encoded.bytes.tolist(), strict=True):
            if token != unknown:
                assert raw[at : at + size].decode() == tokenizer.id_to_token(token)
            at += size
        assert at == len(raw)


def test_no_special_token_comes_from_a_text(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    assert end_of_text_id(tokenizer) in special
    lengths = token_byte_lengths(tokenizer)
    assert {int(i) for i in np.flatnonzero(lengths == 0)} == special - {unknown_id(tokenizer)}
    texts = [" ".join(tokenizer.id_to_token(i) for i in special), "".join(tokenizer.id_to_token(i) for i in special)]
    for ids in encode_documents(tokenizer, texts):
        assert not (special - {unknown_id(tokenizer)}) & set(ids.tolist())


@pytest.mark.parametrize("size", [300, 1000])
def test_a_huge_text_encodes_in_pieces_as_it_does_whole(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(folder)
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
    unknown, spelling = unknown_id(tokenizer), Spelling.load(folder)
    for text, encoded in zip(texts, encode_spans(tokenizer, texts, unknown, spelling), strict=True):
        assert encoded.bytes.sum() == len(text.encode())


@pytest.mark.parametrize("kind", list(CONFIGS))
@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="abé 模型한,.'1\n\t\x1c\x85\u2028\u0301", max_size=80), size=st.integers(4, 40))
def test_no_cut_shows_in_the_ids(kind: str, text: str, size: int) -> None:
    tokenizer = of_kind(kind)
    with patch.object(common, "CHUNK_CHARS", size):
        (got,) = encode_documents(tokenizer, [text])
    assert got.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_copy_is_the_same_to_the_byte(folder: Path, tmp_path: Path) -> None:
    copy_tokenizer(folder, tmp_path / "copy")
    assert digest(tmp_path / "copy") == digest(folder)


def test_chinese_is_handled_in_each(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    text = "模型学习数据中国语言"
    (ids,) = encode_documents(tokenizer, [text])
    got = [tokenizer.id_to_token(i) for i in ids]
    if kind_of(tokenizer) in ("word", "wordpiece") or folder.name == "character":
        assert got == list(text)
    if kind_of(tokenizer) == "unigram":
        assert got == ["模型", "学习", "数据", "中国", "语言"]


def test_no_text_is_an_error_for_each(folder: Path, tmp_path: Path) -> None:
    for texts in ([], ["", ""]):
        with pytest.raises(ValueError, match="there is no text to learn a tokenizer from"):
            train_tokenizer(texts, CONFIGS[folder.name], tmp_path)
    assert not list(tmp_path.iterdir())


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
