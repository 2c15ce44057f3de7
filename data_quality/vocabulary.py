"""The words of many documents as small integers, with what the signals ask of each distinct word beside them."""

from itertools import chain

import numpy as np

from data_quality.characters import class_table, code_points
from data_quality.ngrams import describe_words
from data_quality.words import chunk_splitter, spacy_tokens

# "at least two of the following English words": Gopher, arXiv 2112.11446, section A.1.1
GOPHER_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

WHITE_SPACE = 0  # the token id of a run of white space other than one space

_MAX_ENTRIES = 400_000
_MAX_CHARACTERS = 64_000_000
_LONGEST_CACHED_CHUNK = 256


class Vocabulary:
    """Interns words; `lengths[id]`, `hashes[id]`, ... say what is known of a word after `describe`.

    Ids mean something within one document only: the caller calls `make_room` between documents, which forgets
    everything once the tables are full. No signal depends on the value of an id.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._ids = _Ids({" ": WHITE_SPACE})
        self._chunks = _Chunks(self._ids)
        self._described = 0
        self._characters = 0
        self.lengths = np.zeros(1, dtype=np.int32)
        self.hashes = np.zeros(1, dtype=np.uint64)
        self.powers = np.zeros(1, dtype=np.uint64)
        self.is_symbol = np.zeros(1, dtype=np.bool_)
        self.has_letter = np.zeros(1, dtype=np.bool_)
        self.kinds = np.zeros(1, dtype=np.uint8)
        self.describe()
        self.stop_words = tuple(self._ids[word] for word in GOPHER_STOP_WORDS)

    def make_room(self) -> None:
        """Forget all words if the tables have grown beyond about 150 MB."""
        if len(self._chunks) > _MAX_ENTRIES or self._characters > _MAX_CHARACTERS:
            self._clear()

    def tokens(self, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of some lines in a row, int32[tokens], and where each line starts in them, int64[lines + 1].

        A token is a word or, as `WHITE_SPACE`, a run of white space that spaCy keeps as a token: any but one space.
        """
        lines = [line[:-1] if line.endswith(" ") else line for line in lines]  # that space is part of the word's token
        written = [line for line in lines if line]
        chunks = [*map(self._chunks.__getitem__, " ".join(written).split(" "))] if written else []
        ends = np.cumsum(np.fromiter(map(len, chunks), dtype=np.int64, count=len(chunks)))
        ids = np.fromiter(chain.from_iterable(chunks), dtype=np.int32, count=int(ends[-1]) if chunks else 0)
        chunks_before = np.cumsum([0, *(line.count(" ") + 1 if line else 0 for line in lines)])
        return ids, np.concatenate([[0], ends])[chunks_before]

    def describe(self) -> None:
        """Fill the columns for words that came since the last call."""
        new = self._ids.new
        if not new:
            return
        codes = code_points("".join(new))
        ends = np.cumsum(np.fromiter(map(len, new), dtype=np.int64, count=len(new)))
        described = describe_words(codes, ends, class_table())
        first = self._described
        self._described += len(new)
        self._characters += len(codes)
        names = ("lengths", "hashes", "powers", "is_symbol", "has_letter", "kinds")
        for name, values in zip(names, described, strict=True):
            column = getattr(self, name)
            if self._described > len(column):
                column = np.concatenate([column, np.zeros(self._described, dtype=column.dtype)])
                setattr(self, name, column)
            column[first : self._described] = values
        new.clear()


class _Ids(dict[str, int]):
    """Word to id; a word not seen before gets the next one and stands in `new` until it is described."""

    def __init__(self, known: dict[str, int]) -> None:
        super().__init__(known)
        self.new = list(known)

    def __missing__(self, word: str) -> int:
        self[word] = at = len(self)
        self.new.append(word)
        return at


class _Chunks(dict[str, tuple[int, ...]]):
    """Characters between two spaces (so a tab may be inside, and none at all) to token ids, learnt as they come."""

    def __init__(self, ids: _Ids) -> None:
        super().__init__({"": (WHITE_SPACE,)})
        self._ids = ids
        self._split = chunk_splitter()

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        ids = self._ids
        words = spacy_tokens(chunk, self._split)
        found = tuple([WHITE_SPACE if word.isspace() else ids[word] for word in words])
        if len(chunk) <= _LONGEST_CACHED_CHUNK:
            self[chunk] = found
        return found
