"""A million tokens of BERT's data builder, as it hands them to training: masks and pairs are what the paper says, by
chi-squared tests (p > .01); the pairs also have the lengths that a plain rendering of its algorithm gives."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2

from lm.masked_examples import MaskedExamples
from lm.masking import Masked
from lm.masking_config import MaskingConfig, SegmentsConfig
from lm.sentence_pairs import NEXT, OTHER
from lm.tokenizer import load_tokenizer
from tests.lm.masked_corpus import documents, make_index

LENGTH, PASSES = 128, 5
ROOM = LENGTH - 3
WINDOW = 4  # tokens that every segment has


@dataclass(frozen=True)
class Pair:
    """Where the two segments of an example stand in the text, and what was said of them."""

    a: int
    a_tokens: int
    b: int
    b_tokens: int
    label: int


@dataclass(frozen=True)
class Built:
    """All examples of as many epochs as there are passes."""

    examples: MaskedExamples
    found: list[tuple[Masked, int, int]]
    pairs: list[Pair]

    def document(self, at: int) -> int:
        return int(np.searchsorted(self.examples.sentences.begin, at, side="right")) - 1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    index, folder = make_index(tmp_path_factory.mktemp("million"), documents(800))
    examples = MaskedExamples(
        index, load_tokenizer(folder), MaskingConfig(), SegmentsConfig(length=LENGTH, passes=PASSES), seed=0
    )
    found = [examples.example(number) for number in range(PASSES * len(examples))]
    return Built(examples, found, located(examples, found))


def original(masked: Masked) -> np.ndarray:
    """The tokens before they were masked."""
    tokens = masked.tokens.copy()
    tokens[masked.positions] = masked.targets
    return tokens


def located(examples: MaskedExamples, found: list[tuple[Masked, int, int]]) -> list[Pair]:
    """The segments by their tokens alone, looked up in the text."""
    begin = examples.sentences.begin
    stream = np.concatenate([np.append(examples.read(a, b - 1), -1) for a, b in pairwise(begin.tolist())])
    text = stream.tolist()
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at in range(len(text) - WINDOW + 1):
        places[tuple(text[at : at + WINDOW])].append(at)

    def place(tokens: list[int]) -> int:
        [at] = [at for at in places[tuple(tokens[:WINDOW])] if text[at : at + len(tokens)] == tokens]
        return at

    pairs = []
    for masked, second, label in found:
        ids = original(masked).tolist()
        a, b = ids[1 : second - 1], ids[second:-1]
        pairs.append(Pair(place(a), len(a), place(b), len(b), label))
    return pairs


def p_value(observed: np.ndarray, expected: np.ndarray, constraints: int = 1) -> float:
    """Of Pearson's chi-squared; `constraints`: sums that are equal by construction."""
    assert expected.min() >= 5
    return float(chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed) - constraints))


def test_it_is_a_million_tokens(built: Built) -> None:
    assert sum(len(masked.tokens) for masked, _, _ in built.found) > 1_000_000


def test_fifteen_percent_are_asked_wherever_they_stand_and_whatever_they_are(built: Built) -> None:
    parts, vocab = 20, built.examples.index.vocab
    special = set(range(vocab)) - set(built.examples.ordinary.tolist())
    by_place, by_token = np.zeros((2, parts)), np.zeros((2, vocab))
    for masked, second, _ in built.found:
        ids = original(masked)
        assert len(masked.positions) == max(1, round(len(ids) * 0.15))
        text = np.ones(len(ids), dtype=bool)
        text[[0, second - 1, -1]] = False
        assert set(ids[~text].tolist()) <= special
        assert text[masked.positions].all()
        rank = np.cumsum(text) - 1
        part = rank * parts // text.sum()
        share = len(masked.positions) / text.sum()
        for table, of in ((by_place, part), (by_token, ids)):
            table[0] += np.bincount(of[masked.positions], minlength=table.shape[1])
            table[1] += share * np.bincount(of[text], minlength=table.shape[1])
    asked, tokens = by_place[0].sum(), sum(len(masked.tokens) for masked, _, _ in built.found)
    assert asked / tokens == pytest.approx(0.15, abs=0.002)  # of 128 it is 19
    assert p_value(*by_place) > 0.01
    common = by_token[1] >= 5
    assert common.sum() > 250
    assert by_token[0].sum() == asked
    assert p_value(*by_token[:, common]) > 0.01


