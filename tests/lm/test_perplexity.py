"""Bits per byte by hand, its baselines, and that it does not depend on how it is computed."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.packing import PackedSequences
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokens import TokenIndex, build_index


@pytest.fixture
def index(shards: list[Path]) -> TokenIndex:
    return build_index(shards)


@pytest.fixture
def token_bytes(tokenizer_dir: Path) -> np.ndarray:
    return token_byte_lengths(load_tokenizer(tokenizer_dir))


class Uniform(nn.Module):
    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(vocab))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*tokens.shape, -1)


def test_a_uniform_model_pays_log_vocab_for_each_token_of_text(index: TokenIndex, token_bytes: np.ndarray) -> None:
    packed = PackedSequences(index, 1)  # no tail is lost: every token of every document is scored
    got = bits_per_byte(Uniform(index.vocab), packed, token_bytes, batch=500)
    assert got["bytes"] == index.bytes.sum()
    assert got["tokens"] == index.tokens
    assert got["bits_per_byte"] == pytest.approx(index.tokens * math.log2(index.vocab) / index.bytes.sum(), rel=1e-6)
    assert got["perplexity_per_token"] == pytest.approx(index.vocab, rel=1e-5)
    assert got["loss"] == pytest.approx(math.log(index.vocab), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_size_does_not_show(index: TokenIndex, token_bytes: np.ndarray, batch: int) -> None:
    model = GPT(GPTConfig(layers=1, width=16, heads=2, context=16, vocab=index.vocab), seed=1).double()
    packed = PackedSequences(index, 16)
    reference = bits_per_byte(model, packed, token_bytes, limit=20)
    assert bits_per_byte(model, packed, token_bytes, limit=20, batch=batch) == pytest.approx(reference, rel=1e-12)


def test_only_the_first_sequences_are_scored(index: TokenIndex, token_bytes: np.ndarray) -> None:
    packed = PackedSequences(index, 16)
    few = bits_per_byte(Uniform(index.vocab), packed, token_bytes, limit=3)
    targets = packed.batch(np.arange(3))["tokens"][:, 1:].numpy()
    assert few["bytes"] == token_bytes[targets].sum()
    assert few["tokens"] == (targets != index.end_of_text).sum()


def test_dropout_is_off_and_the_mode_is_put_back(index: TokenIndex, token_bytes: np.ndarray) -> None:
    config = GPTConfig(layers=1, width=16, heads=2, context=16, vocab=index.vocab, dropout=0.5)
    model, packed = GPT(config).train(), PackedSequences(index, 16)
    first, second = (bits_per_byte(model, packed, token_bytes, limit=4) for _ in range(2))
    assert first == second
    assert model.training


def test_unigram_equals_its_definition(index: TokenIndex, token_bytes: np.ndarray) -> None:
    packed, counts = PackedSequences(index, 16), index.token_counts()
    got = unigram_bits_per_byte(counts, packed, token_bytes, limit=5, smoothing=0.5)
    targets = packed.batch(np.arange(5))["tokens"][:, 1:].flatten().tolist()
    p = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    nats = -sum(math.log(p[t]) for t in targets if token_bytes[t])
    assert got["nats"] == pytest.approx(nats)
    assert got["bits_per_byte"] == pytest.approx(nats / math.log(2) / token_bytes[targets].sum())
    assert p.sum() == pytest.approx(1.0)


def test_unigram_is_the_best_constant_model_on_its_own_text(index: TokenIndex, token_bytes: np.ndarray) -> None:
    packed, counts = PackedSequences(index, 1), index.token_counts()
    own = unigram_bits_per_byte(counts, packed, token_bytes, smoothing=1e-9)
    other = unigram_bits_per_byte(counts + 5, packed, token_bytes)
    assert own["bits_per_byte"] < other["bits_per_byte"]


def test_evaluation_can_be_stopped_and_refuses_nothing_to_score(index: TokenIndex, token_bytes: np.ndarray) -> None:
    packed = PackedSequences(index, 16)
    with pytest.raises(Interrupted, match="evaluating"):
        bits_per_byte(Uniform(index.vocab), packed, token_bytes, should_stop=lambda: True)
    with pytest.raises(ValueError, match="smoothing must be positive"):
        unigram_bits_per_byte(index.token_counts(), packed, token_bytes, smoothing=0.0)
    with pytest.raises(ValueError, match="special tokens only"):
        bits_per_byte(Uniform(index.vocab), packed, np.zeros_like(token_bytes))
