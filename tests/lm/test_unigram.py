"""The Unigram tokenizer against enumeration: substrings, expectations, segmentations, and what pruning drops."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.stop import Interrupted, never
from lm.tokenizers import unigram
from lm.tokenizers.config import UnigramConfig
from lm.tokenizers.substrings import Strings, frequent_substrings
from lm.tokenizers.unigram_em import Arcs, alternatives, expected_counts, viterbi_counts
from tests.lm.tokenizer_kinds import CONFIGS, training_texts

WORDS = {"banana": 3, "bandana": 2, "ananas": 4, "ab": 7, "a": 1, "cab": 1}
CHARACTERS = sorted(set("".join(WORDS)))


def segmentations(word: str, scores: dict[str, float]) -> Iterator[tuple[str, ...]]:
    """All ways to cut a word into known pieces."""
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        places = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(word)]
        parts = tuple(word[a:b] for a, b in itertools.pairwise(places))
        if all(part in scores for part in parts):
            yield parts


@pytest.fixture
def lattice() -> tuple[Strings, Arcs, list[str], np.ndarray, np.ndarray]:
    """(strings, arcs, names, scores, starts): all substrings of up to 4 characters that occur twice."""
    strings = unigram._strings(WORDS, CHARACTERS)
    config = UnigramConfig(kind="unigram", vocab_size=600, max_piece_length=4)
    seeds, occurrences = unigram._seeds(strings, config)
    letters = [CHARACTERS[c] for c in strings.characters]
    names = ["".join(letters[s : s + n]) for s, n, _ in seeds]
    scores = np.log(seeds[:, 2] / seeds[:, 2].sum())
    return strings, Arcs.of(*occurrences, len(strings.characters)), names, scores, seeds


@given(words=st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 5), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_frequent_substrings_equal_a_count_of_all(words: dict[str, int]) -> None:
    characters = sorted(set("".join(words)))
    strings = unigram._strings(words, characters)
    letters = [characters[c] for c in strings.characters]
    found: dict[str, tuple[int, bool]] = {}
    for level in frequent_substrings(strings, 5, 2):
        assert len(level.positions) == len(level.numbers)
        for position, number in zip(level.positions, level.numbers, strict=True):
            name = "".join(letters[position : position + level.length])
            found[name] = (int(level.counts[number]), bool(level.maximal[number]))
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for i, j in itertools.combinations(range(len(word) + 1), 2):
            counts[word[i:j]] += times
    expected = {s: n for s, n in counts.items() if len(s) <= 5 and (n >= 2 or len(s) == 1)}
    assert {name: count for name, (count, _) in found.items()} == expected
    for name, (count, maximal) in found.items():
        if len(name) < 5:
            assert maximal == (max((counts[name + c] for c in characters), default=0) < count)


def test_expectations_equal_an_enumeration_of_all_segmentations(
    lattice: tuple[Strings, Arcs, list[str], np.ndarray, np.ndarray],
) -> None:
    strings, arcs, names, values, _ = lattice
    scores = dict(zip(names, values, strict=True))
    expected: Counter[str] = Counter()
    likelihood = 0.0
    for word, times in WORDS.items():
        ways = {parts: math.exp(sum(scores[p] for p in parts)) for parts in segmentations(word, scores)}
        total = sum(ways.values())
        likelihood += times * math.log(total)
        for parts, p in ways.items():
            for part in parts:
                expected[part] += times * p / total  # type: ignore[assignment]
    counts, got = expected_counts(strings, arcs, values)
    assert got == pytest.approx(likelihood, rel=1e-12)
    assert counts == pytest.approx([expected[name] for name in names], rel=1e-9)


def test_viterbi_and_alternatives_equal_the_best_of_all_segmentations(
    lattice: tuple[Strings, Arcs, list[str], np.ndarray, np.ndarray],
) -> None:
    strings, arcs, names, values, seeds = lattice
    values = values + np.linspace(0, 0.01, len(values))  # no two segmentations equally probable
    scores = dict(zip(names, values, strict=True))

    def score(parts: tuple[str, ...]) -> float:
        return sum(scores[p] for p in parts)

    best: Counter[str] = Counter()
    for word, times in WORDS.items():
        for part in max(segmentations(word, scores), key=score):
            best[part] += times
    assert viterbi_counts(strings, arcs, values).tolist() == [best[name] for name in names]
    offsets, pieces = alternatives(seeds[:, 0], seeds[:, 1], arcs, values)
    for i, name in enumerate(names):
        got = [names[p] for p in pieces[offsets[i] : offsets[i + 1]]][::-1]
        others = [parts for parts in segmentations(name, scores) if parts != (name,)]
        assert got == list(max(others, key=score, default=()))


def test_every_round_of_expectation_maximisation_raises_the_likelihood(
    lattice: tuple[Strings, Arcs, list[str], np.ndarray, np.ndarray],
) -> None:
    strings, arcs, _, scores, _ = lattice
    likelihoods = []
    for _ in range(6):
        counts, likelihood = expected_counts(strings, arcs, scores)
        likelihoods.append(likelihood)
        scores = np.log(np.maximum(counts, 1e-12) / counts.sum())
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] > likelihoods[0] + 1


def test_digamma_is_the_derivative_of_the_log_of_gamma() -> None:
    x = np.array([0.5, 1.0, 3.7, 12.0, 900.0])
    step = 1e-5
    numeric = [(math.lgamma(v + step) - math.lgamma(v - step)) / (2 * step) for v in x]
    assert unigram._digamma(x) == pytest.approx(numeric, rel=1e-6)
    assert unigram._digamma(np.array([1.0]))[0] == pytest.approx(-0.5772156649015329, abs=1e-12)


def test_encoding_is_the_most_probable_segmentation() -> None:
    tokenizer = unigram.train(training_texts(), CONFIGS["unigram"], never).tokenizer
    counts = unigram.pre_token_counts(tokenizer, training_texts())
    scores = dict(unigram.learn_scores(counts, CONFIGS["unigram"], never))
    words = [word for word in counts if len(word) <= 9 and all(c in scores for c in word)]
    assert len(words) > 100
    for word in words:
        best = max(sum(scores[p] for p in parts) for parts in segmentations(word, scores))
        got = tokenizer.encode(word, add_special_tokens=False).tokens
        assert sum(scores[piece] for piece in got) == pytest.approx(best, abs=1e-9)


def test_the_vocabulary_holds_the_covered_characters_and_has_its_size() -> None:
    counts = Counter({"aaaa": 100, "ab": 50, "z": 1})
    assert unigram.covered_characters(counts, 0.99, 9) == ["a", "b"]
    assert unigram.covered_characters(counts, 1.0, 9) == ["a", "b", "z"]
    assert unigram.covered_characters(counts, 1.0, 1) == ["a"]
    texts = training_texts()
    for size in (280, 400, 500):
        config = UnigramConfig(kind="unigram", vocab_size=size)
        tokenizer = unigram.train(texts, config, never).tokenizer
        assert tokenizer.get_vocab_size() == size


def test_many_characters_leave_room_for_words() -> None:
    """Thousands of Chinese characters would take the whole vocabulary; most of them are rare."""
    counts = {chr(0x4E00 + n): 3 for n in range(400)} | {"模型": 90, "学习": 80, "数据": 70, "模型学习": 30}
    config = UnigramConfig(kind="unigram", vocab_size=358, character_coverage=1.0)
    names = [name for name, _ in unigram.learn_scores(counts, config, never)]
    assert {"模型", "学习", "数据"} <= set(names)
    assert sum(len(name) == 1 for name in names) == 50  # half of what is left beside the bytes
    assert set("模型学习数据") <= set(names)


def test_it_is_stopped_between_rounds() -> None:
    with pytest.raises(Interrupted, match="fitting the pieces of a Unigram tokenizer"):
        unigram.learn_scores({"abab": 9}, UnigramConfig(kind="unigram"), lambda: True)
