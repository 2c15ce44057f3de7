"""fastText's classifiers, read from its own files and run several times as fast as by its own program.

A text is the mean of the vectors of its words and of their character n-grams (Joulin et al. 2016, arXiv 1607.01759);
a compressed model holds few of these, as sums of centroids (arXiv 1612.03651). Here centroids are summed, and the
vectors of each known word added up, once for all texts; the rest is compiled. Format and arithmetic are those of
fastText 0.9.2 (`fasttext.cc`, `dictionary.cc`, `quantmatrix.cc`, `productquantizer.cc`, `loss.cc`); sums are in double
precision, in which the original is 3e-4 off on a single word of 100,000 letters and 1e-7 on common texts. The vectors
of a word are added up by themselves, so that of a word that comes again in the same call the sum is at hand.
"""

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_quality.compiled import kernel

Floats = npt.NDArray[np.float32]

_MAGIC, _VERSION = 793_712_314, 12
_HIERARCHICAL_SOFTMAX, _SUPERVISED = 1, 3
_IS_WORD, _IS_LABEL = 0, 1
_CENTROIDS = 256
_LABEL = b"__label__"
_END = b"</s>"  # of a line: a word of every model
_FNV_OFFSET, _FNV_PRIME = 2_166_136_261, 16_777_619
_REMEMBERED = 1 << 15  # words that the model does not know whose sums a call keeps: 4 MB with 16 numbers each


class Tables(NamedTuple):
    """What the compiled code reads."""

    word_bytes: npt.NDArray[np.uint8]
    word_places: npt.NDArray[np.int64]  # [words, 2]: where each begins in word_bytes, and how many bytes it has
    slots: npt.NDArray[np.int32]  # word by hash, open addressing; -1: none
    word_sums: npt.NDArray[np.float64]  # [words, dimension], the word's vector and those of its n-grams
    word_counts: npt.NDArray[np.int64]  # how many that are
    row_of_bucket: npt.NDArray[np.int32]  # of n-grams by their hash; -1: not in the model
    rows: Floats  # [words + n-grams, dimension]
    shortest: int  # characters of an n-gram
    longest: int
    left: npt.NDArray[np.int32]  # children of each node of the tree of labels; -1: a leaf, which is a label
    right: npt.NDArray[np.int32]
    nodes: Floats  # [labels, dimension], of the inner nodes; the last is of none


