"""Hierarchical softmax: a binary tree over the words, the frequent ones near its root (Morin & Bengio 2005).

p(word | h) is the product over the inner nodes on the way to it of σ(± o·h), the sign being the turn taken there: these
sum to one over all words, and a word costs as many products as its code has digits. Huffman's tree (1952) makes the
expected number as small as it can be (Mikolov et al. 2013b, section 2.1).
"""

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

ROWS_AT_ONCE = 2**20  # words of the text that are looked at together


class Tree(NamedTuple):
    """The way from the root to each word: word w passes nodes[starts[w]:starts[w + 1]] and turns there as `turns` says.

    nodes: int32, inner nodes 0 .. words - 2; turns: int8, +1 for the digit 0 and -1 for 1; `longest`: digits of the
    longest code.
    """

    starts: np.ndarray
    nodes: np.ndarray
    turns: np.ndarray
    longest: int

    @property
    def inner(self) -> int:
        """How many inner nodes there are."""
        return max(1, len(self.starts) - 2)


def no_tree(words: int) -> Tree:
    """In the place of a tree, for negative sampling."""
    return Tree(np.zeros(words + 1, np.int64), np.zeros(1, np.int32), np.zeros(1, np.int8), 0)


def first_places(rows: np.ndarray, words: int) -> np.ndarray:
    """Where each word first stands, int64 [words]; all of them stand somewhere. rows: int32, may be a file's."""
    first = np.full(words, len(rows), dtype=np.int64)
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        found, places = np.unique(rows[begin : begin + ROWS_AT_ONCE], return_index=True)
        first[found] = np.minimum(first[found], begin + places)
    return first


@dataclass(order=True, slots=True)
class _Node:
    """On the heap; of equal counts none goes first."""

    count: int
    number: int = field(compare=False)


def huffman_tree(counts: np.ndarray, first: np.ndarray) -> Tree:
    """Huffman's tree over the counts of words.

    Half of the words have one of a few counts. Which of these are neighbours in the tree is left open by Huffman, and
    it matters, for neighbours share all nodes above them (docs/results/word-vectors.md). It is as in gensim: words go
    to the heap by falling counts, of equal counts the one that appears last in front (`first`: `first_places`), and
    come off it as it happens to have them.

    Raises ValueError for fewer than two words.
    """
    words = len(counts)
    if words < 2:
        raise ValueError(f"a tree needs two words or more, there are {words}: give more text or a smaller min_count")
    order = np.lexsort((-first, -counts))
    heap = [_Node(int(counts[word]), int(word)) for word in order]
    heapq.heapify(heap)
    parent = np.empty(2 * words - 1, dtype=np.int64)
    digit = np.zeros(2 * words - 1, dtype=np.int8)
    for node in range(words, 2 * words - 1):
        total = 0
        for turn in (0, 1):
            child = heapq.heappop(heap)
            parent[child.number], digit[child.number] = node, turn
            total += child.count
        heapq.heappush(heap, _Node(total, node))
    root = 2 * words - 2
    starts, nodes, turns = [0], [], []
    for word in range(words):
        path, node = [], word
        while node != root:
            path.append((root - int(parent[node]), 1 - 2 * int(digit[node])))
            node = int(parent[node])
        nodes += [inner for inner, _ in reversed(path)]
        turns += [turn for _, turn in reversed(path)]
        starts.append(len(nodes))
    lengths = np.diff(starts)
    return Tree(
        np.array(starts, dtype=np.int64), np.array(nodes, np.int32), np.array(turns, np.int8), int(lengths.max())
    )
