"""Pairs of segments: which stand together, how often, and how long they are."""

from pathlib import Path

import numpy as np
import pytest

from lm.masking_config import SegmentsConfig
from lm.sentence_pairs import NEXT, NO_PAIR, OTHER, plan
from lm.sentences import Sentences


def sentences(lengths: list[list[int]]) -> Sentences:
    """Documents of sentences of those lengths."""
    low, high, first, begin, at = [], [], [0], [0], 0
    for document in lengths:
        for length in document:
            low.append(at)
            high.append(at + length)
            at += length
        at += 1
        begin.append(at)
        first.append(len(low))
    return Sentences(*(np.array(column, dtype=np.int64) for column in (low, high, first, begin)))


def random_sentences(documents: int, most: int, seed: int = 0) -> Sentences:
    draw = np.random.default_rng(seed)
    return sentences([draw.integers(1, 30, draw.integers(1, most + 1)).tolist() for _ in range(documents)])


def document_of(text: Sentences, at: np.ndarray) -> np.ndarray:
    return np.searchsorted(text.begin, at, side="right") - 1


def test_next_sentences_follow_and_random_ones_are_of_another_document() -> None:
    text, config = random_sentences(200, 40), SegmentsConfig(length=64)
    rows = plan(text, config, 0, 0)
    a_low, a_high, b_low, b_high, label = rows.T
    assert (a_high > a_low).all()
    assert (b_high > b_low).all()
    assert (a_high - a_low + b_high - b_low <= 61).all()
    a, b = document_of(text, a_low), document_of(text, b_low)
    assert (a[label == NEXT] == b[label == NEXT]).all()
    assert (a[label == OTHER] != b[label == OTHER]).all()
    assert (b_low >= a_high)[label == NEXT].all()
    whole = (a_high - a_low + b_high - b_low < 61) & (label == NEXT)
    assert whole.sum() > 50
    assert (a_high == b_low)[whole].all()  # at the same sentence's end, where nothing was cut off
    assert np.isin(a_high[whole], text.high).all()


@pytest.mark.parametrize("most", [4, 12, 60])
def test_half_of_all_pairs_are_random_however_short_the_documents(most: int) -> None:
    text, config = random_sentences(120_000 // most, most), SegmentsConfig(length=48)
    labels = np.concatenate([plan(text, config, 3, number)[:, 4] for number in range(3)])
    assert len(labels) > 10_000
    assert (labels == OTHER).mean() == pytest.approx(0.5, abs=0.01)


def test_every_sentence_is_an_a_or_a_b_that_follows() -> None:
    """What a random B displaced is used again: nothing but what truncation cuts off is lost."""
    text = sentences([[5] * 11, [5] * 9, [5] * 4])
    for number in range(20):
        rows = plan(text, SegmentsConfig(length=43, short_probability=0.0), 0, number)
        read = np.zeros(text.begin[-1], dtype=int)
        for a_low, a_high, b_low, b_high, label in rows.tolist():
            read[a_low:a_high] += 1
            if label == NEXT:
                read[b_low:b_high] += 1
        inside = np.concatenate([np.arange(low, high) for low, high in zip(text.low, text.high, strict=True)])
        assert (read[inside] == 1).all()


def test_swapped_segments_are_neighbours_and_lone_sentences_have_no_pair() -> None:
    text, config = random_sentences(3000, 20), SegmentsConfig(length=80, pairs="sop")
    rows = plan(text, config, 0, 0)
    a_low, _, b_low, b_high, label = rows.T
    paired = label != NO_PAIR
    assert (b_high[~paired] == 0).all()
    assert (document_of(text, a_low) == document_of(text, b_low))[paired].all()
    assert (a_low < b_low)[label == NEXT].all()
    assert (a_low > b_low)[label == OTHER].all()
    assert (label[paired] == OTHER).mean() == pytest.approx(0.5, abs=0.03)


def test_short_examples_come_from_a_tenth_of_the_documents() -> None:
    text = sentences([[4] * 100] * 1000)
    for probability in (0.0, 0.1):
        rows = plan(text, SegmentsConfig(length=128, pairs="sop", short_probability=probability), 0, 0)
        lengths = rows[:, 1] - rows[:, 0] + rows[:, 3] - rows[:, 2]
        first = np.unique(document_of(text, rows[:, 0]), return_index=True)[1]
        assert (lengths[first] < 125).mean() == pytest.approx(probability, abs=0.03)


def test_full_sentences_fill_examples_over_the_ends_of_documents() -> None:
    text = sentences([[10, 10, 10], [], [4], [25]])
    rows = plan(text, SegmentsConfig(length=32, pairs="none"), 0, 0)
    assert rows.tolist() == [[0, 30, 0, 0, NO_PAIR], [32, 62, 0, 0, NO_PAIR]]
    rows = plan(text, SegmentsConfig(length=40, pairs="none"), 0, 0)
    assert rows.tolist() == [[0, 36, 0, 0, NO_PAIR], [37, 62, 0, 0, NO_PAIR]]


def test_passes_differ_and_are_a_function_of_the_seed() -> None:
    text, config = random_sentences(50, 30), SegmentsConfig(length=64)
    first = plan(text, config, 0, 0)
    assert np.array_equal(first, plan(text, config, 0, 0))
    assert not np.array_equal(first[:20], plan(text, config, 0, 1)[:20])
    assert not np.array_equal(first[:20], plan(text, config, 1, 0)[:20])


def test_one_document_has_no_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 documents with text.*segments.pairs: sop or none"):
        plan(sentences([[3, 4], []]), SegmentsConfig(), 0, 0)
