"""Which segments stand together in an example: BERT's pairs, ALBERT's swapped ones, RoBERTa's full sentences.

As in google-research/bert `create_pretraining_data.py`: sentences of a document are put together until the target
length; the first few of them, up to a sentence's end, are A. Every other time B is the rest; otherwise B is from
another document, and the rest is used again for the next pair. What is too long loses tokens at either end of the
longer segment.

One thing differs. A stretch of a single sentence has no rest, so that its B must come from elsewhere; in short
documents far more than half of all pairs would be random. The pair that owed its "next" to the coin is paid back by the
next one that can be either.
"""

import numpy as np

from lm.compiled import kernel
from lm.masking_config import SegmentsConfig
from lm.order import draw_seed
from lm.sentences import Sentences

NEXT, OTHER, NO_PAIR = 0, 1, -100
"""Classes of the pair head: B follows A in the text; it does not. -100: there is no second segment to judge."""


def plan(sentences: Sentences, config: SegmentsConfig, seed: int, number: int) -> np.ndarray:
    """The examples of pass `number` over the text, int64 [examples, 5]: where A begins and ends, where B does (0 and 0:
    there is none), and the pair's class. Raises ValueError if there is no other document to take a B from."""
    if config.pairs == "none":
        return _full_sentences(sentences.low, sentences.high, config.length - 2)
    documents = np.flatnonzero(np.diff(sentences.first) > 0)
    if config.pairs == "nsp" and len(documents) < 2:
        raise ValueError(
            f"{len(documents)} documents with text: next-sentence prediction takes every other second segment from"
            " another document; give more, or choose segments.pairs: sop or none"
        )
    return _pairs(
        sentences.low,
        sentences.high,
        sentences.first,
        documents,
        config.length - 3,
        config.short_probability,
        config.pairs == "sop",
        np.uint64(draw_seed(seed, "pairs", number)),
    )


@kernel
def _full_sentences(low: np.ndarray, high: np.ndarray, room: int) -> np.ndarray:
    """As many sentences that follow one another as there is room for; between documents stands one separator."""
    rows = np.zeros((len(low), 5), dtype=np.int64)
    count, at = 0, 0
    while at < len(low):
        last = at
        while last + 1 < len(low) and high[last + 1] - low[at] <= room:
            last += 1
        rows[count, 0], rows[count, 1], rows[count, 4] = low[at], high[last], -100
        count, at = count + 1, last + 1
    return rows[:count].copy()


@kernel
def _draw(state: np.ndarray) -> float:
    """The next number in [0, 1) of splitmix64 (Steele, Lea & Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((z ^ (z >> np.uint64(31))) >> np.uint64(11)) / 9007199254740992.0


@kernel
def _between(state: np.ndarray, least: int, most: int) -> int:
    return least + int(_draw(state) * (most - least + 1))


@kernel
def _pairs(
    low: np.ndarray,
    high: np.ndarray,
    first: np.ndarray,
    documents: np.ndarray,
    room: int,
    short_probability: float,
    swap: bool,
    seed: np.uint64,
) -> np.ndarray:
    state = np.array([seed], dtype=np.uint64)
    rows = np.zeros((len(low), 5), dtype=np.int64)
    count, owed = 0, 0
    for document in range(len(first) - 1):
        end = first[document + 1]
        target = _between(state, 2, room) if _draw(state) < short_probability else room
        at = first[document]
        while at < end:
            last = at
            while last + 1 < end and high[last] - low[at] < target:
                last += 1
            # A: the sentences at .. cut; B: the rest, or from elsewhere, or none.
            cut = at if last == at else _between(state, at, last - 1)
            a_low, a_high, b_low, b_high, label = low[at], high[cut], np.int64(0), np.int64(0), np.int64(-100)
            at = last + 1
            other = _draw(state) < 0.5
            if cut == last:
                if not swap:
                    owed += 0 if other else 1
                    label = np.int64(1)
            elif swap:
                label = np.int64(1) if other else np.int64(0)
            else:
                if other and owed > 0:
                    other, owed = False, owed - 1
                label = np.int64(1) if other else np.int64(0)
            if label == 1 and not swap:
                at = cut + 1
                elsewhere = document
                while elsewhere == document:
                    elsewhere = documents[_between(state, 0, len(documents) - 1)]
                start = _between(state, first[elsewhere], first[elsewhere + 1] - 1)
                wanted, stop = target - (a_high - a_low), start
                while stop + 1 < first[elsewhere + 1] and high[stop] - low[start] < wanted:
                    stop += 1
                b_low, b_high = low[start], high[stop]
            elif label != -100:
                b_low, b_high = low[cut + 1], high[last]
            while (a_high - a_low) + (b_high - b_low) > room:
                front = _draw(state) < 0.5
                if a_high - a_low > b_high - b_low:
                    a_low, a_high = (a_low + 1, a_high) if front else (a_low, a_high - 1)
                else:
                    b_low, b_high = (b_low + 1, b_high) if front else (b_low, b_high - 1)
            if swap and label == 1:
                a_low, a_high, b_low, b_high = b_low, b_high, a_low, a_high
            rows[count, 0], rows[count, 1], rows[count, 2], rows[count, 3] = a_low, a_high, b_low, b_high
            rows[count, 4] = label
            count += 1
    return rows[:count].copy()
