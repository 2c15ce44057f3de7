"""Every kind on real English and Chinese text: the library's ids on thousands of lines, every byte accounted for."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from lm.tokenizer import (
    encode_documents,
    has_fixed_bytes,
    load_tokenizer,
    token_byte_lengths,
    train_tokenizer,
    unknown_id,
)
from lm.tokenizers.config import parse_tokenizer_config
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling

pytestmark = pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs TEXTMILL_DATA")
LINES, TRAINED_ON = 10_000, 150_000
"""Of each language: lines that are encoded, and characters that a tokenizer is trained on."""


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    """English, Chinese."""
    return [list(corpus(name)) for name in ("corpus_en/part-001", "corpus_zh/part-000")]


def corpus(name: str) -> Iterator[str]:
    """The first documents of a file."""
    read = 0
    with pa.input_stream(str(Path(os.environ["TEXTMILL_DATA"]) / f"{name}.jsonl.zst"), compression="zstd") as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            text = json.loads(line)["text"]
            read += len(text.splitlines())
            yield text
            if read > LINES:
                return


def beginning(texts: list[str]) -> Iterator[str]:
    """Every other one, up to `TRAINED_ON` characters."""
    room = TRAINED_ON
    for text in texts[::2]:
        yield text[:room]
        room -= len(text)
        if room <= 0:
            return


@pytest.mark.parametrize("kind", ["byte_bpe", "character", "wordpiece", "unigram", "word"])
def test_real_text(tmp_path: Path, texts: list[list[str]], kind: str) -> None:
    seen = [text for language in texts for text in beginning(language)]
    train_tokenizer(seen, parse_tokenizer_config({"kind": kind, "vocab_size": 4000}), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    lines = [line for language in texts for text in language for line in text.splitlines(keepends=True)]
    assert len(lines) > 2 * LINES
    library = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    library.encode_special_tokens = True
    expected = [e.ids for e in library.encode_batch(lines, add_special_tokens=False)]
    assert [ids.tolist() for ids in encode_documents(tokenizer, lines)] == expected
    size = sum(len(line.encode()) for line in lines)
    if has_fixed_bytes(tokenizer):
        assert tokenizer.decode_batch(expected, skip_special_tokens=False) == lines
        assert token_byte_lengths(tokenizer)[np.concatenate(expected).astype(np.int64)].sum() == size
    else:
        encoded = encode_spans(tokenizer, lines, unknown_id(tokenizer), Spelling.load(tmp_path))
        blank = sum(len(line.encode()) for line, e in zip(lines, encoded, strict=True) if not len(e.ids))
        assert sum(int(e.bytes.sum()) for e in encoded) == size - blank
        assert [e.ids.tolist() for e in encoded] == expected
