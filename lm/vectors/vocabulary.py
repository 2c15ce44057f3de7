"""The words that have vectors, and which token of a tokenizer means which of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from lm.config import StrictModel
from lm.damaged import VOCABULARY_BYTES, read_json, validated
from lm.tokenizer import kind_of, unknown_id

WORDS_FILE = "words.json"
SPACE = "▁"
"""Stands for a space in the name of a piece, as in SentencePiece."""


class _Stored(StrictModel):
    """What `words.json` says."""

    words: tuple[str, ...]
    counts: tuple[Annotated[int, Field(strict=True, ge=0, lt=2**63)], ...]


@dataclass(frozen=True)
class Vocabulary:
    """Words by falling count; word i is row i of the vectors. counts: int64 [words]."""

    words: tuple[str, ...]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each word. Raises ValueError if one stands twice."""
        rows = {word: row for row, word in enumerate(self.words)}
        if len(rows) != len(self.words):
            twice = next(word for row, word in enumerate(self.words) if rows[word] != row)
            raise ValueError(f"the word {twice!r} stands twice in the vocabulary")
        return rows

    def save(self, folder: Path) -> None:
        described = {"words": self.words, "counts": self.counts.tolist()}
        (folder / WORDS_FILE).write_text(json.dumps(described, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Vocabulary":
        """Raises FileNotFoundError or ValueError saying what is wrong."""
        path = folder / WORDS_FILE
        if not path.exists():
            raise FileNotFoundError(f"{path}: no words there")
        described = validated(_Stored, read_json(path, VOCABULARY_BYTES), path)
        words, counts = described.words, np.array(described.counts, dtype=np.int64)
        if len(words) != len(counts):
            raise ValueError(f"{path}: {len(words)} words, {len(counts)} counts")
        return cls(words, counts)


def token_names(tokenizer: Tokenizer) -> list[str]:
    """The word that each token means, "" for one that is no word: special tokens, `<unk>`, and white space.

    Tokens of whole words (kind `word`) mean the same with a space before them and without. A piece of any other kind is
    a word of its own, its spaces written as ▁.
    """
    kind, unknown = kind_of(tokenizer), unknown_id(tokenizer)
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    raw = [str(tokenizer.id_to_token(id)) for id in range(tokenizer.get_vocab_size())]
    texts = raw
    if kind == "byte_bpe":
        decoded = [str(tokenizer.decode([id], skip_special_tokens=False)) for id in range(len(raw))]
        # Some bytes of a character are no text: their names must be those of no other token.
        texts = [f"<bytes:{name}>" if "\ufffd" in text else text for name, text in zip(raw, decoded, strict=True)]
    names = [text.strip() if kind == "word" else text.replace(" ", SPACE) for text in texts]
    blank = {id for id, text in enumerate(texts) if not text.strip()}
    left_out = special | blank | {unknown}
    return ["" if id in left_out else name for id, name in enumerate(names)]


def rows_of_tokens(names: Sequence[str], counts: np.ndarray, min_count: int) -> tuple[Vocabulary, np.ndarray]:
    """The words seen `min_count` times or more, and the row of each token, int32 [tokens], -1 for none.

    names, counts: of each token. Words stand by falling count, then by their characters.
    """
    total: dict[str, int] = {}
    for name, count in zip(names, counts.tolist(), strict=True):
        if name:
            total[name] = total.get(name, 0) + count
    words = sorted((word for word, count in total.items() if count >= min_count), key=lambda word: (-total[word], word))
    vocabulary = Vocabulary(tuple(words), np.array([total[word] for word in words], dtype=np.int64))
    rows = np.array([vocabulary.rows.get(name, -1) for name in names], dtype=np.int32)
    return vocabulary, rows
