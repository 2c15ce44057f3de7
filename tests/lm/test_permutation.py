"""XLNet's orders and its objective."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig
from lm.nn.memory import READ
from lm.objectives.permutation import (
    RANK,
    TARGETS,
    PermutationObjective,
    Permuted,
    spans,
)
from lm.order import examples_at, in_order, numbered_by_epoch
from lm.streams import ArrayPieces, Lanes
from tests.lm.small_xlnet import SMALL, changed, sharp, tokens


class Numbers:
    """Example i holds i everywhere."""

    fingerprint = "numbers"

    def __len__(self) -> int:
        return 11

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        return {"tokens": torch.as_tensor(indices)[:, None].expand(-1, 25).clone()}


def test_orders_follow_from_seed_epoch_and_example() -> None:
    config = PermutationConfig()
    permuted = Permuted(Numbers(), 24, config, seed=3)
    once = permuted.batch(np.array([4, 11 + 4, 7]))
    again = Permuted(Numbers(), 24, config, seed=3).batch(np.array([7, 4, 15]))
    assert torch.equal(once["tokens"], torch.tensor([4, 4, 7])[:, None].expand(-1, 24))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        assert torch.equal(once[RANK][a], again[RANK][b])
        assert torch.equal(once[TARGETS][a], again[TARGETS][b])
    assert not torch.equal(once[RANK][0], once[RANK][1])  # another epoch
    other = Permuted(Numbers(), 24, config, seed=4)
    assert not torch.equal(once[RANK], other.batch(np.array([4, 15, 7]))[RANK])
    assert len({permuted.fingerprint, other.fingerprint}) == 2


def test_one_of_six_is_predicted_in_spans_and_any_order() -> None:
    permuted = Permuted(Numbers(), 120, PermutationConfig(), seed=0)
    counts, lengths, firsts = np.zeros(120), [], []
    for number in range(800):
        rank, targets = permuted.order(number)
        assert (np.flatnonzero(rank >= 0) == targets).all()
        assert sorted(rank[targets]) == list(range(20))
        counts[targets] += 1
        firsts.append(rank[targets[0]])
        runs = np.split(targets, np.flatnonzero(np.diff(targets) > 1) + 1)
        lengths += [len(run) for run in runs]
    assert counts.min() > 0.75 * 800 / 6
    assert counts.max() < 1.3 * 800 / 6
    # The first target stands anywhere in the order: chi-squared with 19 degrees of freedom, p = 0.001.
    seen = np.bincount(firsts, minlength=20)
    assert ((seen - 40) ** 2 / 40).sum() < 43.8
    share = np.bincount(lengths, minlength=6)[1:6] / len(lengths)
    assert (np.diff(share) < 0).all()
    assert 0.45 < share[0] < 0.75


@pytest.mark.parametrize(("context", "predict"), [(2, 1), (2, 2), (7, 6), (9, 1), (64, 6), (50, 3)])
def test_as_many_as_asked_for(context: int, predict: int) -> None:
    for seed in range(20):
        got = spans(context, PermutationConfig(predict=predict), np.random.default_rng(seed))
        assert len(set(got.tolist())) == context // predict
        assert got.min() >= 0
        assert got.max() < context


def test_numbers_carry_the_epoch() -> None:
    numbers = numbered_by_epoch(5, 40, 11, seed=2)
    assert (numbers % 11 == examples_at(5, 40, 11, seed=2)).all()
    assert (numbers // 11 == np.arange(5, 45) // 11).all()


def test_the_loss_by_hand_and_micro_batches() -> None:
    model, objective = sharp(SMALL), PermutationObjective()
    permuted = Permuted(ArrayPieces(tokens(1, 200)[0].numpy(), 16), 16, PermutationConfig(predict=4), seed=0)
    batch = permuted.batch(np.arange(5))
    losses = objective.losses(model, batch)
    expected = 0.0
    for row in range(5):
        for at in batch[TARGETS][row]:
            rank = batch[RANK][row]
            visible = torch.stack([(rank < 0) | (rank < rank[i]) for i in range(16)])
            streams = model.read(batch["tokens"][row : row + 1], visible, at.view(1, 1))
            assert streams.query is not None
            logits = model.logits(streams.query[0]).detach()
            expected += float(F.cross_entropy(logits, batch["tokens"][row, at].view(1)))
    assert losses.terms["permutation"].total.item() == pytest.approx(expected, rel=1e-9)
    assert {n: t.count for n, t in losses.terms.items()} == objective.counts(batch) == {"permutation": 20.0}
    assert objective.tokens(batch) == 80
    assert losses.carry == {}
    assert losses.nats is None


def test_with_a_memory_lanes_go_on() -> None:
    config = changed(memory=8, context=8)
    lanes = Lanes(ArrayPieces(tokens(1, 100)[0].numpy(), 8), 2)
    permuted = Permuted(lanes, 8, PermutationConfig(predict=4), seed=0, lanes=True)
    model, objective = sharp(config), PermutationObjective()
    first = objective.losses(model, permuted.batch(in_order(0, 2, len(permuted), 0)))
    assert first.carry[READ].tolist() == [8, 8]
    carried = {f"carry.{name}": state for name, state in first.carry.items()}
    batch = permuted.batch(in_order(2, 2, len(permuted), 0))
    alone = objective.losses(model, batch).terms["permutation"].total
    assert not torch.allclose(objective.losses(model, {**batch, **carried}).terms["permutation"].total, alone)
    begun = {**batch, **carried, "reset": torch.tensor([True, True])}
    assert torch.allclose(objective.losses(model, begun).terms["permutation"].total, alone, atol=1e-10)


def test_one_example_is_learned_by_heart() -> None:
    model, objective = XLNet(changed(width=48, inner=96)), PermutationObjective()
    permuted = Permuted(ArrayPieces(tokens(1, 17)[0].numpy(), 16), 16, PermutationConfig(), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for step in range(100):
        term = objective.losses(model, permuted.batch(np.arange(8) + 8 * step)).terms["permutation"]
        optimizer.zero_grad()
        (term.total / term.count).backward()
        optimizer.step()
    assert float(term.total.detach() / term.count) < math.log(17) / 2
