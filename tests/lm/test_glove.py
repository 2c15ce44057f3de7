"""GloVe: co-occurrences as counted by hand, steps as PyTorch's AdaGrad makes them, a loss that falls."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.stop import Interrupted
from lm.vectors.config import GloVeConfig
from lm.vectors.cooccurrence import RECORD, cooccurrences, write_records
from lm.vectors.corpus import Corpus, corpus_of_words
from lm.vectors.glove import GloVe

Counts = dict[tuple[int, int], float]


def settings(**changes: Any) -> GloVeConfig:
    return GloVeConfig(kind="glove", **{"dimensions": 6, "min_count": 1, "window": 3, **changes})


def some_lines(seed: int = 0, lines: int = 30) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in random.zipf(1.4, 12) if word < 30) for _ in range(lines)]


def brute_force(corpus: Corpus, window: int) -> Counts:
    """1/d of every ordered pair of places within a sequence."""
    found: Counts = defaultdict(float)
    for begin, end in zip(corpus.offsets[:-1], corpus.offsets[1:], strict=True):
        rows = corpus.rows[begin:end].tolist()
        for p, word in enumerate(rows):
            for q, other in enumerate(rows):
                if p != q and abs(p - q) <= window:
                    found[word, other] += 1 / abs(p - q)
    return found


def gathered(corpus: Corpus, window: int, scratch: Path) -> Counts:
    batches = list(cooccurrences(corpus, window, scratch, 1 << 24))
    return {(i, j): x for batch in batches for i, j, x in zip(*(column.tolist() for column in batch), strict=True)}


@pytest.mark.parametrize("window", [1, 3, 10])
def test_cooccurrences_equal_brute_force(tmp_path: Path, window: int) -> None:
    corpus = corpus_of_words(some_lines(), 1, tmp_path)
    found, expected = gathered(corpus, window, tmp_path / "x"), brute_force(corpus, window)
    assert set(found) == {(i, j) for i, j in expected if i <= j}
    for (i, j), x in found.items():
        assert x == pytest.approx(expected[i, j], rel=1e-12)
        assert x == pytest.approx(expected[j, i], rel=1e-12)
    assert any(i == j for i, j in found)


def test_cooccurrences_by_hand(tmp_path: Path) -> None:
    corpus = corpus_of_words(["a b a c"], 1, tmp_path)
    a, b, c = (corpus.vocabulary.rows[word] for word in "abc")
    assert gathered(corpus, 2, tmp_path / "x") == {(a, a): 2 * 0.5, (a, b): 2.0, (a, c): 1.0, (b, c): 0.5}


def test_blocks_and_order_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are exact: not one bit differs."""
    lines = some_lines(lines=200)
    once = corpus_of_words(lines, 1, tmp_path / "1")
    turned = corpus_of_words(lines[::-1], 1, tmp_path / "2")
    whole = gathered(once, 7, tmp_path / "x")
    assert whole == gathered(turned, 7, tmp_path / "y")
    monkeypatch.setattr("lm.vectors.cooccurrence.BYTES_PER_PAIR", 1 << 14)  # blocks of some sequences
    assert whole == gathered(once, 7, tmp_path / "z")


def test_records_have_both_orders_once_and_shuffled(tmp_path: Path) -> None:
    corpus = corpus_of_words(some_lines(), 1, tmp_path)
    expected = brute_force(corpus, 3)
    records = write_records(cooccurrences(corpus, 3, tmp_path), 2.0, 0.75, 0, tmp_path)
    pairs = list(zip(records["word"].tolist(), records["other"].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == set(expected)
    assert pairs != sorted(pairs)
    for pair, log, weight in zip(pairs, records["log"], records["weight"], strict=True):
        assert log == pytest.approx(np.log(expected[pair]), abs=1e-5)
        assert weight == pytest.approx(min(1, (expected[pair] / 2.0) ** 0.75), rel=1e-5)
    with pytest.raises(ValueError, match="no two words stand beside each other"):
        write_records(iter([]), 2.0, 0.75, 0, tmp_path)


def test_steps_are_those_of_adagrad(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    records = np.empty(60, dtype=RECORD)
    records["word"], records["other"] = random.integers(0, 9, (2, 60))
    records["log"], records["weight"] = random.normal(size=60), random.random(60)
    model = GloVe(9, records, settings(learning_rate=0.2), dtype=np.float64)
    names = ("word", "context", "word_bias", "context_bias")
    w, c, w_bias, c_bias = (torch.from_numpy(model.arrays[name].copy()).requires_grad_() for name in names)
    # G begins at 1 and sums (rate g)²: with both divided by rate², that is AdaGrad with a rate of 1
    adagrad = torch.optim.Adagrad([w, c, w_bias, c_bias], lr=1.0, initial_accumulator_value=1 / 0.2**2, eps=0)
    expected = 0.0
    for i, j, log, weight in records.tolist():
        adagrad.zero_grad(set_to_none=False)
        loss = 0.5 * weight * (w[i] @ c[j] + w_bias[i] + c_bias[j] - log) ** 2
        loss.backward()
        adagrad.step()
        expected += float(loss.detach())
    loss, count = model.step(0)
    assert (loss, count) == (pytest.approx(expected, rel=1e-9), 60)
    for name, theirs in zip(names, (w, c, w_bias, c_bias), strict=True):
        np.testing.assert_allclose(model.arrays[name], theirs.detach().numpy(), atol=1e-9)


def test_the_loss_falls_in_every_epoch(tmp_path: Path) -> None:
    corpus = corpus_of_words(some_lines(lines=300), 1, tmp_path)
    config = settings(dimensions=12, x_max=10)
    records = write_records(cooccurrences(corpus, 3, tmp_path), config.x_max, config.exponent, 0, tmp_path)
    model = GloVe(len(corpus.vocabulary), records, config)
    losses = [model.step(epoch)[0] for epoch in range(25)]
    assert (np.diff(losses) < 0).all()
    assert losses[-1] < 0.5 * losses[0]


def test_asked_to_stop(tmp_path: Path) -> None:
    corpus = corpus_of_words(some_lines(), 1, tmp_path)
    with pytest.raises(Interrupted, match="counting co-occurrences"):
        list(cooccurrences(corpus, 3, tmp_path, should_stop=lambda: True))
