"""Every kind of tokenizer: the library's ids, exact round trips, the same vocabulary whatever the order and threads."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from lm.tokenizer import (
    copy_tokenizer,
    encode_documents,
    end_of_text_id,
    kind_of,
    load_tokenizer,
    token_byte_lengths,
    train_tokenizer,
    unknown_id,
)
from lm.tokenizers.common import END_OF_TEXT
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling
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


def test_auto_tokenizer_gives_the_same_ids_in_a_process_without_textmill(
    folders: dict[str, Path], stranger: Callable[..., str]
) -> None:
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
    got = json.loads(stranger(script, json.dumps(given), json.dumps(texts)).splitlines()[-1])
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
