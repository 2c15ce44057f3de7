"""Cells written out, their gradient written out and torch's kernels: one function, to rounding."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm.nn.cells import CELLS
from lm.nn.recurrent import Recurrent
from tests.lm.small_recurrent import noise, stack

TORCH: dict[str, Callable[..., Any]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
SIZES = [
    # inputs, widths, batch, time, bidirectional
    (1, (1,), 1, 1, False),
    (3, (5,), 1, 7, False),
    (8, (8,), 4, 1, False),
    (7, (13,), 3, 11, False),
    (16, (31,), 5, 20, False),
    (5, (6,), 2, 9, True),
    (3, (4, 4), 3, 8, False),
    (2, (7, 7, 7), 2, 5, False),
    (9, (3, 3), 4, 6, True),
    (11, (17, 17), 7, 13, True),
    (33, (40,), 6, 50, False),
]


def torch_twin(ours: Recurrent) -> nn.Module:
    """torch.nn's module with the same weights, in the parameters' own order."""
    first = next(ours.layers())["forward"]
    twin = TORCH[ours.cell](first.inputs, ours.widths[0], len(ours.widths), bidirectional=len(ours.directions) == 2).to(
        first.weight_ih.dtype
    )
    with torch.no_grad():
        for theirs, p in zip(twin.parameters(), ours.parameters(), strict=True):
            theirs.copy_(p)
    return twin


def initial_states(ours: Recurrent, batch: int) -> tuple[dict[str, Tensor], Any]:
    """Random states, by our names and as torch's stacked tensors."""
    zeros = ours.new_states(batch)
    states = {name: noise(*z.shape, seed=n).to(z.dtype).requires_grad_() for n, (name, z) in enumerate(zeros.items())}
    kinds = ["h", "c"] if ours.cell == "lstm" else ["h"]
    stacked = [torch.stack([s for name, s in states.items() if name.endswith(f".{k}")]) for k in kinds]
    return states, tuple(stacked) if len(kinds) == 2 else stacked[0]


@pytest.mark.parametrize("path", ["cells", "bptt", "torch"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients_equal_torch(cell: str, dtype: torch.dtype, path: str) -> None:
    for inputs, widths, batch, time, bidirectional in SIZES:
        ours = stack(cell, inputs, widths, bidirectional, path).to(dtype)
        theirs = torch_twin(ours)
        states, stacked = initial_states(ours, batch)
        x = noise(time, batch, inputs, seed=7).to(dtype)
        ours_x, theirs_x = x.clone().requires_grad_(), x.clone().requires_grad_()
        got, after = ours(ours_x, states)
        expected, last = theirs(theirs_x, stacked)
        ends = torch.cat([t.flatten() for t in (last if cell == "lstm" else (last,))])
        kinds = ["h", "c"] if cell == "lstm" else ["h"]
        ours_ends = torch.cat([s.flatten() for k in kinds for name, s in after.items() if name.endswith(f".{k}")])
        pairs = [(got, expected), (ours_ends, ends)]
        weights = noise(*got.shape, seed=8).to(dtype)
        ends_weights = noise(*ends.shape, seed=9).to(dtype)
        ours_gradients = torch.autograd.grad(
            (got * weights).sum() + (ours_ends * ends_weights).sum(),
            [ours_x, *states.values(), *ours.parameters()],
        )
        theirs_gradients = torch.autograd.grad(
            (expected * weights).sum() + (ends * ends_weights).sum(),
            [theirs_x, *states.values(), *theirs.parameters()],
        )
        pairs += list(zip(ours_gradients, theirs_gradients, strict=True))
        for a, b in pairs:
            assert torch.allclose(a, b, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype]), (inputs, widths, batch, time)


@pytest.mark.parametrize(("cell", "theirs"), [("elman", nn.RNNCell), ("gru", nn.GRUCell), ("lstm", nn.LSTMCell)])
def test_one_step_equals_torchs_cell(cell: str, theirs: Callable[..., Any]) -> None:
    ours = CELLS[cell](4, 6).double()
    twin = theirs(4, 6).double()
    twin.load_state_dict(ours.state_dict())
    x, state = noise(3, 4).double(), tuple(noise(3, 6, seed=n).double() for n, _ in enumerate(ours.states, 1))
    expected = twin(x, state if cell == "lstm" else state[0])
    for a, b in zip(ours(x, state), expected if cell == "lstm" else (expected,), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_not_read(cell: str, bidirectional: bool) -> None:
    ours = stack(cell, 3, (5, 5), bidirectional, "auto").double()
    theirs = torch_twin(ours)
    lengths = torch.tensor([8, 1, 5, 8, 3])
    x = noise(8, 5, 3).double()
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    expected, last = theirs(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected)
    got, after = ours(x, lengths=lengths)
    assert torch.allclose(got, expected, atol=1e-9)
    hidden = torch.stack([s for name, s in after.items() if name.endswith(".h")])
    assert torch.allclose(hidden, last[0] if cell == "lstm" else last, atol=1e-9)
    changed = x.clone()
    changed[torch.arange(8)[:, None] >= lengths] = 1e6
    assert torch.equal(ours(changed, lengths=lengths)[0], got)
