"""Cells written out, their gradient written out and torch's kernels: one function, to rounding."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm.nn.bptt import GRU, LSTM, Elman
from lm.nn.cells import CELLS, Cell, LSTMCell
from lm.nn.recurrent import Recurrent, locked_dropout

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


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stack(cell: str, inputs: int, widths: tuple[int, ...], bidirectional: bool, path: str, **more: Any) -> Recurrent:
    stack = Recurrent(cell, inputs, widths, bidirectional=bidirectional, path=path, **more)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, p in enumerate(stack.parameters()):
            p.copy_(noise(*p.shape, seed=number) / max(2.5, p.shape[-1] ** 0.5))
    return stack


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


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reset", [False, True])
def test_the_written_out_gradient_passes_finite_differences(cell: str, reset: bool) -> None:
    gates, states = CELLS[cell].gates, len(CELLS[cell].states)
    keep = (noise(4, 2, 1) > -0.5).double() if reset else None
    bias = [(gates * 3,)] if cell == "gru" else []
    shapes = [(4, 2, gates * 3), *[(2, 3)] * states, (gates * 3, 3), *bias]
    leaves = [noise(*shape, seed=n).double().requires_grad_() for n, shape in enumerate(shapes)]
    function = {"elman": Elman, "gru": GRU, "lstm": LSTM}[cell]
    assert torch.autograd.gradcheck(lambda *x: function.apply(*x, keep), leaves)


@pytest.mark.parametrize("path", ["cells", "bptt"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_reset_is_a_new_beginning(cell: str, path: str) -> None:
    """Reading two documents with a reset between them is reading each alone, gradients included."""
    ours = stack(cell, 3, (5, 4), False, path).double()
    x = noise(9, 2, 3).double()
    keep = torch.ones(9, 2, dtype=torch.bool)
    keep[4] = False
    whole, after = ours(x, keep=keep)
    whole.sum().backward()
    together = [p.grad for p in ours.parameters()]
    ours.zero_grad()
    first, _ = ours(x[:4])
    second, alone = ours(x[4:])
    (first.sum() + second.sum()).backward()
    assert torch.allclose(whole, torch.cat([first, second]), atol=1e-12)
    assert all(torch.allclose(after[name], alone[name], atol=1e-12) for name in after)
    for a, p in zip(together, ours.parameters(), strict=True):
        assert torch.allclose(a, p.grad, atol=1e-10)


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


def test_any_length_with_one_set_of_weights() -> None:
    """C7: the same module reads 1 to 1000 steps; it has as many parameters as before."""
    for cell, gates in (("elman", 1), ("gru", 3), ("lstm", 4)):
        ours = Recurrent(cell, 2, (3,))
        count = sum(p.numel() for p in ours.parameters())
        for time in (1, 2, 10, 100, 1000):
            assert ours(noise(time, 1, 2))[0].shape == (time, 1, 3)
            assert sum(p.numel() for p in ours.parameters()) == count == gates * 3 * (2 + 3 + 2)


def jacobian_norms(path: str, radius: float, lengths: list[int]) -> list[float]:
    """|dh_T / dh_0| of an Elman cell whose recurrent matrix has that spectral radius, near its linear range."""
    ours = stack("elman", 1, (16,), False, path).double()
    cell = next(ours.layers())["forward"]
    with torch.no_grad():
        for p in (cell.weight_ih, cell.bias_ih, cell.bias_hh):
            p.zero_()
        matrix = noise(16, 16).double()
        cell.weight_hh.copy_(matrix * radius / torch.linalg.eigvals(matrix).abs().max())
    norms = []
    for time in lengths:
        state = (1e-9 * noise(1, 16, seed=1).double()).requires_grad_()
        last = ours(torch.zeros(time, 1, 1).double(), {"0.forward.h": state})[0][-1]
        rows = [torch.autograd.grad(last[0, i], state, retain_graph=True)[0][0] for i in range(16)]
        norms.append(float(torch.linalg.matrix_norm(torch.stack(rows))))
    return norms


@pytest.mark.parametrize("path", ["cells", "bptt"])
@pytest.mark.parametrize("radius", [0.8, 1.2])
def test_gradients_vanish_or_explode_with_the_spectral_radius(path: str, radius: float) -> None:
    """C8 (Pascanu et al. 2013): the slope of log |dh_T / dh_0| against T is log(spectral radius)."""
    lengths = [10, 30, 50]
    norms = jacobian_norms(path, radius, lengths)
    slope = torch.tensor(norms).log().diff() / 20
    assert torch.allclose(slope, torch.full((2,), radius).log(), atol=0.03)
    assert (norms[0] > norms[1] > norms[2]) == (radius < 1)


def test_an_lstm_that_forgets_nothing_passes_gradients_on() -> None:
    """The memory is a sum: with f = 1, |dc_T / dc_0| = 1 at any distance."""
    cell = LSTMCell(1, 4).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.bias_ih[4:8] = 100.0
    c = noise(1, 4).double().requires_grad_()
    state: tuple[Tensor, ...] = (torch.zeros(1, 4).double(), c)
    for _ in range(200):
        state = cell(torch.zeros(1, 1).double(), state)
    assert torch.allclose(torch.autograd.grad(state[1].sum(), c)[0], torch.ones(1, 4).double())


def test_a_gru_has_three_quarters_of_an_lstms_parameters() -> None:
    """C10, the count; its loss and speed are measured in docs/results.md."""
    counts = {name: sum(p.numel() for p in cell(24, 32).parameters()) for name, cell in CELLS.items()}
    assert counts["gru"] * 4 == counts["lstm"] * 3
    assert counts["elman"] * 4 == counts["lstm"]


def test_initial_weights_are_the_seeds_alone() -> None:
    def drawn(seed: int) -> Cell:
        cell = LSTMCell(3, 16)
        cell.initialise(torch.Generator().manual_seed(seed), forget_bias=1.0)
        return cell

    torch.manual_seed(1)
    first, again, other = drawn(4), drawn(4), drawn(5)
    assert torch.equal(first.weight_ih, again.weight_ih)
    assert not torch.equal(first.weight_ih, other.weight_ih)
    assert first.weight_hh.abs().max() <= 0.25
    assert torch.equal(first.bias_ih[16:32] + first.bias_hh[16:32], torch.ones(16))


def test_locked_dropout_keeps_its_mask_through_the_sequence() -> None:
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(5, 40, 50), 0.3, training=True)
    assert (dropped == dropped[0]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert torch.equal(locked_dropout(dropped, 0.3, training=False), dropped)


@pytest.mark.parametrize("path", ["cells", "bptt", "torch"])
def test_weight_dropout_thins_the_recurrent_matrix_of_a_whole_pass(path: str) -> None:
    ours = stack("lstm", 3, (8,), False, path, weight_dropout=0.5)
    x = noise(6, 2, 3)
    torch.manual_seed(3)
    got, _ = ours(x)
    torch.manual_seed(3)
    cell = next(ours.layers())["forward"]
    thinned = nn.functional.dropout(cell.weight_hh, 0.5)
    plain = stack("lstm", 3, (8,), False, path)
    next(plain.layers())["forward"].weight_hh = nn.Parameter(thinned.detach())
    assert torch.allclose(got, plain(x)[0], atol=1e-6)
    ours.eval()
    assert torch.allclose(ours(x)[0], stack("lstm", 3, (8,), False, path)(x)[0], atol=1e-6)


def test_what_cannot_be_combined_is_refused() -> None:
    x, keep = noise(4, 2, 3), torch.ones(4, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="only without padding and in one direction"):
        Recurrent("gru", 3, (5,), bidirectional=True)(x, keep=keep)
    with pytest.raises(ValueError, match="torch's kernels can neither reset"):
        Recurrent("gru", 3, (5,), path="torch")(x, keep=keep)
