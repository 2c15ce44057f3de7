"""The words of many documents as small integers, with what the signals ask of each distinct word beside them."""

import numpy as np

from data_quality.characters import class_table, code_points
from data_quality.interning import StringTable, encode_strings, expand_chunks
from data_quality.ngrams import describe_words
from data_quality.plain_chunks import are_jieba_words, chunk_core, cut_plain_chunks, cut_plain_words
from data_quality.segment import WordRule, jieba_cut, jieba_words
from data_quality.stop_words import STOP_WORDS
from data_quality.words import chunk_splitter, spacy_tokens

WHITE_SPACE = 0  # the token id of a run of white space other than one space

_LINE_BREAK = -1  # stands between the lines of a Chinese text while they are cut together

_MAX_ENTRIES = 400_000
_MAX_BYTES = 256 << 20


class Vocabulary:
    """Interns words; `lengths[id]`, `hashes[id]`, ... say what is known of each.

    Ids mean something within one document only: the caller calls `make_room` between documents, which forgets
    everything once the tables are full. No signal depends on the value of an id. `plain`: see `ChunkSplitter`.
    """

    def __init__(self, plain: bool = False) -> None:
        self._plain = plain
        self.forget()

    def forget(self) -> None:
        """Begin anew, with no word but the stop words."""
        self._words = StringTable()
        self._described = 0
        self.lengths = np.empty(0, dtype=np.int32)
        self.hashes = np.empty(0, dtype=np.uint64)
        self.powers = np.empty(0, dtype=np.uint64)
        self.is_symbol = np.empty(0, dtype=np.bool_)
        self.has_letter = np.empty(0, dtype=np.bool_)
        self.kinds = np.empty(0, dtype=np.uint8)
        self.intern(*encode_strings([" "]))
        self._spaced = _Chunks(self, self._plain, japanese=False)
        self._japanese = _Chunks(self, self._plain, japanese=True)
        self._chinese = _Pieces(self)
        self.stop_words = {language: self.intern(*encode_strings(words)) for language, words in STOP_WORDS.items()}

    @property
    def nbytes(self) -> int:
        """What the tables of strings hold of memory."""
        return sum(table.nbytes for table in self._tables())

    def _tables(self) -> tuple[StringTable, ...]:
        return self._words, self._spaced.known, self._japanese.known, self._chinese.known

    def make_room(self) -> None:
        """Forget all words if the tables have grown too large, as they also do for one very long text."""
        entries = sum(table.known for table in self._tables())
        if entries > _MAX_ENTRIES or self.nbytes > _MAX_BYTES:
            self.forget()

    def tokens(
        self, codes: np.ndarray, starts: np.ndarray, ends: np.ndarray, rule: WordRule = "spaced"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of the lines codes[starts[i]:ends[i]], which hold no line break.

        A token is a word or, as `WHITE_SPACE`, a run of white space that spaCy keeps as a token: any but one space.
        (In a Chinese text each white-space character but the space is one: only the count of sentences sees it.)

        Returns:
            int32[tokens], and where each line starts in them, int64[lines + 1].
        """
        if rule == "chinese":
            row = codes.tobytes().decode("utf-32-le")
            return self._chinese.tokens([row[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
        return (self._japanese if rule == "japanese" else self._spaced).tokens(codes, starts, ends)

    def intern(self, codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Ids of the words codes[starts[i]:ends[i]]: int32[words]."""
        ids = self._words.intern(codes, starts, ends)
        first, last = self._described, self._words.known
        if last > first:
            offsets = self._words.offsets
            new_codes, new_ends = self._words.codes[offsets[first] :], offsets[first + 1 :] - offsets[first]
            described = describe_words(new_codes, new_ends, class_table())
            names = ("lengths", "hashes", "powers", "is_symbol", "has_letter", "kinds")
            for name, values in zip(names, described, strict=True):
                column = getattr(self, name)
                if last > len(column):
                    column = np.concatenate([column, np.zeros(last, dtype=values.dtype)])
                    setattr(self, name, column)
                column[first:last] = values
            self._described = last
        return ids


class _Learnt:
    """Strings that were met, with the token ids that each stands for."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.known = StringTable()
        self._vocabulary = vocabulary
        self._ids = np.empty(0, dtype=np.int32)  # of all strings in a row
        self._ends = np.zeros(1, dtype=np.int64)  # string i has _ids[_ends[i]:_ends[i + 1]]

    def _add(self, counts: np.ndarray, alone: np.ndarray, ids: np.ndarray, ids_alone: np.ndarray) -> None:
        """New strings with so many ids each; those of the strings `alone` (bool) come in an array of their own."""
        new = np.empty(int(counts.sum()), dtype=np.int32)
        of_alone = np.repeat(alone, counts)
        new[~of_alone], new[of_alone] = ids, ids_alone
        ends = np.concatenate([self._ends, self._ends[-1] + np.cumsum(counts)])
        self._ids, self._ends = np.concatenate([self._ids, new]), ends


class _Chunks(_Learnt):
    """Characters between two spaces (so a tab may be inside, and none at all) to token ids, learnt as they come."""

    def __init__(self, vocabulary: Vocabulary, plain: bool, japanese: bool) -> None:
        super().__init__(vocabulary)
        self._split = chunk_splitter(plain)
        self._plain = plain
        self._japanese = japanese
        self._pairs = self._split.joined_pairs()
        self._exceptions = StringTable()
        exceptions = self._split.joined_words() | {chunk_core(case) for case in self._split.special_cases()}
        self._exceptions.intern(*encode_strings(sorted(exceptions)))
        self.known.intern(*encode_strings([""]))
        nothing = np.empty(0, dtype=np.int32)
        self._add(np.array([1]), np.array([True]), nothing, np.array([WHITE_SPACE], dtype=np.int32))

    def tokens(self, codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Vocabulary.tokens`."""
        learnt = len(self._ends) - 1
        if len(codes):  # a space at the end is part of the word before it; more white space is a token
            ends = ends - ((ends > starts) & (codes[ends - 1] == ord(" ")))
        chunks, before = self.known.intern_chunks(codes, starts, ends)
        if self.known.known > learnt:
            self._learn(learnt)
        return expand_chunks(chunks, before, self._ids, self._ends)

    def _learn(self, first: int) -> None:
        """The words of the chunks from `first` on: most are cut in one compiled call, the others one by one."""
        codes, offsets = self.known.codes, self.known.offsets[first:]
        cut = cut_plain_words(codes, offsets) if self._plain else cut_plain_chunks(codes, offsets, self._pairs)
        by_rules = cut.counts == 0
        if not self._plain:
            by_rules |= self._exceptions.find(codes, cut.core_starts, cut.core_ends) >= 0
            special = self._exceptions.find(codes, cut.starts, cut.ends) >= 0
            by_rules[np.repeat(np.arange(len(by_rules)), cut.counts)[special]] = True
        plain = ~np.repeat(by_rules, cut.counts)
        ids = self._vocabulary.intern(codes, cut.starts[plain], cut.ends[plain])
        counts = np.where(by_rules, 0, cut.counts)
        words: list[str] = []
        for number in np.flatnonzero(by_rules).tolist():
            chunk = codes[offsets[number] : offsets[number + 1]].tobytes().decode("utf-32-le")
            tokens = spacy_tokens(chunk, self._cut)
            counts[number] = len(tokens)
            words += [" " if token.isspace() else token for token in tokens]
        self._add(counts, by_rules, ids, self._vocabulary.intern(*encode_strings(words)))

    def _cut(self, chunk: str) -> tuple[str, ...]:
        return self._split(chunk, self._japanese)


class _Pieces(_Learnt):
    """Pieces of `segment.jieba_cut` to token ids, learnt as they come."""

    def tokens(self, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Vocabulary.tokens`. All lines are cut in one call; no word of jieba's reaches over a line break."""
        row = "".join([f"{line}\n" for line in lines])
        pieces = jieba_cut(row)
        lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        ends = np.cumsum(lengths)
        learnt = len(self._ends) - 1
        numbers = self.known.intern(code_points(row), ends - lengths, ends)
        if self.known.known > learnt:
            self._learn(learnt)
        ids, _ = expand_chunks(numbers, np.array([0, len(numbers)]), self._ids, self._ends)
        breaks = np.flatnonzero(ids == _LINE_BREAK)
        starts = np.concatenate([[0], breaks - np.arange(len(breaks))])  # line breaks before a line are no tokens
        return ids[ids != _LINE_BREAK], starts

    def _learn(self, first: int) -> None:
        """The words of the pieces from `first` on: most are one word, the others are looked at one by one."""
        codes, offsets = self.known.codes, self.known.offsets[first:]
        starts, ends = offsets[:-1], offsets[1:]
        one_word = are_jieba_words(codes, offsets)
        counts = np.ones(len(starts), dtype=np.int64)
        words: list[str] = []
        for number in np.flatnonzero(~one_word).tolist():
            piece = codes[starts[number] : ends[number]].tobytes().decode("utf-32-le")
            if piece.isspace() and piece != "\n":
                cut: tuple[str, ...] = () if piece == " " else (" ",)
            else:
                cut = (piece,) if piece == "\n" else jieba_words(piece)
            counts[number] = len(cut)
            words += cut
        ids = self._vocabulary.intern(codes, starts[one_word], ends[one_word])
        ids_of_others = self._vocabulary.intern(*encode_strings(words))
        ids_of_others[[at for at, word in enumerate(words) if word == "\n"]] = _LINE_BREAK
        self._add(counts, ~one_word, ids, ids_of_others)
