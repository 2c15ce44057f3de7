"""word2vec's kernel: pairs as listed by hand, gradients as autograd has them, draws as often as they should be."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.vectors.config import Word2VecConfig
from lm.vectors.corpus import Corpus, corpus_of_words
from lm.vectors.hierarchical import first_places, huffman_tree, no_tree
from lm.vectors.kernels import train
from lm.vectors.sampling import alias_table, keep_chances
from lm.vectors.train import train_vectors
from lm.vectors.word2vec import Word2Vec, chunk_bounds
from tests.lm.vectors_reference import Reference, cbow_examples, skipgram_pairs

THE, QUICK, BROWN, FOX = range(4)


def settings(**changes: Any) -> Word2VecConfig:
    return Word2VecConfig(kind="word2vec", **{"dimensions": 7, "min_count": 1, **changes})


def test_pairs_are_those_listed_by_hand() -> None:
    """`the quick brown fox`, looking 1, 2, 1 and 3 words far."""
    reaches = [1, 2, 1, 3]
    assert skipgram_pairs([THE, QUICK, BROWN, FOX], reaches) == [
        (THE, QUICK),
        (QUICK, THE),
        (QUICK, BROWN),
        (QUICK, FOX),
        (BROWN, QUICK),
        (BROWN, FOX),
        (FOX, THE),
        (FOX, QUICK),
        (FOX, BROWN),
    ]
    assert cbow_examples([THE, QUICK, BROWN, FOX], reaches) == [
        (THE, [QUICK]),
        (QUICK, [THE, BROWN, FOX]),
        (BROWN, [QUICK, FOX]),
        (FOX, [THE, QUICK, BROWN]),
    ]
    assert cbow_examples([THE], [2]) == []


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_the_kernel_makes_these_pairs(architecture: str) -> None:
    """With outputs that are unit vectors and a rate of almost nothing, the matrices say who met whom."""
    words, window = 6, 2
    sequence = np.arange(words, dtype=np.int32)
    inputs, outputs = np.zeros((words, words)), np.eye(words)
    keep = keep_chances(np.ones(words), 0.0)
    nothing_else = alias_table(np.array([1.0] + [0.0] * (words - 1)))
    counts = Counter()
    rate = 1e-9
    for state in range(40):
        inputs[:] = 0
        train(
            sequence, np.array([0, words]), inputs, outputs.copy(), keep, nothing_else, tuple(no_tree(words)),
            1, window, architecture == "cbow", False, np.array([rate]), np.uint64(state),
        )  # fmt: skip
        met = np.rint(inputs / (rate / 2)).astype(int)  # [around, middle]; of what is drawn, word 0, all lose 1/2
        for around in range(words):
            for middle in range(1, words):
                if met[around, middle]:
                    assert met[around, middle] == 1
                    counts[abs(around - middle)] += 1
    assert set(counts) == {1, 2}
    # each place looks 1 or 2 far: of the 7 pairs at distance 2 half are met, of the 9 at distance 1 all
    assert counts[2] / counts[1] == pytest.approx(0.5 * 7 / 9, abs=0.05)


CASES = [
    {"architecture": "skipgram"},
    {"architecture": "cbow"},
    {"architecture": "cbow", "cbow_update": "shared"},
    {"architecture": "skipgram", "output": "hierarchical_softmax"},
    {"architecture": "cbow", "output": "hierarchical_softmax", "cbow_update": "shared"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
def test_steps_are_those_of_autograd(case: dict[str, Any]) -> None:
    config = settings(**case, window=3, negatives=4)
    random = np.random.default_rng(1)
    sampled = config.output == "negative_sampling"
    words = 50_000 if sampled else 400
    counts = np.sort(random.integers(1, 100, words))[::-1]
    sequences = [random.integers(0, words, n).tolist() for n in (9, 1, 30, 2)]
    tree = no_tree(words) if sampled else huffman_tree(counts, np.arange(words))
    inputs = random.normal(0, 0.5, (words, 7))
    outputs = random.normal(0, 0.5, (words if sampled else tree.inner, 7))
    keep, tables = keep_chances(counts, 0.5 / words), alias_table(counts**0.75)
    rates = [0.5, 0.4, 0.3, 0.2]
    reference = Reference(config, inputs, outputs, keep, tables, tree)
    reference.train(sequences, rates, 12345)
    assert reference.collisions == 0  # of a word drawn twice the second gradient is taken behind the first step
    assert reference.predictions > 25
    offsets = np.cumsum([0, *map(len, sequences)])
    loss, predictions = train(
        np.concatenate(sequences).astype(np.int32), offsets, inputs, outputs, keep, tables, tuple(tree),
        config.negatives if sampled else 0, config.window, config.architecture == "cbow",
        config.cbow_update == "shared", np.array(rates), np.uint64(12345),
    )  # fmt: skip
    assert predictions == reference.predictions
    assert loss == pytest.approx(reference.loss, rel=1e-12)
    np.testing.assert_allclose(inputs, reference.inputs.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(outputs, reference.outputs.numpy(), rtol=0, atol=1e-12)


def test_hierarchical_softmax_is_a_distribution_and_huffman_is_optimal() -> None:
    random = np.random.default_rng(0)
    counts = random.integers(1, 1000, 101)
    tree = huffman_tree(counts, random.permutation(101))
    h, outputs = random.normal(size=5), random.normal(size=(tree.inner, 5))
    total = 0.0
    for word in range(101):
        here = slice(tree.starts[word], tree.starts[word + 1])
        total += math.prod(1 / (1 + np.exp(-tree.turns[here] * (outputs[tree.nodes[here]] @ h))))
    assert total == pytest.approx(1.0, abs=1e-12)
    lengths = np.diff(tree.starts)
    assert (0.5**lengths).sum() == pytest.approx(1.0)  # Kraft: a full tree
    entropy = -(counts / counts.sum() * np.log2(counts / counts.sum())).sum()
    assert entropy <= (counts * lengths).sum() / counts.sum() < entropy + 1
    assert huffman_tree(np.array([5, 2]), np.arange(2)).longest == 1
    with pytest.raises(ValueError, match="a tree needs two words or more, there are 1: give more text"):
        huffman_tree(np.array([5]), np.zeros(1))


def test_where_words_first_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([3, 0, 5, 3, 1, 2, 0, 4], dtype=np.int32)
    assert first_places(rows, 6).tolist() == [1, 4, 5, 0, 7, 2]
    monkeypatch.setattr("lm.vectors.hierarchical.ROWS_AT_ONCE", 3)
    assert first_places(rows, 6).tolist() == [1, 4, 5, 0, 7, 2]


def test_the_tree_is_that_of_gensim() -> None:
    """Codes of gensim 4.4 (`Word2Vec([text.split()], hs=1, negative=0, min_count=1)`): many words of equal counts."""
    text = "c c c c d d d a a b b e e f g h i j k"
    words = list(dict.fromkeys(text.split()))
    counts = np.array([text.split().count(word) for word in words])
    tree = huffman_tree(counts, np.arange(len(words)))
    gensim = {"c": "01", "d": "110", "a": "101", "b": "001", "e": "100", "f": "0000", "g": "0001"}
    gensim |= {"h": "11100", "i": "11101", "j": "11110", "k": "11111"}
    codes = {}
    for row, word in enumerate(words):
        turns = tree.turns[tree.starts[row] : tree.starts[row + 1]]
        codes[word] = "".join("0" if turn == 1 else "1" for turn in turns)
    assert codes == gensim


def test_alias_tables_hold_the_weights() -> None:
    weights = np.random.default_rng(0).random(57) ** 4
    share, other = alias_table(weights)
    kept = share / 2.0**32
    chances = kept.copy()
    np.add.at(chances, other, 1 - kept)
    np.testing.assert_allclose(chances / 57, weights / weights.sum(), atol=1e-9)
    for bad in (np.zeros(3), np.array([1.0, -1.0]), np.array([np.nan]), np.empty(0)):
        with pytest.raises(ValueError, match="weights that are finite, not negative, and not all 0"):
            alias_table(bad)


def test_frequent_words_are_left_out_as_often_as_the_formula_says() -> None:
    counts = np.array([900, 90, 9, 1])
    f = counts / 1000
    expected = np.minimum(1, (np.sqrt(f / 0.01) + 1) * 0.01 / f)
    np.testing.assert_allclose(keep_chances(counts, 0.01) / 2.0**32, expected, atol=1e-9)
    assert (keep_chances(counts, 0.0) == 2**32).all()


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    random = np.random.default_rng(0)
    lines = [" ".join(f"w{word}" for word in random.zipf(1.5, 40) if word < 60) for _ in range(50)]
    return corpus_of_words(lines, 2, tmp_path)


def test_the_rate_falls_with_the_words_to_its_end(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.vectors.word2vec.CHUNK_WORDS", 100)
    model = Word2Vec(corpus, settings(epochs=3, learning_rate=0.5, final_learning_rate=0.1))
    chunks = len(model.sizes)
    assert chunks > 5
    assert model.sizes.sum() == len(corpus.rows)
    rates = [model.rate(n) for n in range(3 * chunks)]
    assert rates[0] == 0.5
    assert rates[chunks] == pytest.approx(0.5 - 0.4 / 3)
    assert (np.diff(rates) < 0).all()
    assert rates[-1] > 0.1


def test_chunks_are_whole_sequences() -> None:
    offsets = np.array([0, 5, 6, 30, 31, 60, 61])
    bounds = chunk_bounds(offsets, 10)
    assert bounds.tolist() == [0, 3, 5, 6]
    assert chunk_bounds(offsets, 1000).tolist() == [0, 6]
    assert chunk_bounds(np.array([0, 3]), 1).tolist() == [0, 1]


def test_the_loss_on_the_way_rises_with_the_falling_rate_and_that_at_rest_falls(tmp_path: Path) -> None:
    """Words that stand together only within a line: a step helps with the next pairs, and its like is soon undone."""
    random = np.random.default_rng(0)
    lines = [" ".join(f"w{n}" for n in random.choice(random.integers(0, 400, 6), 60)) for _ in range(200)]
    config = settings(dimensions=16, epochs=6, sample=0.0, learning_rate=0.1)
    said = train_vectors(lines, None, config, tmp_path / "scratch", tmp_path / "model")
    on_the_way, at_rest = said["losses"], said["losses_at_rest"]
    assert on_the_way[2] < on_the_way[3] < on_the_way[4] < on_the_way[5]
    assert at_rest == sorted(at_rest, reverse=True)
    assert at_rest[0] > 3 * at_rest[-1]
    # at the end the rate is nearly 0: what is on the way is at rest
    assert on_the_way[-1] == pytest.approx(at_rest[-1], rel=0.05)


def test_looking_at_rest_moves_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    lines = [" ".join(f"w{n}" for n in random.integers(0, 50, 40)) for _ in range(100)]
    model = Word2Vec(corpus_of_words(lines, 1, tmp_path), settings(epochs=1))
    model.step(0)
    before = {name: array.tobytes() for name, array in model.arrays.items()}
    assert model.at_rest() == model.at_rest()
    assert {name: array.tobytes() for name, array in model.arrays.items()} == before
