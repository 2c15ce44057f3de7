"""Pieces of words by merging the most frequent pair again and again (Sennrich et al. 2016, algorithm 1)."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lm.stop import ShouldStop, check
from lm.tokenizers.common import CONTINUES

CHECK_EVERY = 100


def learn_pieces(
    counts: Mapping[str, int], alphabet: Sequence[str], room: int, min_frequency: int, should_stop: ShouldStop
) -> list[str]:
    """At most `room` new pieces in the order in which they were merged.

    Words are written in symbols of `alphabet`, `##` before all characters but the first; a word with a character
    that is not in it is left out. Of pairs with equal counts the one whose symbols are older is merged first, so
    that the result depends on the counts only. Raises Interrupted if asked to stop.
    """
    names = list(alphabet)
    number = {name: n for n, name in enumerate(names)}
    words, weights = _written(counts, number)
    pair_counts: dict[tuple[int, int], int] = defaultdict(int)
    found_in: dict[tuple[int, int], set[int]] = defaultdict(set)
    for at, (word, weight) in enumerate(zip(words, weights, strict=True)):
        for pair in pairwise(word):
            pair_counts[pair] += weight
            found_in[pair].add(at)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    pieces: list[str] = []
    while heap and len(pieces) < room:
        negative, pair = heapq.heappop(heap)
        count = pair_counts.get(pair, 0)
        if count != -negative:  # it has changed since it was put there, and was put there again
            continue
        if count < min_frequency:
            break
        name = names[pair[0]] + names[pair[1]].removeprefix(CONTINUES)
        if name not in number:
            number[name] = len(names)
            names.append(name)
            pieces.append(name)
            if len(pieces) % CHECK_EVERY == 0:
                check(should_stop, "learning the pieces of words")
        changed: dict[tuple[int, int], int] = defaultdict(int)
        for at in found_in.pop(pair):
            before, after = words[at], _merged(words[at], pair, number[name])
            for old in pairwise(before):
                changed[old] -= weights[at]
            for new in pairwise(after):
                changed[new] += weights[at]
                found_in[new].add(at)
            words[at] = after
        for other, change in changed.items():
            if change:
                pair_counts[other] += change
                heapq.heappush(heap, (-pair_counts[other], other))
        del pair_counts[pair]
    return pieces


def _written(counts: Mapping[str, int], number: Mapping[str, int]) -> tuple[list[list[int]], list[int]]:
    words, weights = [], []
    for word, count in sorted(counts.items()):
        symbols = [word[0], *(CONTINUES + character for character in word[1:])]
        if all(symbol in number for symbol in symbols):
            words.append([number[symbol] for symbol in symbols])
            weights.append(count)
    return words, weights


def _merged(word: list[int], pair: tuple[int, int], into: int) -> list[int]:
    merged: list[int] = []
    at = 0
    while at < len(word):
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            merged.append(into)
            at += 2
        else:
            merged.append(word[at])
            at += 1
    return merged
