"""What the history of language models claims, where a small exact test can show it (C: the claims' numbers)."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.models.transformer_xl import TransformerXL
from lm.models.transformer_xl_config import TransformerXLConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig
from lm.objectives.causal import CausalObjective


def cosines(vectors: Tensor) -> Tensor:
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    return unit @ unit.T


def test_c2_one_hot_vectors_are_all_equally_unlike_and_learned_ones_are_not() -> None:
    """Two pairs of words that stand in for one another: 0 and 1 before 2, 3 and 4 before 5."""
    assert torch.equal(cosines(torch.eye(6)), torch.eye(6))
    draw = np.random.default_rng(0)
    pairs = np.array([[0, 2], [1, 2], [3, 5], [4, 5]])
    text = torch.from_numpy(pairs[draw.integers(0, 4, 40 * 8)].reshape(40, 16))
    model = RNNLM(RNNConfig(cell="elman", embedding=8, width=16, vocab=6), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        term = CausalObjective().losses(model, {"tokens": text}).terms["causal"]
        optimizer.zero_grad()
        (term.total / term.count).backward()
        optimizer.step()
    alike = cosines(model.token_embedding.weight.detach())
    related = torch.stack([alike[0, 1], alike[3, 4]])
    unrelated = torch.stack([alike[a, b] for a in (0, 1) for b in (3, 4)])
    assert related.min() > unrelated.max() + 0.2


SIZE = {"layers": 1, "width": 8, "heads": 2}
MODELS: dict[str, tuple[Callable[..., nn.Module], Callable[[int], Any]]] = {
    "gpt": (GPT, lambda vocab: GPTConfig(**SIZE, context=9, vocab=vocab)),
    "rnn": (RNNLM, lambda vocab: RNNConfig(embedding=5, width=7, vocab=vocab)),
    "xl": (TransformerXL, lambda vocab: TransformerXLConfig(**SIZE, inner=9, memory=12, vocab=vocab)),
    "xlnet": (XLNet, lambda vocab: XLNetConfig(**SIZE, inner=9, vocab=vocab)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_c3_parameters_grow_linearly_with_the_vocabulary(kind: str) -> None:
    made, config = MODELS[kind]
    counts = {vocab: config(vocab).parameter_count() for vocab in (10, 20, 40, 1010)}
    per_word = (counts[20] - counts[10]) // 10
    assert counts == {vocab: counts[10] + per_word * (vocab - 10) for vocab in counts}
    assert counts[40] == sum(p.numel() for p in made(config(40)).parameters())


def test_c3_distinct_ngrams_grow_faster_than_the_vocabulary() -> None:
    """In a text of words with Zipf's frequencies, n-grams seen grow as a power above one of words seen."""
    draw = np.random.default_rng(0)
    text = draw.zipf(1.3, 80_000)
    found = []
    for size in (5_000, 20_000, 80_000):
        part = text[:size]
        grams = [len(set(zip(*(part[i:].tolist() for i in range(n)), strict=False))) for n in (1, 2, 3)]
        found.append(grams)
    for before, after in pairwise(found):
        words, bigrams, trigrams = np.log(after) - np.log(before)
        assert bigrams / words > 1.05
        assert trigrams / words > bigrams / words


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_c6_the_loss_of_a_step_is_made_of_what_stood_before_it_alone(cell: str) -> None:
    """The third prediction in *machine* has a gradient for the vectors of m, a and c, and for no other letter's."""
    model = RNNLM(RNNConfig(cell=cell, embedding=5, width=7, vocab=7), seed=0)  # type: ignore[arg-type]
    loss = torch.nn.functional.cross_entropy(model(torch.arange(7)[None])[0, 2], torch.tensor(3))
    (gradient,) = torch.autograd.grad(loss, model.token_embedding.weight)
    assert (gradient != 0).any(1).tolist() == [True] * 3 + [False] * 4


def test_c7_a_model_with_a_state_reads_any_length_with_the_same_weights() -> None:
    for model in (RNNLM(RNNConfig(embedding=5, width=7, vocab=9)), TransformerXL(MODELS["xl"][1](9))):
        count = sum(p.numel() for p in model.parameters())
        for length in (1, 2, 100, 1000):
            assert model(torch.zeros(1, length, dtype=torch.int64)).shape == (1, length, 9)
        assert sum(p.numel() for p in model.parameters()) == count


def first_to_last(model: nn.Module, length: int) -> float:
    """|d (last output) / d (first vector)|, Frobenius, in fp64."""
    seen: list[Tensor] = []
    tokens = torch.randint(0, 9, (1, length), generator=torch.Generator().manual_seed(0))
    if isinstance(model, RNNLM):
        model.recurrent.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
        last = model.read(tokens).outputs[0, -1]
        rows = [torch.autograd.grad(x, seen[-1], retain_graph=True)[0][0, 0] for x in last]
    else:
        assert isinstance(model, GPT)
        model.token_embedding.register_forward_hook(lambda _m, _i, output: seen.append(output))
        last = model.hidden_states(tokens)[0, -1]
        rows = [torch.autograd.grad(x, seen[-1], retain_graph=True)[0][0, 0] for x in last]
    return float(torch.stack(rows).norm())


def test_c8_c19_gradients_vanish_through_steps_and_not_through_attention() -> None:
    """From 8 to 64 symbols away: an Elman network of spectral radius 0.8 loses .8 ** 56 or more, attention at most the
    share that one of 64 has in a mean, and a little."""
    elman = RNNLM(RNNConfig(cell="elman", embedding=6, width=6, vocab=9), seed=0).double()
    with torch.no_grad():
        cell = next(elman.recurrent.layers())["forward"]
        rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[
            0
        ]
        cell.weight_hh.copy_(0.8 * rotation)
    attention = GPT(GPTConfig(layers=1, width=8, heads=2, context=64, vocab=9), seed=0).double()
    assert first_to_last(elman, 64) / first_to_last(elman, 8) < 1.01 * 0.8**56
    assert 0.5 * 8 / 64 < first_to_last(attention, 64) / first_to_last(attention, 8) < 1.0


def test_c19_every_position_is_one_step_away_in_attention() -> None:
    """A GPT of one layer: the first symbol's vector enters the last output directly; with a band it does not reach."""
    from lm.nn.masks import Band

    model = GPT(GPTConfig(layers=1, width=8, heads=2, context=128, vocab=9), seed=0).double()
    seen: list[Tensor] = []
    model.token_embedding.register_forward_hook(lambda _m, _i, output: seen.append(output))
    tokens = torch.zeros(1, 128, dtype=torch.int64)
    for mask, reached in ((None, True), (Band(64), False)):
        (gradient,) = torch.autograd.grad(model.hidden_states(tokens, mask)[0, -1].square().sum(), seen[-1])
        seen.clear()
        assert bool((gradient[0, 0] != 0).any()) == reached
        assert (gradient[0, -1] != 0).any()
