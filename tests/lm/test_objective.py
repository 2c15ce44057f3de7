"""Objectives: terms are sums, and the trainer's division makes accumulation equal the large batch."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.objectives.causal import IGNORE, CausalObjective, token_nats
from lm.train.objective import Losses, Term, combine, step_totals

CONFIG = GPTConfig(layers=2, width=16, heads=2, context=8, vocab=30)


def ragged_batch(rows: int) -> dict[str, torch.Tensor]:
    """Rows with very different numbers of targets, so that a mean of means would be wrong."""
    tokens = torch.randint(0, 30, (rows, 9), generator=torch.Generator().manual_seed(0))
    targets = tokens[:, 1:].clone()
    for row in range(rows):
        targets[row, 1 + row % 8 :] = IGNORE
    return {"tokens": tokens, "targets": targets}


def gradients(batches: list[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    model, objective = GPT(CONFIG, seed=1).double(), CausalObjective()
    totals = step_totals(objective, batches)
    for batch in batches:
        combine(objective.losses(model, batch), totals).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 4, 3], [11, 1], [6, 6]])
def test_accumulation_equals_the_large_batch(sizes: list[int]) -> None:
    batch = ragged_batch(12)
    split = [
        dict(zip(batch, parts, strict=True)) for parts in zip(*(t.split(sizes) for t in batch.values()), strict=True)
    ]
    for a, b in zip(gradients([batch]), gradients(split), strict=True):
        assert torch.allclose(a, b, atol=1e-15, rtol=1e-12)


def test_loss_is_the_mean_cross_entropy() -> None:
    model, objective, batch = GPT(CONFIG, seed=1).double(), CausalObjective(), ragged_batch(5)
    loss = combine(objective.losses(model, batch), step_totals(objective, [batch]))
    expected = F.cross_entropy(
        model(batch["tokens"][:, :-1]).flatten(0, 1), batch["targets"].flatten(), ignore_index=IGNORE
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)


def test_counts_are_known_before_the_forward_and_equal_the_terms() -> None:
    model, objective, batch = GPT(CONFIG), CausalObjective(), ragged_batch(5)
    losses = objective.losses(model, batch)
    assert {name: term.count for name, term in losses.terms.items()} == objective.counts(batch)


def test_nats_and_bytes_leave_special_tokens_out() -> None:
    token_bytes = np.arange(30) % 4
    model, batch = GPT(CONFIG, seed=1), {"tokens": ragged_batch(3)["tokens"]}
    losses = CausalObjective(token_bytes).losses(model, batch)
    targets = batch["tokens"][:, 1:]
    nats = token_nats(model(batch["tokens"][:, :-1]), targets)
    text = torch.from_numpy(token_bytes)[targets] > 0
    assert losses.nats is not None
    assert losses.nats.item() == pytest.approx(nats[text].sum().item(), rel=1e-6)
    assert losses.bytes == token_bytes[targets.numpy()].sum()
    assert losses.terms["causal"].total.item() == pytest.approx(nats.sum().item(), rel=1e-6)


def test_loss_is_computed_in_fp32_under_autocast() -> None:
    logits = torch.randn(2, 3, 30)
    targets = torch.zeros(2, 3, dtype=torch.int64)
    assert token_nats(logits.bfloat16(), targets).dtype == torch.float32
    assert token_nats(logits.double(), targets).dtype == torch.float64
    assert token_nats(torch.zeros(1, 1, 30), targets[:1, :1]).item() == pytest.approx(math.log(30))


def test_terms_are_weighted_and_divided_each_by_its_own_count() -> None:
    """L3 = L2 + lambda * L1 over two micro-batches of which one has no L2 term."""
    one, two = torch.tensor(6.0), torch.tensor(10.0)
    totals = {"l2": 3.0, "l1": 20.0}
    first = combine(Losses({"l2": Term(one, 3), "l1": Term(two, 12, weight=0.5)}), totals)
    second = combine(Losses({"l1": Term(two, 8, weight=0.5)}), totals)
    assert first.item() + second.item() == pytest.approx(6 / 3 + 0.5 * 20 / 20)


def test_a_term_with_nothing_to_count_adds_nothing() -> None:
    total = torch.zeros((), requires_grad=True)
    assert combine(Losses({"l1": Term(total, 0)}), {"l1": 0.0}).item() == 0.0


def test_broken_objectives_are_named() -> None:
    with pytest.raises(ValueError, match="'l1' is missing from its counts"):
        combine(Losses({"l1": Term(torch.zeros(()), 1)}), {"l2": 1.0})
    with pytest.raises(ValueError, match="at least one term"):
        combine(Losses({}), {})
