"""Decontamination: rows of words that a document shares with a benchmark item, found by hash and verified word by word.

Words are those of `data_quality/words.py` in lower case (NFKC) without their punctuation; each Han or Kana character is
a word of its own, since where a dictionary cuts depends on what stands around a quotation. An item gives all its rows
of n words, n being 13 words as in GPT-3 (Brown et al. 2020, appendix C), or 13 characters where most of it is Han or
Kana: about as rare, since a Chinese character in running text carries about as much as an English word. Where most of
it is Thai, Lao, Burmese or Khmer, whose letters are words of their own (`data_quality/scripts.py`), three count as one
word: n is 39. A shorter item gives one row, the whole of it.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.benchmarks import Item
from data_quality.config import DecontaminateConfig
from data_quality.errors import UsageError
from data_quality.per_thread import per_thread
from data_quality.scripts import EAST_ASIAN, UNSEGMENTED, UNSPACED
from data_quality.shards import read_batches, whole_parquet
from data_quality.spans import SPANS_SCHEMA
from data_quality.words import ChunkSplitter, chunk_splitter

UInt64s = npt.NDArray[np.uint64]

_CHUNK = re.compile(r"\S+")

KIND = "contamination"
REASON = "contaminated."

DOCUMENTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),  # contaminated.<benchmark>, most words first
        pa.field("words", pa.int64(), nullable=False),  # of the document
        pa.field("covered", pa.int64(), nullable=False),  # of these, in a row shared with an item
        pa.field("share", pa.float64(), nullable=False),  # covered / words
    ]
)
ITEMS_SCHEMA = pa.schema([("benchmark", pa.string()), ("id", pa.string()), ("words", pa.list_(pa.string()))])
GRAMS_SCHEMA = pa.schema(
    [("length", pa.int32()), ("hash", pa.uint64()), ("item", pa.int32()), ("position", pa.int32())]
)

_BASE = np.uint64(0x9E3779B97F4A7C15)
LETTERS_PER_WORD = 3  # without marks, of Thai, Lao, Burmese and Khmer: words there have some three to four
_MAX_KNOWN = 500_000  # distinct chunks remembered by one process


def normal_word(word: str) -> str:
    """A word as it is compared: lower case, compatibility forms folded, letters and digits only; may be empty."""
    if not word.isascii():
        word = unicodedata.normalize("NFKC", word)
    return word.lower() if word.isalnum() else "".join(filter(str.isalnum, word.lower()))


def normal_words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return [normal for _, _, normal in _normal_places(text)]


def _normal_places(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end (exclusive) and normal form of each word that is compared."""
    for chunk in _CHUNK.finditer(text):
        end = chunk.start()
        for word in _splitter()(chunk.group()):
            start, end = end, end + len(word)
            if normal := normal_word(word):
                yield start, end, normal


def _splitter() -> ChunkSplitter:
    return chunk_splitter(characters=True)


def word_hash(normal: str) -> int:
    """64 bits of a normal word."""
    return int.from_bytes(hashlib.blake2b(normal.encode(), digest_size=8).digest(), "big")


class _Hasher:
    """The hashes of a text's words.

    Each distinct chunk between white space is cut once, each distinct word hashed once: a chunk of Chinese or Thai is a
    sentence that does not come again, but its characters do.
    """

    def __init__(self) -> None:
        self._chunks: dict[str, list[int]] = {}
        self._words: dict[str, int | None] = {}

    def __call__(self, text: str) -> UInt64s:
        """uint64 of shape [words], one for each of `normal_words(text)`."""
        chunks = self._chunks
        if max(len(chunks), len(self._words)) > _MAX_KNOWN:
            chunks.clear()
            self._words.clear()
        hashes: list[int] = []
        for chunk in text.split():
            found = chunks.get(chunk)
            if found is None:
                found = self._hash(chunk)
                if not UNSEGMENTED.search(chunk):
                    chunks[chunk] = found
            hashes += found
        return np.array(hashes, dtype=np.uint64)

    def _hash(self, chunk: str) -> list[int]:
        words = self._words
        hashes = []
        for word in _splitter()(chunk):
            if word not in words:
                normal = normal_word(word)
                words[word] = word_hash(normal) if normal else None
            value = words[word]
            if value is not None:
                hashes.append(value)
        return hashes


@per_thread
def _hasher() -> _Hasher:
    return _Hasher()


def row_hashes(words: UInt64s, length: int) -> UInt64s:
    """Hash of each row of `length` words: uint64 of shape [words - length + 1], a polynomial modulo 2^64."""
    rows = np.zeros(len(words) + 1, dtype=np.uint64)
    for done in range(length):
        rows = longer_rows(rows, words, done)
    return rows


def longer_rows(rows: UInt64s, words: UInt64s, length: int) -> UInt64s:
    """From the hashes of all rows of `length` words those of one word more."""
    return rows[:-1] * _BASE + words[length:]