def test_of_those_80_10_10_are_hidden_replaced_and_kept(built: Built) -> None:
    ordinary, mask = built.examples.ordinary, built.examples.special.mask
    seen = np.concatenate([masked.tokens[masked.positions] for masked, _, _ in built.found])
    targets = np.concatenate([masked.targets for masked, _, _ in built.found])
    same = 1 / len(ordinary)  # what is put in its place may be the token itself
    fates = np.bincount(np.where(seen == mask, 0, np.where(seen != targets, 1, 2)), minlength=3)
    assert p_value(fates, len(seen) * np.array([0.8, 0.1 * (1 - same), 0.1 * (1 + same)])) > 0.01
    replaced = seen[(seen != mask) & (seen != targets)]
    assert np.isin(replaced, ordinary).all()
    expected = np.array([(targets != token).mean() for token in ordinary])  # it is never the token that stood there
    counts = np.bincount(replaced, minlength=built.examples.index.vocab)[ordinary]
    assert p_value(counts, expected / expected.sum() * len(replaced)) > 0.01
    untouched = [np.delete(masked.tokens, masked.positions) for masked, _, _ in built.found]
    assert not (np.concatenate(untouched) == mask).any()


def test_half_of_the_pairs_follow_and_the_others_are_of_any_other_document(built: Built) -> None:
    labels = np.array([pair.label for pair in built.pairs])
    assert set(labels.tolist()) == {NEXT, OTHER}
    assert p_value(np.bincount(labels, minlength=2), np.full(2, len(labels) / 2)) > 0.01
    count = len(built.examples.index)
    drawn, of_a = np.zeros(count), np.zeros(count)
    for pair in built.pairs:
        a, b = built.document(pair.a), built.document(pair.b)
        if pair.label == NEXT:
            assert a == b
            assert pair.b >= pair.a + pair.a_tokens
        else:
            assert a != b
            drawn[b] += 1
            of_a[a] += 1
    expected = (drawn.sum() - of_a) / (count - 1)
    assert p_value(drawn, expected / expected.sum() * drawn.sum()) > 0.01


def rendered(lengths: list[list[int]], draw: random.Random) -> Iterator[tuple[int, int, int, float]]:
    """(class, tokens of A, tokens of B, where B begins in its document, 0 to 1) of one pass over sentences of those
    lengths: `create_pretraining_data.py` of google-research/bert, and the debt that `lm.sentence_pairs` adds to it."""
    owed = 0
    for number, sentences in enumerate(lengths):
        target = draw.randint(2, ROOM) if draw.random() < 0.1 else ROOM
        chunk: list[int] = []
        at = 0
        while at < len(sentences):
            chunk.append(sentences[at])
            at += 1
            if at < len(sentences) and sum(chunk) < target:
                continue
            end = 1 if len(chunk) == 1 else draw.randint(1, len(chunk) - 1)
            a, other = sum(chunk[:end]), draw.random() < 0.5
            if len(chunk) == 1:
                owed += not other
                other = True
            elif other and owed:
                other, owed = False, owed - 1
            if other:
                elsewhere = draw.randrange(len(lengths) - 1)
                of = lengths[elsewhere + (elsewhere >= number)]
                start, b = draw.randrange(len(of)), 0
                for length in of[start:]:
                    b += length
                    if b >= target - a:
                        break
                at -= len(chunk) - end
            else:
                of, start, b = sentences, at - len(chunk) + end, sum(chunk[end:])
            begin = sum(of[:start])
            while a + b > ROOM:
                front = draw.random() < 0.5
                if a > b:
                    a -= 1
                else:
                    b, begin = b - 1, begin + front
            yield (OTHER if other else NEXT), a, b, begin / sum(of)
            chunk = []


def test_pairs_are_as_long_and_from_where_a_plain_rendering_of_the_algorithm_has_them(built: Built) -> None:
    text = built.examples.sentences
    assert (np.diff(text.first) > 0).all()
    sizes = (text.high - text.low).tolist()
    lengths = [sizes[first:last] for first, last in pairwise(text.first.tolist())]
    draw = random.Random(1)
    other = [row for _ in range(PASSES) for row in rendered(lengths, draw)]
    ours = []
    for pair in built.pairs:
        begin, end = text.begin[built.document(pair.b)], text.begin[built.document(pair.b) + 1]
        ours.append((pair.label, pair.a_tokens, pair.b_tokens, (pair.b - begin) / (end - begin - 1)))
    assert len(ours) == pytest.approx(len(other), rel=0.01)

    def binned(rows: list[tuple[int, int, int, float]]) -> Counter[tuple[int, int, int, int]]:
        cuts = [15, 30, 50, 62, 63, 80, 110]
        return Counter(
            (label, int(np.searchsorted(cuts, a)), int(np.searchsorted(cuts, b)), int(4 * place))
            for label, a, b, place in rows
        )

    ours_binned, other_binned = binned(ours), binned(other)
    frequent = [key for key in ours_binned | other_binned if ours_binned[key] + other_binned[key] >= 20]
    table = np.array([[counts[key] for key in frequent] for counts in (ours_binned, other_binned)], dtype=float)
    assert table.sum() > 0.9 * (len(ours) + len(other))
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(frequent) - 1) > 0.01
