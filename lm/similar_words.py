"""Which words may stand for a word that is hidden: those of as many tokens whose vectors are nearest (MacBERT).

Cui et al. 2020, section 3.2, take them from a toolkit whose vectors are word2vec's ("Synonyms", for Chinese). Here
word2vec is trained on the text of the pretraining itself, on words as whole-word masking has them.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from lm.damaged import AGAIN, DamagedFile
from lm.special_tokens import special_ids
from lm.stop import ShouldStop, check, never
from lm.tokens import TokenIndex
from lm.train.hooks import Hooks
from lm.vectors.artifact import load_vectors
from lm.vectors.config import Word2VecConfig
from lm.vectors.train import train_vectors
from lm.weights import read_arrays
from lm.words_in_tokens import Segment, WordStarts

SIMILAR_FILE = "similar_words.safetensors"
SIMILAR = 10  # words that may stand for another
BLOCK = 128  # words whose neighbours are looked for at once
SEPARATOR = "_"  # between the ids of the tokens of one word
NOTHING = np.zeros((0, 0), dtype=np.int64)


class SimilarWords:
    """Words by the number of their tokens.

    `words[n]`: int32 [count, n], the tokens of each, the most frequent in front. `near[n]`: int32 [count, k], rows of
    `words[n]`, the nearest in front, -1 where there are fewer.
    """

    def __init__(self, words: dict[int, np.ndarray], near: dict[int, np.ndarray]) -> None:
        self.words, self.near = words, near

    def __len__(self) -> int:
        return sum(map(len, self.words.values()))

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        return {word.tobytes(): row for words in self.words.values() for row, word in enumerate(words)}

    def of(self, word: np.ndarray) -> np.ndarray:
        """What may stand for a word of these token ids: int [words, tokens], none if nothing is known of it."""
        row = self._rows.get(np.ascontiguousarray(word, dtype=np.int32).tobytes())
        if row is None:
            return NOTHING
        near = self.near[len(word)][row]
        return self.words[len(word)][near[near >= 0]]

    def most_frequent(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The first words of each number of tokens, and what may stand for them."""
        return [(word, self.of(word)) for words in self.words.values() for word in words[:count]]

    @cached_property
    def fingerprint(self) -> str:
        """Of all that `of` can say."""
        said = hashlib.blake2b(digest_size=8)
        for tokens in sorted(self.words):
            said.update(np.ascontiguousarray(self.words[tokens]).tobytes())
            said.update(np.ascontiguousarray(self.near[tokens]).tobytes())
        return said.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the file of a folder, whole or not at all."""
        arrays = {f"words.{tokens}": words for tokens, words in self.words.items()}
        arrays |= {f"near.{tokens}": near for tokens, near in self.near.items()}
        partial = folder / f"{SIMILAR_FILE}.tmp"
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
        os.replace(partial, folder / SIMILAR_FILE)

    @classmethod
    def load(cls, folder: Path) -> "SimilarWords":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError, DamagedFile: naming the file.
        """
        path = folder / SIMILAR_FILE
        found: dict[str, dict[int, np.ndarray]] = {"words": {}, "near": {}}
        for name, array in read_arrays(path).items():
            kind, _, length = name.partition(".")
            if kind not in found or not length.isdecimal() or array.ndim != 2 or array.dtype != np.int32:
                raise DamagedFile(f"{path}: {name} is no part of similar words: {AGAIN}")
            found[kind][int(length)] = array
        words, near = found["words"], found["near"]
        for tokens in words.keys() | near.keys():
            rows, others = words.get(tokens, NOTHING), near.get(tokens, NOTHING)
            outside = others.min(initial=0) < -1 or others.max(initial=-1) >= len(rows)
            if rows.shape[1] != tokens or len(rows) != len(others) or outside:
                raise DamagedFile(f"{path}: words of {tokens} tokens and their neighbours do not fit: {AGAIN}")
        return cls(words, near)


def find_similar_words(
    index: TokenIndex,
    tokenizer: Tokenizer,
    segment: Segment | None,
    config: Word2VecConfig,
    scratch: Path,
    *,
    count: int = SIMILAR,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
) -> SimilarWords:
    """Train vectors of the words of a token index and find the `count` nearest of each.

    Goes on from the newest checkpoint of the vectors in `scratch`. A word that is seen less than `config.min_count`
    times has no vector and is not among the similar words. `segment` cuts Chinese into words; None: a character is one.

    Raises Interrupted, ResumeError, NonFiniteError and ValueError as `train_vectors` does.
    """
    starts, special = WordStarts(tokenizer, segment), np.array(sorted(special_ids(tokenizer)))
    lines = _words_of(index, starts, special, should_stop)
    folder = scratch / "vectors"
    train_vectors(lines, None, config, scratch, folder, hooks=hooks, should_stop=should_stop)
    vectors = load_vectors(folder)
    spelled = [np.array(word.split(SEPARATOR), dtype=np.int32) for word in vectors.words]
    lengths = np.array([len(word) for word in spelled])
    words, near = {}, {}
    for tokens in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == tokens)
        words[tokens] = np.stack([spelled[row] for row in rows])
        near[tokens] = _nearest(vectors.directions[rows], count, should_stop)
    return SimilarWords(words, near)


def _words_of(index: TokenIndex, starts: WordStarts, special: np.ndarray, should_stop: ShouldStop) -> Iterator[str]:
    """The words of each document in a line, a word as the ids of its tokens; `special` ones, `[UNK]` among them, are in
    none: they never stand for text."""
    shards = index.open()
    for shard, start, length in zip(index.shard.tolist(), index.start.tolist(), index.length.tolist(), strict=True):
        check(should_stop, "reading words")
        ids = np.asarray(shards[shard][start : start + length])
        none = np.isin(ids, special)
        begins = starts(ids)
        begins[1:] |= none[:-1]
        names = [
            f" {id}" if begin else f"{SEPARATOR}{id}" for id, begin in zip(ids.tolist(), begins.tolist(), strict=True)
        ]
        yield "".join(" " if nothing else name for nothing, name in zip(none.tolist(), names, strict=True))


def _nearest(directions: np.ndarray, count: int, should_stop: ShouldStop) -> np.ndarray:
    """For each row the rows of the greatest cosine, itself left out, the nearest in front: int32 [rows, count], filled
    up with -1. Equal cosines stand in the order of their rows."""
    near = np.full((len(directions), count), -1, dtype=np.int32)
    others = min(count, len(directions) - 1)
    for low in range(0, len(directions), BLOCK):
        check(should_stop, "looking for similar words")
        cosines = directions[low : low + BLOCK] @ directions.T
        own = np.arange(len(cosines))
        cosines[own, low + own] = -2.0
        if not others:
            continue
        least = np.partition(cosines, -others, axis=1)[:, -others]
        for row, (of_row, edge) in enumerate(zip(cosines, least, strict=True)):
            found = np.flatnonzero(of_row >= edge)
            near[low + row, :others] = found[np.argsort(-of_row[found], kind="stable")][:others]
    return near