def build_index(items: Iterable[Item], directory: Path, config: DecontaminateConfig) -> dict[str, int]:
    """Write items.parquet and grams.parquet, the rows of words by their hash, into `directory`.

    Of equal rows of one benchmark the first item's stays. Returns items, too_short (items of fewer than
    `config.minimum` words, which are not looked for) and grams.

    Raises:
        ValueError: a benchmark has no item that is long enough to be looked for.
    """
    benchmarks: dict[str, int] = {}
    rows: list[Item] = []
    all_words: list[list[str]] = []
    tables: list[tuple[int, UInt64s, int]] = []
    searched: set[str] = set()
    counts = {"items": 0, "too_short": 0, "grams": 0}
    for item in items:
        benchmarks.setdefault(item.benchmark, len(benchmarks))
        words = normal_words(item.text)
        counts["items"] += 1
        least, most = _row_lengths(words, config)
        if len(words) < least:
            counts["too_short"] += 1
            continue
        searched.add(item.benchmark)
        length = min(len(words), most)
        hashes = np.array([word_hash(word) for word in words], dtype=np.uint64)
        tables.append((length, row_hashes(hashes, length), len(rows)))
        rows.append(item)
        all_words.append(words)
    if empty := [name for name in benchmarks if name not in searched]:
        raise UsageError(
            f"benchmark {', '.join(empty)}: no item has {config.minimum} words (decontaminate.minimum), so none can be "
            "looked for"
        )
    grams = _grams(tables, [benchmarks[item.benchmark] for item in rows])
    counts["grams"] = grams.num_rows
    columns = [[item.benchmark for item in rows], [item.id for item in rows], all_words]
    pq.write_table(pa.table(columns, schema=ITEMS_SCHEMA), directory / "items.parquet", compression="zstd")
    pq.write_table(grams, directory / "grams.parquet", compression="zstd")
    return counts


def _row_lengths(words: list[str], config: DecontaminateConfig) -> tuple[int, int]:
    """The shortest row of an item's words that is looked for, and the longest; by the script of most of them."""
    characters, letters = (sum(map(bool, map(script.match, words))) for script in (EAST_ASIAN, UNSPACED))
    if 2 * characters > len(words):
        return config.minimum, config.characters
    if 2 * letters > len(words):
        return LETTERS_PER_WORD * config.minimum, LETTERS_PER_WORD * config.words
    return config.minimum, config.words


def _grams(tables: list[tuple[int, UInt64s, int]], benchmark_of: list[int]) -> pa.Table:
    """Sorted by length, hash, benchmark, item, position; the first of each length, hash and benchmark."""
    sizes = np.array([len(hashes) for _, hashes, _ in tables], dtype=np.int64)
    hashes = np.concatenate([hashes for _, hashes, _ in tables]) if tables else np.empty(0, np.uint64)
    length = np.repeat(np.array([length for length, _, _ in tables], dtype=np.int32), sizes)
    item = np.repeat(np.array([item for _, _, item in tables], dtype=np.int32), sizes)
    starts = np.cumsum(sizes) - sizes
    position = (np.arange(len(hashes)) - np.repeat(starts, sizes)).astype(np.int32)
    benchmark = np.array(benchmark_of, dtype=np.int32)[item]
    order = np.lexsort((position, item, benchmark, hashes, length))
    first = np.ones(len(order), dtype=bool)
    same = [column[order] for column in (length, hashes, benchmark)]
    first[1:] = ~np.logical_and.reduce([column[1:] == column[:-1] for column in same])
    order = order[first]
    return pa.table([length[order], hashes[order], item[order], position[order]], schema=GRAMS_SCHEMA)


class _Rows(NamedTuple):
    """The rows of one length, sorted by hash; `sieve` has a bit set for every hash that may be among them."""

    length: int
    hashes: UInt64s
    items: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]
    sieve: npt.NDArray[np.bool_]
    shift: np.uint64


class Match(NamedTuple):
    """Words [start, end) of a document that stand in `item`, of several the one that shares the most."""

    start: int
    end: int
    item: int


class Index:
    """The rows of words of all benchmarks, to look up documents in."""

    def __init__(self, directory: Path) -> None:
        items = pq.read_table(directory / "items.parquet")
        self.benchmarks: list[str] = items["benchmark"].to_pylist()
        self.ids: list[str] = items["id"].to_pylist()
        self._words = items["words"]
        self._word_lists: dict[int, list[str]] = {}
        table = pq.read_table(directory / "grams.parquet")
        lengths = table["length"].to_numpy()
        self._rows = [
            _rows(int(length), table.slice(low, high - low))
            for length in np.unique(lengths)
            for low, high in [np.searchsorted(lengths, [length, length + 1])]
        ]

    def matches(self, text: str) -> list[Match]:
        """What the text shares with items: for each benchmark, in order of the first match, ascending and disjoint."""
        hashes = _hasher()(text)
        hits: list[tuple[int, int, int, int]] = []
        found, length = np.zeros(len(hashes) + 1, dtype=np.uint64), 0
        for rows in self._rows:  # shortest first
            while length < rows.length and len(found):
                found, length = longer_rows(found, hashes, length), length + 1
            hits += _candidates(rows, found)
        if not hits:
            return []
        words = normal_words(text)
        by_benchmark: dict[str, list[Match]] = {}
        for at, length, item, position in sorted(hits):
            if words[at : at + length] == self._item(item)[position : position + length]:
                by_benchmark.setdefault(self.benchmarks[item], []).append(Match(at, at + length, item))
        return [match for found in by_benchmark.values() for match in _joined(found)]

    def _item(self, item: int) -> list[str]:
        if item not in self._word_lists:
            self._word_lists[item] = self._words[item].as_py()
        return self._word_lists[item]


