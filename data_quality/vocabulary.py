"""The words of many documents as small integers, with what the signals ask of each distinct word beside them."""

from collections.abc import Callable
from functools import partial
from itertools import chain

import numpy as np

from data_quality.characters import class_table, code_points
from data_quality.ngrams import describe_words
from data_quality.segment import WordRule, jieba_cut, jieba_words
from data_quality.stop_words import STOP_WORDS
from data_quality.words import chunk_splitter, spacy_tokens

WHITE_SPACE = 0  # the token id of a run of white space other than one space

_LINE_BREAK = -1  # stands between the lines of a Chinese text while they are cut together

_MAX_ENTRIES = 400_000
_MAX_CHARACTERS = 64_000_000
_LONGEST_CACHED_CHUNK = 256


class Vocabulary:
    """Interns words; `lengths[id]`, `hashes[id]`, ... say what is known of a word after `describe`.

    Ids mean something within one document only: the caller calls `make_room` between documents, which forgets
    everything once the tables are full. No signal depends on the value of an id. `plain`: see `ChunkSplitter`.
    """

    def __init__(self, plain: bool = False) -> None:
        self._split = chunk_splitter(plain)
        self._clear()

    def _clear(self) -> None:
        self._ids = _Ids({" ": WHITE_SPACE})
        self._spaced = _Chunks(self._ids, self._split)
        self._japanese = _Chunks(self._ids, partial(self._split, japanese=True))
        self._chinese = _JiebaPieces(self._ids)
        self._described = 0
        self._characters = 0
        self.lengths = np.zeros(1, dtype=np.int32)
        self.hashes = np.zeros(1, dtype=np.uint64)
        self.powers = np.zeros(1, dtype=np.uint64)
        self.is_symbol = np.zeros(1, dtype=np.bool_)
        self.has_letter = np.zeros(1, dtype=np.bool_)
        self.kinds = np.zeros(1, dtype=np.uint8)
        self.describe()
        self.stop_words = {
            language: np.array([self._ids[word] for word in words], dtype=np.int32)
            for language, words in STOP_WORDS.items()
        }

    def make_room(self) -> None:
        """Forget all words if the tables have grown beyond about 150 MB."""
        entries = len(self._spaced) + len(self._japanese) + len(self._chinese)
        if entries > _MAX_ENTRIES or self._characters > _MAX_CHARACTERS:
            self._clear()

    def tokens(self, lines: list[str], rule: WordRule = "spaced") -> tuple[np.ndarray, np.ndarray]:
        """Token ids of some lines in a row, int32[tokens], and where each line starts in them, int64[lines + 1].

        A token is a word or, as `WHITE_SPACE`, a run of white space that spaCy keeps as a token: any but one space.
        (In a Chinese text each white-space character but the space is one: only the count of sentences sees it.)
        """
        if rule == "chinese":
            return self._chinese_tokens(lines)
        known = self._japanese if rule == "japanese" else self._spaced
        lines = [line[:-1] if line.endswith(" ") else line for line in lines]  # that space is part of the word's token
        written = [line for line in lines if line]
        chunks = [*map(known.__getitem__, " ".join(written).split(" "))] if written else []
        ends = np.cumsum(np.fromiter(map(len, chunks), dtype=np.int64, count=len(chunks)))
        ids = np.fromiter(chain.from_iterable(chunks), dtype=np.int32, count=int(ends[-1]) if chunks else 0)
        chunks_before = np.cumsum([0, *(line.count(" ") + 1 if line else 0 for line in lines)])
        return ids, np.concatenate([[0], ends])[chunks_before]

    def _chinese_tokens(self, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """All lines are cut in one call; no word of jieba's reaches over a line break."""
        pieces = [*map(self._chinese.__getitem__, jieba_cut("".join([f"{line}\n" for line in lines])))]
        ids = np.fromiter(chain.from_iterable(pieces), dtype=np.int32)
        breaks = np.flatnonzero(ids == _LINE_BREAK)
        starts = np.concatenate([[0], breaks - np.arange(len(breaks))])  # line breaks before a line are no tokens
        return ids[ids != _LINE_BREAK], starts

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

    def __init__(self, ids: _Ids, split: Callable[[str], tuple[str, ...]]) -> None:
        super().__init__({"": (WHITE_SPACE,)})
        self._ids = ids
        self._split = split

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        ids = self._ids
        words = spacy_tokens(chunk, self._split)
        found = tuple([WHITE_SPACE if word.isspace() else ids[word] for word in words])
        if len(chunk) <= _LONGEST_CACHED_CHUNK:
            self[chunk] = found
        return found


class _JiebaPieces(dict[str, tuple[int, ...]]):
    """Pieces of `segment.jieba_cut` to token ids, learnt as they come."""

    def __init__(self, ids: _Ids) -> None:
        super().__init__({"\n": (_LINE_BREAK,), " ": ()})
        self._ids = ids

    def __missing__(self, piece: str) -> tuple[int, ...]:
        ids = self._ids
        found = (WHITE_SPACE,) if piece.isspace() else tuple([ids[word] for word in jieba_words(piece)])
        if len(piece) <= _LONGEST_CACHED_CHUNK:
            self[piece] = found
        return found
