"""The vocabulary of a model of words, and text read into it: words are what stands between ASCII white space."""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice, pairwise, repeat
from pathlib import Path

import numpy as np

from lm.compiled import kernel
from lm.damaged import AGAIN, VOCABULARY_BYTES, DamagedFile, read_json
from lm.stop import ShouldStop, check, never

UNKNOWN, END = "<unk>", "</s>"
BEGIN = "<s>"
VOCABULARY_FILE = "vocabulary.json"
BATCH = 1 << 18
CHUNK = 1 << 20
EDGE = ord("\n")


class WordVocabulary:
    """The words of a word-level model; id 0 is `<unk>`, 1 is `</s>` (the boundary), then by falling frequency."""

    boundary = 1

    def __init__(self, words: Sequence[str]) -> None:
        if list(words[:2]) != [UNKNOWN, END]:
            raise ValueError(f"a vocabulary begins with {UNKNOWN} and {END}, not {list(words[:2])}")
        self.words = tuple(words)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word. Raises ValueError if one stands twice."""
        ids = {word: id for id, word in enumerate(self.words)}
        if len(ids) != len(self.words):
            raise ValueError(f"{len(self.words)} words, {len(ids)} of them different: a word stands twice")
        return ids

    def encode(self, line: str) -> np.ndarray:
        """Ids of the words of a line, uint32; those not in the vocabulary are `<unk>`."""
        return np.array([self.ids.get(word, 0) for word in split_words(line)], dtype=np.uint32)

    def save(self, folder: Path) -> None:
        (folder / VOCABULARY_FILE).write_text(json.dumps(self.words, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "WordVocabulary":
        """Raises DamagedFile, FileNotFoundError if there is none."""
        path = folder / VOCABULARY_FILE
        words = read_json(path, VOCABULARY_BYTES)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DamagedFile(f"{path}: not a list of words: {AGAIN}")
        try:
            return cls(words)
        except ValueError as error:
            raise DamagedFile(f"{path}: {error}: {AGAIN}") from error


def split_words(line: str) -> list[str]:
    """The words of a line: what stands between spaces, tabs and line ends, as n-gram toolkits have it.

    Other Unicode white space is part of a word. Raises ValueError if `<s>` or `</s>` stands in the text: the
    sequence's own ends would be mistaken for them.
    """
    words = line.encode().split()
    if b"<s>" in words or b"</s>" in words:
        raise ValueError(f"{BEGIN} or {END} stands in the text itself: {line[:80]!r}")
    return [word.decode() for word in words]


@kernel
def intern(text, letters, ends, hashes, table, counts, used, numbers):  # type: ignore[no-untyped-def]
    """Number the words of `text`, uint8, as they appear: number 0 is the end of a line; returns how many there are.

    `letters`: all different words in a row, word i (from 1) being letters[ends[i - 1]:ends[i]]; `hashes`, `counts` of
    each; `table`: open addressing, numbers of words, 0 for a free slot. used: int64[1], how many different words
    there are. The caller has made all of them large enough.
    """
    mask = np.uint64(len(table) - 1)
    known = used[0]
    written = 0
    at = 0
    while at < len(text):
        byte = text[at]
        if byte == EDGE:
            numbers[written] = 0
            written += 1
            counts[0] += 1
            at += 1
            continue
        if byte == 32 or 9 <= byte <= 13:
            at += 1
            continue
        begin = at
        value = np.uint64(0xCBF29CE484222325)  # FNV-1a, with its high bits folded in below
        while at < len(text) and text[at] != 32 and not 9 <= text[at] <= 13:
            value = (value ^ np.uint64(text[at])) * np.uint64(0x100000001B3)
            at += 1
        slot = (value ^ (value >> np.uint64(32))) & mask
        while True:
            word = table[slot]
            if word == 0:
                known += 1
                word = known
                table[slot] = word
                hashes[word] = value
                ends[word] = ends[word - 1] + (at - begin)
                letters[ends[word - 1] : ends[word]] = text[begin:at]
                break
            if hashes[word] == value and ends[word] - ends[word - 1] == at - begin:
                same = True
                for i in range(at - begin):
                    if letters[ends[word - 1] + i] != text[begin + i]:
                        same = False
                        break
                if same:
                    break
            slot = (slot + np.uint64(1)) & mask
        counts[word] += 1
        numbers[written] = word
        written += 1
    used[0] = known
    return written


@kernel
def rehash(hashes: np.ndarray, known: int, table: np.ndarray) -> None:
    """Fill a new table with the words 1 .. known."""
    mask = np.uint64(len(table) - 1)
    for word in range(1, known + 1):
        slot = (hashes[word] ^ (hashes[word] >> np.uint64(32))) & mask
        while table[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = word


class _Interner:
    """The different words of a text so far, numbered from 1 as they appear; 0 is the end of a line."""

    def __init__(self) -> None:
        self._letters = np.zeros(1 << 20, dtype=np.uint8)
        self._ends = np.zeros(1 << 16, dtype=np.int64)
        self._hashes = np.zeros(1 << 16, dtype=np.uint64)
        self._table = np.zeros(1 << 17, dtype=np.int32)
        self.counts = np.zeros(1 << 16, dtype=np.int64)
        self._used = np.zeros(1, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._used[0])

    def numbers(self, text: np.ndarray) -> np.ndarray:
        """The numbers of the words of `text`, uint8, uint32 [words and line ends]."""
        most = len(self) + len(text) // 2 + 2
        self._letters = _grown(self._letters, int(self._ends[len(self)]) + len(text))
        self._ends, self._hashes, self.counts = (_grown(a, most) for a in (self._ends, self._hashes, self.counts))
        if len(self._table) < 2 * most:
            self._table = np.zeros(1 << (4 * most - 1).bit_length(), dtype=np.int32)
            rehash(self._hashes, len(self), self._table)
        out = np.empty(len(text), dtype=np.uint32)
        written = intern(text, self._letters, self._ends, self._hashes, self._table, self.counts, self._used, out)
        return out[:written]

    def words(self) -> list[bytes]:
        """The words 1, 2, ... as they were written."""
        letters, ends = self._letters.tobytes(), self._ends[: len(self) + 1].tolist()
        return [letters[begin:end] for begin, end in pairwise(ends)]


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) >= size:
        return array
    grown = np.zeros(1 << (size - 1).bit_length(), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def read_words(
    lines: Iterable[str], min_count: int, file: Path, should_stop: ShouldStop = never
) -> tuple[WordVocabulary, np.ndarray]:
    """Learn the vocabulary of `lines` and write their words to `file`, numbered as they appear.

    Words seen fewer than `min_count` times become `<unk>`. Returns the vocabulary and the id in it of each number in
    the file, uint32; `word_stream` reads the file. The vocabulary has to fit into memory, the text has not. Raises
    ValueError if `<s>` or `</s>` stands in the text.
    """
    interner = _Interner()
    with file.open("wb") as out, ThreadPoolExecutor(1) as worker:
        numbers = worker.submit(np.zeros, 1, np.uint32)
        for text in _bytes(lines):  # the next is read while one is at work
            check(should_stop, "reading words")
            out.write(numbers.result().data)
            numbers = worker.submit(interner.numbers, np.frombuffer(text, dtype=np.uint8))
        out.write(numbers.result().data)
    words, counts = interner.words(), interner.counts[1 : len(interner) + 1]
    for reserved in (BEGIN, END):
        if reserved.encode() in words:
            raise ValueError(f"the word {reserved} stands in the text itself: it is kept for the ends of sequences")
    if UNKNOWN.encode() in words:
        counts[words.index(UNKNOWN.encode())] = 0
    kept = np.flatnonzero(counts >= min_count).tolist()
    kept.sort(key=words.__getitem__)
    order = np.array(kept, dtype=np.int64)
    order = order[np.argsort(-counts[order], kind="stable")]  # by falling frequency, then by their bytes
    ids = np.zeros(len(words) + 1, dtype=np.uint32)
    ids[0] = WordVocabulary.boundary
    ids[order + 1] = np.arange(2, len(order) + 2)
    return WordVocabulary([UNKNOWN, END, *(words[i].decode() for i in order.tolist())]), ids


def _bytes(lines: Iterable[str]) -> Iterator[bytes]:
    """The lines as UTF-8 with one line end behind each, in batches; a line much longer is cut at its spaces."""
    source = iter(lines)
    count = 16
    while batch := list(islice(source, count)):
        text = "".join(batch)
        if text.count("\n") != len(batch) or not all(map(str.endswith, batch, repeat("\n"))):
            text = "".join([line.removesuffix("\n").replace("\n", " ") + "\n" for line in batch])
        count = max(1, min(4096, BATCH * len(batch) // len(text)))
        encoded = text.encode()
        start = 0
        while len(encoded) - start > 2 * BATCH and (cut := encoded.find(b" ", start + BATCH)) >= 0:
            yield encoded[start:cut]
            start = cut
        yield encoded[start:]


def word_stream(file: Path, ids: np.ndarray) -> Iterator[np.ndarray]:
    """What `read_words` wrote, as ids of its vocabulary."""
    with file.open("rb") as source:
        while len(numbers := np.fromfile(source, dtype=np.uint32, count=CHUNK)):
            yield ids[numbers]
