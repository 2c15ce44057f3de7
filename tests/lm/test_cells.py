"""Recurrent cells: their gradient by finite differences, resets, dropout, what their parameters and seeds are."""

import pytest
import torch
from torch import Tensor, nn

from lm.nn.bptt import GRU, LSTM, Elman
from lm.nn.cells import CELLS, Cell, LSTMCell
from lm.nn.recurrent import Recurrent, locked_dropout
from tests.lm.small_recurrent import noise, stack


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
    """C10, the count; its loss and speed are measured in docs/results/recurrent.md."""
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
