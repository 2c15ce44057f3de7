"""A corpus as one stream of token ids, `B d1 d1 d1 B d2 d2 B`, in chunks.

B is the boundary: one id that plays two parts. As what is predicted it is `</s>`, the end of a sequence; as the
beginning of a context it is `<s>`. Nothing is ever predicted from what stands before a boundary, so the two parts
never meet in one n-gram. In a corpus of tokens B is `<|endoftext|>` and a document is a sequence; in a corpus of
words a line is one.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lm.tokens import TokenIndex

CHUNK = 1 << 20
UNKNOWN, END = "<unk>", "</s>"
BEGIN = "<s>"
VOCABULARY_FILE = "vocabulary.json"


def index_stream(index: TokenIndex) -> Iterator[np.ndarray]:
    """The documents of a token index, uint32 chunks of about a million tokens."""
    shards = index.open()
    places = zip(index.shard.tolist(), index.start.tolist(), index.length.tolist(), strict=True)
    return sequence_stream(
        (shards[shard][start : start + length] for shard, start, length in places), index.end_of_text
    )


def sequence_stream(sequences: Iterable[Sequence[int] | np.ndarray], boundary: int) -> Iterator[np.ndarray]:
    """Any sequences of token ids, uint32 chunks of about a million tokens. An empty sequence is a sequence too."""
    edge = np.array([boundary], dtype=np.uint32)
    waiting, size = [edge], 1
    for sequence in sequences:
        waiting += [np.asarray(sequence, dtype=np.uint32), edge]
        size += len(sequence) + 1
        if size >= CHUNK:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)


class WordVocabulary:
    """The words of a word-level model; id 0 is `<unk>`, 1 is `</s>` (the boundary), then by falling frequency."""

    boundary = 1

    def __init__(self, words: Sequence[str]) -> None:
        if list(words[:2]) != [UNKNOWN, END]:
            raise ValueError(f"a vocabulary begins with {UNKNOWN} and {END}, not {list(words[:2])}")
        self.words = tuple(words)
        self._ids = {word: id for id, word in enumerate(words)}
        if len(self._ids) != len(words):
            raise ValueError(f"{len(words)} words, {len(self._ids)} of them different: a word stands twice")

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, line: str) -> np.ndarray:
        """Ids of the words of a line, uint32; those not in the vocabulary are `<unk>`."""
        return np.array([self._ids.get(word, 0) for word in split_words(line)], dtype=np.uint32)

    def save(self, folder: Path) -> None:
        (folder / VOCABULARY_FILE).write_text(json.dumps(self.words, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "WordVocabulary":
        return cls(json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8")))


def split_words(line: str) -> list[str]:
    """The words of a line: what stands between spaces, tabs and line ends, as n-gram toolkits have it.

    Other Unicode white space is part of a word. Raises ValueError if `<s>` or `</s>` stands in the text: the
    sequence's own ends would be mistaken for them.
    """
    words = line.encode("utf-8", "surrogatepass").split()
    if b"<s>" in words or b"</s>" in words:
        raise ValueError(f"{BEGIN} or {END} stands in the text itself: {line[:80]!r}")
    return [word.decode("utf-8", "surrogatepass") for word in words]


def read_words(lines: Iterable[str], min_count: int, file: Path) -> tuple[WordVocabulary, np.ndarray]:
    """Learn the vocabulary of `lines` and write their words to `file`, numbered as they appear.

    Words seen fewer than `min_count` times become `<unk>`. Returns the vocabulary and the id in it of each number in
    the file, uint32; `word_stream` reads the file. The vocabulary has to fit into memory, the
    text has not. Raises ValueError if `<s>` or `</s>` stands in the text.
    """
    numbers: defaultdict[bytes, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    edge = numbers[b"\n"]  # no word is a line end
    counts = np.zeros(0, dtype=np.int64)
    with file.open("wb") as out:
        waiting = array("I", [edge])

        def flush() -> np.ndarray:
            ids = np.frombuffer(waiting, dtype=np.uint32)
            out.write(ids.data)
            here = np.bincount(ids, minlength=len(numbers))
            here[: len(counts)] += counts
            return here

        for line in lines:
            waiting.extend(map(numbers.__getitem__, line.encode("utf-8", "surrogatepass").split()))
            waiting.append(edge)
            if len(waiting) >= CHUNK:
                counts = flush()
                waiting = array("I")
        counts = flush()
    for reserved in (BEGIN, END):
        if reserved.encode() in numbers:
            raise ValueError(f"the word {reserved} stands in the text itself: it is kept for the ends of sequences")
    unknown = numbers.pop(UNKNOWN.encode(), None)
    del numbers[b"\n"]
    if unknown is not None:
        counts[unknown] = 0
    by_name = sorted(numbers)
    at = np.fromiter(map(numbers.__getitem__, by_name), dtype=np.int64, count=len(by_name))
    order = np.argsort(-counts[at], kind="stable")
    order = order[counts[at][order] >= min_count]
    ids = np.zeros(len(counts), dtype=np.uint32)
    ids[edge] = WordVocabulary.boundary
    ids[at[order]] = np.arange(2, len(order) + 2)
    words = [by_name[i].decode("utf-8", "surrogatepass") for i in order.tolist()]
    return WordVocabulary([UNKNOWN, END, *words]), ids


def word_stream(file: Path, ids: np.ndarray) -> Iterator[np.ndarray]:
    """What `read_words` wrote, as ids of its vocabulary."""
    with file.open("rb") as source:
        while len(numbers := np.fromfile(source, dtype=np.uint32, count=CHUNK)):
            yield ids[numbers]
