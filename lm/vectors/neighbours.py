"""Word vectors in use: neighbours, analogies, similarity, and the mean vector of a text."""

import difflib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from lm.ngram.words import split_words
from lm.tokenizer import encode_documents, kind_of, unknown_id
from lm.vectors.vocabulary import SPACE, Vocabulary, token_names

SUGGESTED_AMONG = 20_000  # words, the most frequent
NO_WORD = -2


class UnknownWord(ValueError):
    """A word that has no vector."""


class Embedded(NamedTuple):
    """The mean of the vectors of a text's words, float32 [dimensions] (zeros if none is known), and of how many."""

    vector: np.ndarray
    known: int
    words: int


class WordVectors:
    """One vector for each word of a vocabulary; `described` is what the model's config.json says.

    vectors: float32 [words, dimensions]. tokenizer: of a model of tokens, whose words are its tokens.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        vectors: np.ndarray,
        described: dict[str, Any] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        if len(vocabulary) != len(vectors):
            raise ValueError(f"{len(vocabulary)} words, {len(vectors)} vectors")
        self.vocabulary, self.vectors = vocabulary, vectors
        self.described, self.tokenizer = described or {}, tokenizer

    def __len__(self) -> int:
        return len(self.vocabulary)

    @property
    def words(self) -> tuple[str, ...]:
        """The words by falling count."""
        return self.vocabulary.words

    @cached_property
    def directions(self) -> np.ndarray:
        """The vectors at length 1 (a vector of zeros stays one), float32 [words, dimensions]."""
        lengths = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors, dtype=np.float64))[:, None]
        return (self.vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    @cached_property
    def _token_rows(self) -> np.ndarray:
        """The row of each token of the tokenizer, -1 for a word without a vector, NO_WORD for what is no word."""
        assert self.tokenizer is not None
        rows = [self.vocabulary.rows.get(name, -1) if name else NO_WORD for name in token_names(self.tokenizer)]
        if (unknown := unknown_id(self.tokenizer)) is not None:
            rows[unknown] = -1
        return np.array(rows, dtype=np.int64)

    def row(self, word: str) -> int:
        """The row of a word; in a model of pieces, that of the piece with a space before it where there is one.

        Raises UnknownWord naming words that look like it.
        """
        for name in (SPACE + word, word):
            if name in self.vocabulary.rows:
                return self.vocabulary.rows[name]
        raise UnknownWord(self._unknown(word))

    def _unknown(self, word: str) -> str:
        rows = self.vocabulary.rows
        near = [form for form in (word.lower(), word.capitalize(), word.upper()) if form in rows and form != word]
        near += [w for w in difflib.get_close_matches(word, self.words[:SUGGESTED_AMONG], n=4) if w not in near]
        hint = f"; did you mean {', '.join(map(repr, near[:4]))}?" if near else ""
        seen = f"; it has those of {len(self):,} words"
        if "min_count" in self.described:
            seen += f" seen {self.described['min_count']} times or more"
        pieces = ""
        if self.tokenizer is not None and len(cut := self.tokenizer.encode(word, add_special_tokens=False).tokens) > 1:
            pieces = f" (its tokenizer cuts it into {' '.join(cut)})"
        return f"the model has no vector of {word!r}{pieces}{seen}{hint}"

    def vector(self, word: str) -> np.ndarray:
        """The vector of a word, float32 [dimensions]. Raises UnknownWord."""
        return np.asarray(self.vectors[self.row(word)])

    def similarity(self, word: str, other: str) -> float:
        """The cosine of the angle between two words. Raises UnknownWord."""
        return float(self.directions[self.row(word)] @ self.directions[self.row(other)])

    def neighbours(self, word: str, n: int = 10) -> list[tuple[str, float]]:
        """The `n` words of greatest cosine, without the word itself. Raises UnknownWord."""
        row = self.row(word)
        return self.nearest(self.directions[row], n, [row])

    def analogy(self, a: str, b: str, c: str, n: int = 1) -> list[tuple[str, float]]:
        """What is to `c` as `b` is to `a`: the words nearest to b - a + c, without these three.

        Directions are added, not vectors (3CosAdd; Mikolov et al. 2013c). Raises UnknownWord.
        """
        rows = [self.row(word) for word in (a, b, c)]
        d = self.directions[rows]
        return self.nearest(d[1] - d[0] + d[2], n, rows)

    def nearest(self, vector: np.ndarray, n: int, without: Sequence[int] = ()) -> list[tuple[str, float]]:
        """The `n` words of greatest cosine with a vector, less the rows in `without`; of equals the more frequent."""
        cosines = self.directions @ (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
        cosines[list(without)] = -np.inf
        order = np.argsort(-cosines, kind="stable")[: max(0, min(n, len(self) - len(set(without))))]
        return [(self.words[row], float(cosines[row])) for row in order.tolist()]

    def text_rows(self, text: str) -> list[int]:
        """The row of each word of a text, -1 for one without a vector. White space is no word."""
        rows = self.vocabulary.rows
        if self.tokenizer is None:
            return [rows.get(word, -1) for line in text.splitlines() for word in split_words(line)]
        if kind_of(self.tokenizer) == "word":  # a word may be in its list with a space before it only
            cut = self.tokenizer.pre_tokenizer.pre_tokenize_str(text)
            return [rows.get(word, -1) for word in (piece.strip() for piece, _ in cut) if word]
        found = self._token_rows[encode_documents(self.tokenizer, [text])[0]]
        return [int(row) for row in found if row != NO_WORD]

    def embed(self, text: str) -> Embedded:
        """The mean of the vectors of the words of a text; words without a vector do not count."""
        rows = self.text_rows(text)
        known = [row for row in rows if row >= 0]
        if not known:
            return Embedded(np.zeros(self.vectors.shape[1], dtype=np.float32), 0, len(rows))
        return Embedded(self.vectors[known].mean(axis=0, dtype=np.float64).astype(np.float32), len(known), len(rows))
