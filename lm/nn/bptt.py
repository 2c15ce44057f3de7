"""Back-propagation through time, written out (Werbos 1990): a cell over a whole sequence as one autograd function.

Autograd would keep a graph of every step and, going back, multiply and add a gradient of U at each. Here the forward
pass keeps the gates; all derivatives that do not depend on the gradient from above are taken for all steps at once;
the loop backwards is left with one product per step, d h_{t-1} = d a_t U; and the gradient of U is one product at the
end, sum_t d a_t' h_{t-1}. `lm.nn.cells` has the equations that are differentiated.

All functions take `x` [time, batch, gates * width], the inputs multiplied out (with both biases, but for a GRU, whose
candidate gates the second); `keep` [time, batch, 1] or None: 0
where the state before that step is set to zero. Gradients of gradients are refused.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lm.nn.cells import Cell, ElmanCell, GRUCell, State


def bptt(cell: Cell, x: Tensor, state: State, weight_hh: Tensor, keep: Tensor | None = None) -> tuple[Tensor, State]:
    """Outputs h_1 .. h_T [time, batch, width], and the last state, of a cell that reads `x` [time, batch, inputs].

    `weight_hh` is given apart, since DropConnect changes it.
    """
    if isinstance(cell, GRUCell):
        h = GRU.apply(F.linear(x, cell.weight_ih, cell.bias_ih), state[0], weight_hh, cell.bias_hh, keep)
        return h, (h[-1],)
    x = F.linear(x, cell.weight_ih, cell.bias_ih + cell.bias_hh)
    if isinstance(cell, ElmanCell):
        h = Elman.apply(x, state[0], weight_hh, keep)
        return h, (h[-1],)
    h, c = LSTM.apply(x, state[0], state[1], weight_hh, keep)
    return h, (h[-1], c)


def _from(first: Tensor, steps: int) -> Tensor:
    """Room for the state before the first step, which is put there, and that after each, [1 + time, batch, width]."""
    states = first.new_empty(1 + steps, *first.shape)
    states[0] = first
    return states


def _before(states: Tensor, keep: Tensor | None) -> Tensor:
    """The state that each step started from, [time, batch, width]."""
    return states[:-1] if keep is None else states[:-1] * keep


def _slope_of_tanh(y: Tensor) -> Tensor:
    """1 - y ** 2 in new memory; large temporaries cost more than the arithmetic."""
    return y.square().neg_().add_(1)


def _matrix_gradient(d_gates: Tensor, h_before: Tensor) -> Tensor:
    return d_gates.flatten(0, 1).t() @ h_before.flatten(0, 1)


class Elman(torch.autograd.Function):
    """h_t = tanh(a_t),  a_t = x_t + U h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, weight_hh: Tensor, keep: Tensor | None) -> Tensor:
        states = _from(h, len(x))
        transposed = weight_hh.t()
        for t, (x_t, out) in enumerate(zip(x, states[1:], strict=True)):
            h = h if keep is None else h * keep[t]
            h = torch.addmm(x_t, h, transposed, out=out).tanh_()
        ctx.save_for_backward(states, weight_hh, keep)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        states, weight_hh, keep = ctx.saved_tensors
        d_a = _slope_of_tanh(states[1:])  # times d h_t below
        d_h = torch.zeros_like(states[0])
        for t in range(len(d_a) - 1, -1, -1):
            d_h = d_a[t].mul_(d_h.add_(d_states[t])) @ weight_hh
            d_h = d_h if keep is None else d_h * keep[t]
        return d_a, d_h, _matrix_gradient(d_a, _before(states, keep)), None


