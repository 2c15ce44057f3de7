"""Mixtures of two models: against sums over the vocabulary, a grid of weights and single probabilities."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lm.evaluate.mixture import (
    best_weight,
    log_probs_figures,
    mixed_log_probs,
    network_log_probs,
    ngram_log_probs,
)
from lm.evaluate.perplexity import bits_per_byte
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.ngram.score import ngram_bits_per_byte
from lm.packing import PackedSequences
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokens import build_index


def test_a_mixture_of_distributions_is_a_distribution() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.dirichlet(np.ones(9), 2)
    for weight in (0.0, 0.3, 1.0):
        p = np.exp(mixed_log_probs(np.log(first), np.log(second), weight))
        assert p.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(p, weight * first + (1 - weight) * second, rtol=1e-12)


def test_the_best_weight_is_better_than_any_of_a_grid() -> None:
    draw = np.random.default_rng(1)
    first, second = np.log(draw.random((2, 500)))
    weight = best_weight(first, second)
    assert 0.05 < weight < 0.95
    best = mixed_log_probs(first, second, weight).sum()
    assert all(best >= mixed_log_probs(first, second, w).sum() for w in np.linspace(0, 1, 101))
    assert best_weight(second, first) == pytest.approx(1 - weight)


def test_a_model_that_is_better_everywhere_gets_all_the_weight() -> None:
    logs = np.log(np.random.default_rng(2).uniform(0.1, 0.9, 50))
    assert best_weight(logs + 0.1, logs) == 1.0
    assert best_weight(logs, logs + 0.1) == 0.0
    assert best_weight(logs, np.full(50, -np.inf)) == 1.0  # the other one never saw any of it


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, not 1\.5"):
        mixed_log_probs(np.zeros(2), np.zeros(2), 1.5)
    with pytest.raises(ValueError, match=r"the same tokens by both models, got \(2,\) and \(3,\)"):
        best_weight(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="the same tokens"):
        best_weight(np.zeros(0), np.zeros(0))


def test_the_parts_are_scored_as_alone_and_the_mixture_is_better(shards: list[Path], tokenizer_dir: Path) -> None:
    index = build_index(shards)
    sequences = PackedSequences(index, 16)
    lengths = token_byte_lengths(load_tokenizer(tokenizer_dir))
    network = NNLM(NNLMConfig(order=3, embedding=4, hidden=6, vocab=index.vocab, start_token=index.end_of_text)).eval()
    with torch.no_grad():
        network.b.copy_(torch.from_numpy(np.log(index.token_counts() + 1.0)))
    build_ngram(index, tokenizer_dir, NgramConfig(order=2, smoothing="add_k", k=10.0), shards[0].parent / "ngram")
    trigram = load_ngram(shards[0].parent / "ngram")
    first, second = network_log_probs(network, sequences, 40), ngram_log_probs(trigram, sequences, 40)
    alone = bits_per_byte(network, sequences, lengths, 40), ngram_bits_per_byte(trigram, sequences, lengths, 40)
    for logs, expected in zip((first, second), alone, strict=True):
        found = log_probs_figures(logs, sequences, lengths)
        assert found["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], rel=1e-6)
        assert (found["tokens"], found["bytes"]) == (expected["tokens"], expected["bytes"])
    weight = best_weight(first.ravel(), second.ravel())
    together = log_probs_figures(mixed_log_probs(first, second, weight), sequences, lengths)
    assert together["bits_per_byte"] <= min(found["bits_per_byte"] for found in alone) + 1e-9
    with pytest.raises(Interrupted, match="while scoring"):
        network_log_probs(network, sequences, should_stop=lambda: True)