class FastText:
    """A supervised model with hierarchical softmax, compressed, such as lid.176.ftz."""

    def __init__(self, path: Path) -> None:
        """Read the model.

        Raises:
            ValueError: no model of fastText, or one of another kind.
        """
        try:
            self.labels, self._tables, self._end_of_line = _read(_Reader(path.read_bytes()))
        except (struct.error, ValueError, IndexError, OverflowError) as error:
            raise ValueError(f"{path} is no model that can be read here: {error}") from None

    def predict(self, lines: str, most: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """The most probable labels of each line.

        Args:
            lines: texts of one line each, with a line feed between them.
            most: how many labels at the most, at least 1.

        Returns:
            (labels, chances), both [lines, most], most probable first: indices of `self.labels`, -1 where there is none
            of a probability of 1e-5; and their probabilities, which rounding takes above 1 by as much.

        Raises:
            ValueError: `most` is below 1.
        """
        if most < 1:
            raise ValueError(f"most has to be at least 1, not {most}")
        text = np.frombuffer(lines.encode(), dtype=np.uint8)
        count = lines.count("\n") + 1
        labels = np.full((count, most), -1, dtype=np.int32)
        scores = np.full((count, most), -np.inf)
        _predict(text, self._tables, self._end_of_line, labels, scores)
        return labels, np.exp(scores)


class _Reader:
    """Numbers and arrays, little-endian, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        layout = "<" + layout
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def number(self, layout: str) -> Any:
        return self.numbers(layout)[0]

    def array(self, kind: str, count: int) -> npt.NDArray[Any]:
        if count < 0:
            raise ValueError(f"it tells of {count} numbers")
        values = np.frombuffer(self.data, np.dtype(kind).newbyteorder("<"), count, self.at)
        self.at += values.nbytes
        return values.astype(kind)  # aligned, as they are not in the file

    def word(self) -> bytes:
        end = self.data.index(b"\0", self.at)
        word = self.data[self.at : end]
        self.at = end + 1
        return word


def _read(reader: _Reader) -> tuple[list[str], Tables, int]:
    """Names of the labels, tables, and the word that is the end of a line."""
    if reader.numbers("ii") != (_MAGIC, _VERSION):
        raise ValueError("it does not begin as a model of fastText 0.9 does")
    dimension, _, _, _, _, word_ngrams, loss, model, buckets, shortest, longest, _ = reader.numbers("12i")
    reader.number("d")
    if (loss, model, word_ngrams) != (_HIERARCHICAL_SOFTMAX, _SUPERVISED, 1):
        raise ValueError("it is no classifier of single words with hierarchical softmax")
    _, words, labels, _, pruned = reader.numbers("iiiqq")
    if min(words, labels, buckets) < 1:
        raise ValueError(f"it tells of {words} words, {labels} labels, {buckets} buckets of n-grams")
    if pruned < 0:
        raise ValueError("its n-grams are not pruned")
    entries = [(reader.word(), *reader.numbers("qb")) for _ in range(words + labels)]
    if [kind for _, _, kind in entries] != [_IS_WORD] * words + [_IS_LABEL] * labels:
        raise ValueError("its labels do not follow its words")
    kept = reader.array("i4", 2 * pruned).reshape(-1, 2)
    if not reader.number("?"):
        raise ValueError("its vectors are not quantized")
    rows = _quantized(reader)
    if reader.number("?"):
        raise ValueError("its labels' vectors are quantized")
    nodes = reader.array("f4", math.prod(shape := reader.numbers("qq"))).reshape(shape)
    if rows.shape != (words + pruned, dimension) or nodes.shape != (labels, dimension):
        raise ValueError("its vectors are not as many or as long as it tells")
    if kept.min(initial=0) < 0 or kept[:, 1].max(initial=0) >= max(1, pruned):
        raise ValueError("it has no vectors for some n-grams")
    row_of_bucket = np.full(buckets, -1, dtype=np.int32)
    row_of_bucket[kept[:, 0]] = kept[:, 1] + words
    left, right = _tree([count for _, count, _ in entries[words:]])
    names = [name for name, _, _ in entries[:words]]
    slots = np.full(1 << (4 * words).bit_length(), -1, dtype=np.int32)
    word_bytes = np.frombuffer(b"".join(names), dtype=np.uint8)
    sizes = np.array([len(name) for name in names], dtype=np.int64)
    word_places = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1)
    sums, counts = np.zeros((words, dimension)), np.zeros(words, dtype=np.int64)
    tables = Tables(
        word_bytes, word_places, slots, sums, counts, row_of_bucket, rows, shortest, longest, left, right, nodes
    )
    end_of_line = names.index(_END)
    _add_up_words(tables, end_of_line)
    return [name.removeprefix(_LABEL).decode() for name, _, _ in entries[words:]], tables, end_of_line


def _quantized(reader: _Reader) -> Floats:
    """The rows of a quantized matrix, written out."""
    has_norms, count, _, size = reader.numbers("?qqi")
    codes = reader.array("u1", size)
    rows = _decoded(reader, codes.reshape(count, -1))
    if has_norms:
        norms = reader.array("u1", count)
        rows = rows * _decoded(reader, norms.reshape(count, 1))
    return np.ascontiguousarray(rows, dtype=np.float32)


def _decoded(reader: _Reader, codes: npt.NDArray[np.uint8]) -> Floats:
    """Product quantization: each code of a row is a centroid of some of its columns, the last of what is left."""
    dimension, parts, width, last = reader.numbers("4i")
    centroids = reader.array("f4", dimension * _CENTROIDS)
    columns = []
    for part in range(parts):
        wide = last if part == parts - 1 else width
        start = part * _CENTROIDS * width
        columns.append(centroids[start : start + _CENTROIDS * wide].reshape(_CENTROIDS, wide)[codes[:, part]])
    return np.concatenate(columns, axis=1)


def _tree(counts: list[int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Huffman's tree of labels that come with falling counts: leaves are the labels, the last node is the root."""
    labels = len(counts)
    weights = [*counts, *[10**15] * (labels - 1)]
    left, right = np.full((2, 2 * labels - 1), -1, dtype=np.int32)
    leaf, node = labels - 1, labels
    for inner in range(labels, 2 * labels - 1):
        children = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children.append(leaf)
                leaf -= 1
            else:
                children.append(node)
                node += 1
        if max(children) >= inner:
            raise ValueError("its labels' counts are too high for a tree")
        left[inner], right[inner] = children
        weights[inner] = weights[children[0]] + weights[children[1]]
    return left, right


@kernel(inline="always")
def _signed(byte):  # type: ignore[no-untyped-def]
    """A byte as C++ hashes it, which takes it for signed."""
    return np.uint32(byte) | np.uint32(0xFFFFFF00) if byte >= 0x80 else np.uint32(byte)


@kernel
def _with_signs(text, start, size, word):  # type: ignore[no-untyped-def]
    """Write a word's bytes, between the signs of its begin and end, into word; how many."""
    word[0], word[size + 1] = 0x3C, 0x3E  # < and >
    for at in range(size):
        word[at + 1] = _signed(text[start + at])
    return size + 2


@kernel
def _hash(text, start, size):  # type: ignore[no-untyped-def]
    """FNV-1a of a word."""
    hashed = np.uint32(_FNV_OFFSET)
    for at in range(start, start + size):
        hashed = np.uint32((hashed ^ _signed(text[at])) * np.uint32(_FNV_PRIME))
    return hashed


@kernel
def _add_ngrams(word, size, tables, total):  # type: ignore[no-untyped-def]
    """Add to total[dimension] the vectors of the n-grams of a word with its signs; how many they are."""
    added = 0
    rows, row_of_bucket, longest, shortest = tables.rows, tables.row_of_bucket, tables.longest, tables.shortest
    buckets = np.uint32(len(row_of_bucket))
    for first in range(size):
        if word[first] & np.uint32(0xC0) == 0x80:
            continue
        hashed, at = np.uint32(_FNV_OFFSET), first
        for length in range(1, longest + 1):
            if at == size:
                break
            hashed = np.uint32((hashed ^ word[at]) * np.uint32(_FNV_PRIME))
            at += 1
            while at < size and word[at] & np.uint32(0xC0) == 0x80:
                hashed = np.uint32((hashed ^ word[at]) * np.uint32(_FNV_PRIME))
                at += 1
            if length >= shortest and not (length == 1 and (first == 0 or at == size)):
                row = row_of_bucket[hashed % buckets]
                if row >= 0:
                    added += 1
                    for d in range(len(total)):
                        total[d] += rows[row, d]
    return added


@kernel
def _slot(text, start, size, hashed, slots, places, words):  # type: ignore[no-untyped-def]
    """Where a word is in a table of the words that have `places` in the bytes `words`, or where it would be."""
    mask = len(slots) - 1
    slot = int(hashed) & mask
    while slots[slot] >= 0:
        known = slots[slot]
        if places[known, 1] == size:
            begin, same = places[known, 0], True
            for at in range(size):
                same &= words[begin + at] == text[start + at]
            if same:
                break
        slot = (slot + 1) & mask
    return slot


@kernel
def _add_up_words(tables, end_of_line):  # type: ignore[no-untyped-def]
    """Fill slots, word_sums and word_counts. The end of a line has no n-grams."""
    words, places, slots = tables.word_bytes, tables.word_places, tables.slots
    word = np.empty(len(words) + 2, dtype=np.uint32)
    for number in range(len(places)):
        start, size = places[number]
        slots[_slot(words, start, size, _hash(words, start, size), slots, places, words)] = number
        total = tables.word_sums[number]
        total[:] = tables.rows[number]
        tables.word_counts[number] = 1
        if number != end_of_line:
            tables.word_counts[number] += _add_ngrams(word, _with_signs(words, start, size, word), tables, total)


@kernel
def _is_label(text, start, end, prefix):  # type: ignore[no-untyped-def]
    same = end - start >= len(prefix)
    if same:
        for at in range(len(prefix)):
            same &= text[start + at] == prefix[at]
    return same


@kernel
def _end_of_word(text, at):  # type: ignore[no-untyped-def]
    """Where the next separator is, or the end of the text."""
    while at < len(text) and not (text[at] == 0x20 or 0x09 <= text[at] <= 0x0D or text[at] == 0):
        at += 1
    return at


@kernel
def _predict(text, tables, end_of_line, labels, scores):  # type: ignore[no-untyped-def]
    """Fill labels[lines, most] and scores, the logarithms of probabilities."""
    prefix = np.frombuffer(_LABEL, np.uint8)
    word_bytes, word_places, word_slots = tables.word_bytes, tables.word_places, tables.slots
    word_sums, word_counts = tables.word_sums, tables.word_counts
    dimension = word_sums.shape[1]
    room = 32
    while room < min(len(text) // 2, _REMEMBERED):
        room *= 2
    slots, places = np.full(2 * room, -1, dtype=np.int32), np.empty((room, 2), dtype=np.int64)
    sums, counts = np.empty((room + 1, dimension)), np.empty(room + 1, dtype=np.int64)  # the last: without a place
    total, word = np.zeros(dimension), np.empty(len(text) + 2, dtype=np.uint32)
    line, added, over, remembered, at = 0, 0, False, 0, 0
    while True:
        start, at = at, _end_of_word(text, at)
        size = at - start
        if size and not over and not _is_label(text, start, at, prefix):
            hashed = _hash(text, start, size)
            known = word_slots[_slot(text, start, size, hashed, word_slots, word_places, word_bytes)]
            over = known == end_of_line  # written out, it ends a line too
            if known < 0:
                slot = _slot(text, start, size, hashed, slots, places, text)
                own = slots[slot]
                if own < 0:
                    own = remembered
                    if own < room:
                        slots[slot], remembered = own, own + 1
                        places[own, 0], places[own, 1] = start, size
                    sums[own] = 0.0
                    counts[own] = _add_ngrams(word, _with_signs(text, start, size, word), tables, sums[own])
                added += counts[own]
                for d in range(dimension):
                    total[d] += sums[own, d]
            elif not over:
                added += word_counts[known]
                for d in range(dimension):
                    total[d] += word_sums[known, d]
        if at == len(text) or text[at] == 0x0A:
            for d in range(dimension):  # no `total += ...`: to bind it again costs 20 ns for each byte of the text
                total[d] = (total[d] + word_sums[end_of_line, d]) / (added + 1)
            _best(total, tables, labels[line], scores[line])
            line, added, over = line + 1, 0, False
            for d in range(dimension):
                total[d] = 0.0
        if at == len(text):
            return
        at += 1


@kernel
def _best(hidden, tables, labels, scores):  # type: ignore[no-untyped-def]
    """The most probable leaves, by a search that leaves out what cannot be among them any more."""
    stack, above = np.empty(len(tables.left), np.int32), np.empty(len(tables.left))
    stack[0], above[0], size = len(tables.left) - 1, 0.0, 1
    labelled = (len(tables.left) + 1) // 2
    lowest, most = np.log(1e-5), len(labels)
    while size:
        size -= 1
        node, score = stack[size], above[size]
        if score < lowest or score < scores[most - 1]:
            continue
        if tables.left[node] < 0:
            place = most - 1
            while place and scores[place - 1] < score:
                scores[place], labels[place] = scores[place - 1], labels[place - 1]
                place -= 1
            scores[place], labels[place] = score, node
            continue
        product = 0.0
        for d in range(len(hidden)):
            product += hidden[d] * tables.nodes[node - labelled, d]
        right = 1.0 / (1.0 + np.exp(-product))
        stack[size], above[size] = tables.right[node], score + np.log(right + 1e-5)
        stack[size + 1], above[size + 1] = tables.left[node], score + np.log(1.0 - right + 1e-5)
        size += 2
