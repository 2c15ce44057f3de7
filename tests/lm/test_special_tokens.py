"""The special tokens of masked language models, in WordPiece and in byte-level BPE."""

import json
from pathlib import Path

import pytest

from lm.special_tokens import special_ids, special_tokens
from lm.tokenizer import encode_documents, end_of_text_id, load_tokenizer, token_byte_lengths, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig
from tests.lm.masked_corpus import ROBERTA, documents


def test_roberta_has_them_first_and_every_string_an_encoding(tmp_path: Path) -> None:
    train_tokenizer(documents(10), ROBERTA, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert [tokenizer.id_to_token(i) for i in range(4)] == ["<s>", "<pad>", "</s>", "<mask>"]
    assert special_tokens(tokenizer)._asdict() == {"pad": 1, "cls": 0, "sep": 2, "mask": 3}
    assert special_ids(tokenizer) == {0, 1, 2, 3}
    assert end_of_text_id(tokenizer) == 2
    assert tokenizer.get_vocab_size() == 400
    text = " <mask> is text here: 模型 </s>"
    ids = encode_documents(tokenizer, [text])[0]
    assert ids.min() > 3
    assert tokenizer.decode(ids.tolist()) == text
    assert token_byte_lengths(tokenizer)[ids].sum() == len(text.encode())
    described = json.loads((tmp_path / "tokenizer_config.json").read_text())
    roles = {name: value for name, value in described.items() if name.endswith("_token")}
    assert roles == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }


def test_without_being_asked_byte_level_bpe_is_as_it_was(tmp_path: Path) -> None:
    train_tokenizer(documents(10), ByteBPEConfig(vocab_size=300), tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    assert [token["content"] for token in content["added_tokens"]] == ["<|endoftext|>"]
    assert content["post_processor"] is None
    with pytest.raises(ValueError, match=r"needs kind: wordpiece, or byte_bpe with special_tokens: roberta"):
        special_tokens(load_tokenizer(tmp_path))


def test_wordpiece_has_berts(tmp_path: Path) -> None:
    train_tokenizer(documents(10), WordPieceConfig(kind="wordpiece", vocab_size=100), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert special_tokens(tokenizer) == (0, 2, 3, 4)
    assert special_ids(tokenizer) == {0, 1, 2, 3, 4}


def test_a_vocabulary_without_room_is_refused() -> None:
    assert ByteBPEConfig(vocab_size=257).special_tokens == "gpt"
    with pytest.raises(ValueError, match="259 has no room for 256 bytes and 4 special tokens"):
        ByteBPEConfig(vocab_size=259, special_tokens="roberta")
