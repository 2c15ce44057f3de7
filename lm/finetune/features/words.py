"""How feature models cut texts into words, and what they make of words that they do not know.

Every text becomes ids, of which one at least: a text without a word is one unknown word. `read` and `unknown` count.
"""

import hashlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.characters import bare, character_ids, vocabulary_characters
from lm.tokenizer import (
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    copy_tokenizer,
    encode_documents,
    end_of_text_id,
    unknown_id,
)
from lm.tokenizers.spelling import SPELLING_FILE
from lm.translator import SOURCE
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import WORDS_FILE


class Words(ABC):
    """Cuts texts into words with ids. `nothing` is the id that stands for a text without a word."""

    nothing: int

    def __init__(self) -> None:
        self.read = self.unknown = 0

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text's words, int64, one at least."""
        found = self.ids(texts)
        self.read += sum(map(len, found))
        self.unknown += sum(int(self.is_unknown(ids).sum()) for ids in found)
        return [ids if len(ids) else np.array([self.nothing], np.int64) for ids in found]

    @abstractmethod
    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text's words, int64, perhaps none."""

    @abstractmethod
    def is_unknown(self, ids: np.ndarray) -> np.ndarray:
        """Whether each is a word that the model was not trained on, bool."""

    def not_known(self) -> str | None:
        """What is to be said of words that the model does not know; None if it knows all."""
        if not self.unknown:
            return None
        share = f"{self.unknown:,} of {self.read:,} words ({self.unknown / self.read:.1%})"
        return f"{share} are not in the model's vocabulary: {self.instead}"

    instead: str
    """What they are read as."""


class TableWords(Words):
    """Words of a table of vectors; those without one share a row of zeros behind the others."""

    instead = "their vectors are zeros"

    def __init__(self, vectors: WordVectors) -> None:
        super().__init__()
        self.vectors, self.nothing = vectors, len(vectors)

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        rows = [np.array(self.vectors.text_rows(text), np.int64) for text in texts]
        return [np.where(of < 0, self.nothing, of) for of in rows]

    def is_unknown(self, ids: np.ndarray) -> np.ndarray:
        return np.asarray(ids == self.nothing)


@dataclass
class NewWords:
    """Words that a vocabulary lacks, in the order in which they came."""

    words: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def place(self, word: str) -> int:
        """The word's place among them, from 0."""
        if word not in self.places:
            self.places[word] = len(self.words)
            self.words.append(word)
        return self.places[word]


_of_this_call: ContextVar[NewWords | None] = ContextVar("new_words", default=None)


@contextmanager
def forgetting() -> Iterator[None]:
    """Inside the block, words that a vocabulary lacks get ids that mean something there alone.

    Else a served model would keep the words of all its callers, and those in several threads would get one id for two.
    """
    token = _of_this_call.set(NewWords())
    try:
        yield
    finally:
        _of_this_call.reset(token)


class CharacterWords(Words):
    """ELMo's words, as `lm.texts.elmo` cuts them, white space left out. A word that the vocabulary lacks is read by its
    characters all the same: it gets an id behind the vocabulary's, for as long as this object lives, or for a block of
    `forgetting`."""

    instead = "they are read by their characters"

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        super().__init__()
        self.tokenizer, self.length = tokenizer, length
        self.own = vocabulary_characters(tokenizer, length)
        self.edge = self.nothing = end_of_text_id(tokenizer)
        vocabulary = tokenizer.get_vocab()
        special = {unknown_id(tokenizer), self.edge}
        self.places = {bare(word): id for word, id in sorted(vocabulary.items()) if id not in special}
        self.vocab, self.kept = len(self.own), NewWords()

    @property
    def new(self) -> NewWords:
        """The words behind the vocabulary's: those of the block of `forgetting`, or all so far."""
        of_this_call = _of_this_call.get()
        return self.kept if of_this_call is None else of_this_call

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._ids(text) for text in texts]

    def _ids(self, text: str) -> np.ndarray:
        words = [bare(word) for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        return np.array([self._id(word) for word in words if not word.isspace()], np.int64)

    def _id(self, word: str) -> int:
        known = self.places.get(word)
        return self.vocab + self.new.place(word) if known is None else known

    def is_unknown(self, ids: np.ndarray) -> np.ndarray:
        return np.asarray(ids >= self.vocab)

    def characters(self, ids: Tensor) -> Tensor:
        """Of words, int64 [n] -> int16 [n, length]."""
        places = ids.cpu().numpy()
        rows = self.own[np.minimum(places, self.vocab - 1)]
        new = np.flatnonzero(places >= self.vocab)
        rows[new] = character_ids([self.new.words[place - self.vocab] for place in places[new]], self.length)
        return torch.from_numpy(rows).to(ids.device)


class TokenWords(Words):
    """The tokens of a translator's source; `edge`, its end token, is added where the encoder reads."""

    instead = "they are read as its unknown token"

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer, self.edge = tokenizer, end_of_text_id(tokenizer)
        self.nothing, self.unknown_token = self.edge, unknown_id(tokenizer)

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        return encode_documents(self.tokenizer, list(texts))

    def is_unknown(self, ids: np.ndarray) -> np.ndarray:
        return np.asarray(ids == (-1 if self.unknown_token is None else self.unknown_token))


CUTTING_FILES = (WORDS_FILE, TOKENIZER_FILE, SPELLING_FILE, TOKENIZER_CONFIG_FILE)
"""What cuts texts for a fine-tuned model: what `copy_words` and, for all other kinds, `copy_tokenizer` leave in its
folder."""


def copy_words(source: Path, folder: Path) -> None:
    """Put what cuts a feature model's texts into a fine-tuned model's folder."""
    if (source / WORDS_FILE).exists():
        shutil.copyfile(source / WORDS_FILE, folder / WORDS_FILE)
    place = source / SOURCE if (source / SOURCE).is_dir() else source
    if (place / TOKENIZER_FILE).exists():
        copy_tokenizer(place, folder)


def words_sha256(folder: Path) -> str:
    """The identity of what cuts a feature model's texts, from its own folder."""
    digest = hashlib.sha256()
    for path in (folder / WORDS_FILE, folder / TOKENIZER_FILE, folder / SOURCE / TOKENIZER_FILE):
        if path.exists():
            digest.update(path.read_bytes())
    return digest.hexdigest()
