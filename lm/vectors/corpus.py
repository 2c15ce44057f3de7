"""A text as rows of vectors: what both models train on, read once and kept on disk.

Words without a vector (too rare, unknown, white space, special) are gone before windows are cut, as in word2vec. A
document, or a line of words, is one sequence or, beyond MAX_SEQUENCE words, several; no window reaches across.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lm.ngram.stream import index_stream
from lm.ngram.words import WordVocabulary, read_words, word_stream
from lm.stop import ShouldStop, check, never
from lm.tokenizer import load_tokenizer
from lm.tokens import TokenIndex, tokenizer_sha256
from lm.vectors.vocabulary import Vocabulary, rows_of_tokens, token_names

MAX_SEQUENCE = 10_000
ROWS_FILE = "rows.i32"


@dataclass(frozen=True)
class Corpus:
    """Sequence s is rows[offsets[s]:offsets[s + 1]]; rows: int32 [words], offsets: int64 [sequences + 1]."""

    vocabulary: Vocabulary
    rows: np.ndarray
    offsets: np.ndarray
    tokenizer: Path | None
    fingerprint: str

    @property
    def unit(self) -> str:
        """What a word is: a token of the tokenizer, or what stands between spaces."""
        return "word" if self.tokenizer is None else "token"


def corpus_of_tokens(
    index: TokenIndex, tokenizer_dir: Path, min_count: int, scratch: Path, should_stop: ShouldStop = never
) -> Corpus:
    """The documents of a token index, read into files of `scratch`.

    Raises ValueError if the tokens are another tokenizer's or too few words are left.
    """
    if index.tokenizer_sha256 != tokenizer_sha256(tokenizer_dir):
        raise ValueError(f"the tokens were made by another tokenizer than {tokenizer_dir}: tokenize the text with it")
    tokenizer: Tokenizer = load_tokenizer(tokenizer_dir)
    counts = np.zeros(index.vocab, dtype=np.int64)
    for chunk in index_stream(index):
        check(should_stop, "counting words")
        counts += np.bincount(chunk, minlength=index.vocab)
    vocabulary, rows = rows_of_tokens(token_names(tokenizer), counts, min_count)
    return _read(
        lambda: index_stream(index), rows, index.end_of_text, vocabulary, tokenizer_dir, min_count, scratch, should_stop
    )


def corpus_of_words(lines: Iterable[str], min_count: int, scratch: Path, should_stop: ShouldStop = never) -> Corpus:
    """Lines of words with white space between them, read into files of `scratch`.

    Raises ValueError if too few words are left.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    words, ids = read_words(lines, min_count, scratch / "words.raw", should_stop)
    rows = np.arange(len(words), dtype=np.int32) - 2  # <unk> and the line's end have none
    counts = np.zeros(len(words), dtype=np.int64)
    for chunk in word_stream(scratch / "words.raw", ids):
        counts += np.bincount(chunk, minlength=len(words))
    vocabulary = Vocabulary(words.words[2:], counts[2:])
    stream = lambda: word_stream(scratch / "words.raw", ids)  # noqa: E731
    corpus = _read(stream, rows, WordVocabulary.boundary, vocabulary, None, min_count, scratch, should_stop)
    (scratch / "words.raw").unlink()
    return corpus


def _read(
    stream: Callable[[], Iterator[np.ndarray]],
    row_of: np.ndarray,
    boundary: int,
    vocabulary: Vocabulary,
    tokenizer: Path | None,
    min_count: int,
    scratch: Path,
    should_stop: ShouldStop,
) -> Corpus:
    if len(vocabulary) < 2:
        raise ValueError(
            f"{len(vocabulary)} words occur {min_count} times or more: there is nothing to tell apart; give more text"
            " or a smaller min_count"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    content = hashlib.blake2b("\n".join(vocabulary.words).encode("utf-8", "surrogatepass"), digest_size=16)
    ends: list[np.ndarray] = []
    written = 0
    with (scratch / ROWS_FILE).open("wb") as out:
        for chunk in stream():
            check(should_stop, "reading words")
            edges = chunk == boundary
            rows = row_of[chunk]
            kept = (rows >= 0) & ~edges
            ends.append(written + np.cumsum(kept)[edges])
            rows = rows[kept]
            written += len(rows)
            out.write(rows.data)
            content.update(rows.data)
    offsets = _cut(np.unique(np.concatenate([[0], *ends, [written]])))
    content.update(offsets.data)
    stored = np.memmap(scratch / ROWS_FILE, dtype=np.int32, mode="r")
    return Corpus(vocabulary, stored, offsets, tokenizer, content.hexdigest())


def _cut(offsets: np.ndarray) -> np.ndarray:
    """The same sequences, those of more than MAX_SEQUENCE words in pieces."""
    lengths = np.diff(offsets)
    long = np.flatnonzero(lengths > MAX_SEQUENCE)
    more = [np.arange(offsets[s] + MAX_SEQUENCE, offsets[s + 1], MAX_SEQUENCE) for s in long]
    return np.sort(np.concatenate([offsets, *more])).astype(np.int64)