def _rows(length: int, table: pa.Table) -> _Rows:
    hashes, items, positions = (table[name].to_numpy() for name in ("hash", "item", "position"))
    bits = min(28, max(10, int(len(hashes) * 16).bit_length()))
    shift = np.uint64(64 - bits)
    sieve = np.zeros(1 << bits, dtype=bool)
    sieve[hashes >> shift] = True
    return _Rows(length, hashes, items, positions, sieve, shift)


def _candidates(rows: _Rows, found: UInt64s) -> list[tuple[int, int, int, int]]:
    """(word, length, item, position in the item) wherever the hash of the document's row is that of an item's row."""
    places = np.flatnonzero(rows.sieve[found >> rows.shift])
    if not len(places):
        return []
    low = np.searchsorted(rows.hashes, found[places], side="left")
    high = np.searchsorted(rows.hashes, found[places], side="right")
    return [
        (int(place), rows.length, int(rows.items[entry]), int(rows.positions[entry]))
        for place, first, last in zip(places, low, high, strict=True)
        for entry in range(first, last)
    ]


def _joined(matches: list[Match]) -> list[Match]:
    """Matches in one benchmark, ascending, as disjoint ones: rows that overlap become one."""
    joined: list[Match] = []
    votes: dict[int, int] = {}
    start = end = -1

    def close() -> None:
        if votes:
            joined.append(Match(start, end, min(votes, key=lambda item: (-votes[item], item))))

    for match in matches:
        if match.start >= end:
            close()
            votes, start, end = {}, match.start, match.end
        end = max(end, match.end)
        votes[match.item] = votes.get(match.item, 0) + 1
    close()
    return joined


def contamination_shard(
    in_path: Path,
    spans_path: Path,
    documents_path: Path,
    index: Index,
    progress: Callable[[int], None] = lambda documents: None,
) -> dict[str, int]:
    """Write what the documents of a shard share with benchmark items: spans (SPANS_SCHEMA) and contaminated documents.

    `other` of a span is `benchmark#item`. Both tables are in the shard's order. Returns documents, contaminated and
    spans. Memory: one batch beside the index.
    """
    counts = {"documents": 0, "contaminated": 0, "spans": 0}
    with whole_parquet(spans_path, SPANS_SCHEMA) as spans, whole_parquet(documents_path, DOCUMENTS_SCHEMA) as documents:
        for batch in read_batches(in_path, ["id", "text"]):
            found_spans: list[dict[str, Any]] = []
            found_documents: list[dict[str, Any]] = []
            for id, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                if matches := index.matches(text):
                    found_spans += _spans(id, text, matches, index)
                    found_documents.append(_document(id, text, matches, index))
            spans.write_table(pa.Table.from_pylist(found_spans, schema=SPANS_SCHEMA))
            documents.write_table(pa.Table.from_pylist(found_documents, schema=DOCUMENTS_SCHEMA))
            counts["documents"] += len(batch)
            counts["contaminated"] += len(found_documents)
            counts["spans"] += len(found_spans)
            progress(len(batch))
    return counts


def _spans(id: str, text: str, matches: list[Match], index: Index) -> list[dict[str, Any]]:
    places = [(start, end) for start, end, _ in _normal_places(text)]
    return [
        {
            "id": id,
            "start": places[match.start][0],
            "end": places[match.end - 1][1],
            "kind": KIND,
            "replacement": "",
            "other": f"{index.benchmarks[match.item]}#{index.ids[match.item]}",
        }
        for match in sorted(matches)
    ]


def _document(id: str, text: str, matches: list[Match], index: Index) -> dict[str, Any]:
    by_benchmark: dict[str, int] = {}
    covered: set[int] = set()
    for match in matches:
        name = index.benchmarks[match.item]
        by_benchmark[name] = by_benchmark.get(name, 0) + match.end - match.start
        covered.update(range(match.start, match.end))
    words = len(normal_words(text))
    names = sorted(by_benchmark, key=lambda name: (-by_benchmark[name], name))
    return {
        "id": id,
        "reasons": [REASON + name for name in names],
        "words": words,
        "covered": len(covered),
        "share": len(covered) / words,
    }
