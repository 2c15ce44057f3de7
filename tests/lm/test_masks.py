"""Masks as values: what each shows, by brute force, and what attention is given."""

import torch

from lm.nn.masks import Band, Causal, Compiled, Document, Mask, Padding, compile_mask

CPU = torch.device("cpu")


def shown(mask: Mask, queries: int, keys: int, batch: int) -> torch.Tensor:
    return mask.visible(queries, keys, CPU).expand(batch, 1, queries, keys)[:, 0]


def test_each_mask_and_their_conjunction_equal_brute_force() -> None:
    ids = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 2, 2]])
    real = torch.tensor([[0, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()
    for queries in (6, 2, 1):
        offset = 6 - queries
        every = Causal() & Document(ids) & Band(2) & Padding(real)
        singles = [shown(mask, queries, 6, 2) for mask in (Causal(), Document(ids), Band(2), Padding(real))]
        for b in range(2):
            for q in range(queries):
                for k in range(6):
                    t = q + offset
                    expected = [k <= t, ids[b, t] == ids[b, k], abs(t - k) < 2, real[b, k]]
                    assert [bool(single[b, q, k]) for single in singles] == [bool(each) for each in expected]
                    assert bool(shown(every, queries, 6, 2)[b, q, k]) == all(expected)


def test_causality_alone_needs_no_tensor() -> None:
    assert compile_mask(Causal(), 5, 5, CPU) == Compiled(True, None)
    assert compile_mask(Causal(), 1, 5, CPU) == Compiled(False, None)
    assert compile_mask(None, 5, 5, CPU) == Compiled(False, None)
    several = compile_mask(Causal(), 2, 5, CPU).tensor
    assert several is not None
    assert several.tolist() == [[True] * 4 + [False], [True] * 5]


def test_a_query_that_sees_nothing_sees_itself() -> None:
    real = torch.tensor([[False, False, True]])
    tensor = compile_mask(Causal() & Padding(real), 3, 3, CPU).tensor
    assert tensor is not None
    assert tensor[0, 0].tolist() == [[True, False, False], [False, True, False], [False, False, True]]