class GRU(torch.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1};  the gates r, z, n as in `lm.nn.cells.GRUCell`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor, keep: Tensor | None) -> Tensor:
        steps, batch, width = len(x), *h.shape
        states = _from(h, steps)
        gates = x.view(steps, batch, 3, width).clone()  # r, z, n
        from_h = x.new_empty(steps, batch, 3 * width)  # U h + c
        transposed = weight_hh.t()
        for t in range(steps):
            h = h if keep is None else h * keep[t]
            u = torch.addmm(bias_hh, h, transposed, out=from_h[t]).view(batch, 3, width)
            r_z, n = gates[t, :, :2], gates[t, :, 2]
            r_z.add_(u[:, :2]).sigmoid_()
            n.addcmul_(r_z[:, 0], u[:, 2]).tanh_()
            h = torch.lerp(n, h, r_z[:, 1], out=states[t + 1])
        ctx.save_for_backward(states, gates, from_h, weight_hh, keep)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        states, gates, from_h, weight_hh, keep = ctx.saved_tensors
        steps, batch, _, width = gates.shape
        r, z, n = gates.unbind(2)
        before = _before(states, keep)
        # d h_t -> d x_t and d (U h + c)_t: the same for r and z; the candidate's second also passes through r.
        d_x, d_u = torch.empty_like(gates), torch.empty_like(gates)
        d_n = torch.mul(1 - z, _slope_of_tanh(n), out=d_x[:, :, 2])
        torch.mul(d_n, r, out=d_u[:, :, 2])
        torch.mul(d_u[:, :, 2], from_h.view_as(gates)[:, :, 2], out=d_u[:, :, 0]).mul_(1 - r)
        torch.mul(torch.sub(before, n, out=d_u[:, :, 1]), z, out=d_u[:, :, 1]).mul_(1 - z)
        d_h = torch.zeros_like(states[0])
        for t in range(steps - 1, -1, -1):
            d_h = d_h.add_(d_states[t])
            d_u[t] *= d_h[:, None]
            d_n[t] *= d_h
            d_h = torch.addmm(d_h.mul_(z[t]), d_u[t].view(batch, 3 * width), weight_hh)
            d_h = d_h if keep is None else d_h * keep[t]
        d_x[:, :, :2] = d_u[:, :, :2]
        d_x, d_u = d_x.view(steps, batch, 3 * width), d_u.view(steps, batch, 3 * width)
        return d_x, d_h, _matrix_gradient(d_u, before), d_u.sum((0, 1)), None


class LSTM(torch.autograd.Function):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t);  returns all h and the last c."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        steps, batch, width = len(x), *h.shape
        states, cells = _from(h, steps), _from(c, steps)
        gates = x.new_empty(steps, batch, 4, width)  # i, f, g, o
        shown = x.new_empty(steps, batch, width)  # tanh(c)
        transposed = weight_hh.t()
        for t in range(steps):
            if keep is not None:
                h, c = h * keep[t], c * keep[t]
            torch.addmm(x[t], h, transposed, out=gates[t].view(batch, 4 * width))
            i_f, g, o = gates[t, :, :2], gates[t, :, 2], gates[t, :, 3]
            i_f.sigmoid_(), g.tanh_(), o.sigmoid_()
            c = torch.mul(i_f[:, 1], c, out=cells[t + 1]).addcmul_(i_f[:, 0], g)
            h = torch.mul(o, torch.tanh(c, out=shown[t]), out=states[t + 1])
        ctx.save_for_backward(states, cells, gates, shown, weight_hh, keep)
        return states[1:], c.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
        states, cells, gates, shown, weight_hh, keep = ctx.saved_tensors
        steps, batch, _, width = gates.shape
        i, f, g, o = gates.unbind(2)
        d_a = torch.empty_like(gates)
        torch.mul(g, i, out=d_a[:, :, 0]).mul_(1 - i)  # times d c_t below
        torch.mul(_before(cells, keep), f, out=d_a[:, :, 1]).mul_(1 - f)
        torch.mul(i, _slope_of_tanh(g), out=d_a[:, :, 2])
        torch.mul(shown, o, out=d_a[:, :, 3]).mul_(1 - o)  # times d h_t
        h_to_c = _slope_of_tanh(shown).mul_(o)
        d_h = torch.zeros_like(states[0])
        for t in range(steps - 1, -1, -1):
            d_h = d_h.add_(d_states[t])
            d_c = torch.addcmul(d_c, d_h, h_to_c[t])
            d_a[t, :, :3] *= d_c[:, None]
            d_a[t, :, 3] *= d_h
            d_h = d_a[t].view(batch, 4 * width) @ weight_hh
            d_c = d_c.mul_(f[t])
            if keep is not None:
                d_h, d_c = d_h * keep[t], d_c * keep[t]
        d_x = d_a.view(steps, batch, 4 * width)
        return d_x, d_h, d_c, _matrix_gradient(d_x, _before(states, keep)), None
