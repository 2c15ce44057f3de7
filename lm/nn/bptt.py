"""Back-propagation through time, written out (Werbos 1990): a cell over a whole sequence as one autograd function.

Autograd would keep a graph of every step and, going back, multiply and add a gradient of U at each. Here the forward
pass keeps the gates; all derivatives that do not depend on the gradient from above are taken for all steps at once;
the loop backwards is left with one product per step, d h_{t-1} = d a_t U; and the gradient of U is one product at the
end, sum_t d a_t' h_{t-1}. `lm.nn.cells` has the equations that are differentiated.

All functions take `x` [time, batch, gates * width], the inputs multiplied out; `keep` [time, batch, 1] or None: 0
where the state before that step is set to zero. Gradients of gradients are refused.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lm.nn.cells import State


def bptt(gates: int, x: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor, keep: Tensor | None = None) -> Any:
    """Outputs h_1 .. h_T [time, batch, width], and the last state, of the cell with that many gates."""
    if gates == 1:
        h = Elman.apply(x + bias_hh, state[0], weight_hh, keep)
        return h, (h[-1],)
    if gates == 3:
        h = GRU.apply(x, state[0], weight_hh, bias_hh, keep)
        return h, (h[-1],)
    h, c = LSTM.apply(x + bias_hh, state[0], state[1], weight_hh, keep)
    return h, (h[-1], c)


def _before(first: Tensor, states: Tensor, keep: Tensor | None) -> Tensor:
    """The state that each step started from, [time, batch, width]."""
    shifted = torch.cat([first[None], states[:-1]])
    return shifted if keep is None else shifted * keep


def _matrix_gradient(d_gates: Tensor, h_before: Tensor) -> Tensor:
    return d_gates.flatten(0, 1).t() @ h_before.flatten(0, 1)


class Elman(torch.autograd.Function):
    """h_t = tanh(a_t),  a_t = x_t + U h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, weight_hh: Tensor, keep: Tensor | None) -> Tensor:
        first, steps = h, len(x)
        states = x.new_empty(steps, *h.shape)
        transposed = weight_hh.t()
        for t in range(steps):
            h = h if keep is None else h * keep[t]
            h = torch.addmm(x[t], h, transposed, out=states[t]).tanh_()
        ctx.save_for_backward(first, states, weight_hh, keep)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        first, states, weight_hh, keep = ctx.saved_tensors
        d_a = 1 - states * states  # times d h_t below
        d_h = torch.zeros_like(first)
        for t in range(len(states) - 1, -1, -1):
            d_a[t] *= d_states[t] + d_h
            d_h = d_a[t] @ weight_hh
            d_h = d_h if keep is None else d_h * keep[t]
        return d_a, d_h, _matrix_gradient(d_a, _before(first, states, keep)), None


class GRU(torch.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1};  the gates r, z, n as in `lm.nn.cells.GRUCell`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor, keep: Tensor | None) -> Tensor:
        first, (steps, batch, width) = h, (len(x), *h.shape)
        states = x.new_empty(steps, batch, width)
        gates = x.view(steps, batch, 3, width).clone()  # r, z, n
        from_h = x.new_empty(steps, batch, 3 * width)  # U h + c
        transposed = weight_hh.t()
        for t in range(steps):
            h = h if keep is None else h * keep[t]
            u = torch.addmm(bias_hh, h, transposed, out=from_h[t]).view(batch, 3, width)
            r_z, n = gates[t, :, :2], gates[t, :, 2]
            r_z.add_(u[:, :2]).sigmoid_()
            n.addcmul_(r_z[:, 0], u[:, 2]).tanh_()
            h = torch.lerp(n, h, r_z[:, 1], out=states[t])
        ctx.save_for_backward(first, states, gates, from_h, weight_hh, keep)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, ...]:
        first, states, gates, from_h, weight_hh, keep = ctx.saved_tensors
        steps, batch, width = states.shape
        r, z, n = gates.unbind(2)
        before = _before(first, states, keep)
        # d h_t -> d (U h + c)_t for each gate; the candidate's also passes through r, in d_x it does not.
        d_u = torch.empty_like(gates)
        candidate = (1 - z) * (1 - n * n)
        d_u[:, :, 0] = candidate * from_h.view_as(gates)[:, :, 2] * r * (1 - r)
        d_u[:, :, 1] = (before - n) * z * (1 - z)
        d_u[:, :, 2] = candidate * r
        d_n = candidate
        d_h = torch.zeros_like(first)
        for t in range(steps - 1, -1, -1):
            d_h = d_states[t] + d_h
            d_u[t] *= d_h[:, None]
            d_n[t] *= d_h
            d_h = torch.addmm(d_h * z[t], d_u[t].view(batch, 3 * width), weight_hh)
            d_h = d_h if keep is None else d_h * keep[t]
        d_u = d_u.view(steps, batch, 3 * width)
        d_x = torch.cat([d_u[..., : 2 * width], d_n], -1)
        return d_x, d_h, _matrix_gradient(d_u, before), d_u.sum((0, 1)), None


class LSTM(torch.autograd.Function):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t);  returns all h and the last c."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        first_h, first_c, (steps, batch, width) = h, c, (len(x), *h.shape)
        states, cells = x.new_empty(steps, batch, width), x.new_empty(steps, batch, width)
        gates = x.new_empty(steps, batch, 4, width)  # i, f, g, o
        shown = x.new_empty(steps, batch, width)  # tanh(c)
        transposed = weight_hh.t()
        for t in range(steps):
            if keep is not None:
                h, c = h * keep[t], c * keep[t]
            torch.addmm(x[t], h, transposed, out=gates[t].view(batch, 4 * width))
            i_f, g, o = gates[t, :, :2], gates[t, :, 2], gates[t, :, 3]
            i_f.sigmoid_(), g.tanh_(), o.sigmoid_()
            c = torch.mul(i_f[:, 1], c, out=cells[t]).addcmul_(i_f[:, 0], g)
            h = torch.mul(o, torch.tanh(c, out=shown[t]), out=states[t])
        ctx.save_for_backward(first_h, first_c, states, cells, gates, shown, weight_hh, keep)
        return states, c.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
        first_h, first_c, states, cells, gates, shown, weight_hh, keep = ctx.saved_tensors
        steps, batch, width = states.shape
        i, f, g, o = gates.unbind(2)
        d_a = torch.empty_like(gates)
        d_a[:, :, 0] = g * i * (1 - i)  # times d c_t below
        d_a[:, :, 1] = _before(first_c, cells, keep) * f * (1 - f)
        d_a[:, :, 2] = i * (1 - g * g)
        d_a[:, :, 3] = shown * o * (1 - o)  # times d h_t
        h_to_c = o * (1 - shown * shown)
        d_h = torch.zeros_like(first_h)
        for t in range(steps - 1, -1, -1):
            d_h = d_states[t] + d_h
            d_c = torch.addcmul(d_c, d_h, h_to_c[t])
            d_a[t, :, :3] *= d_c[:, None]
            d_a[t, :, 3] *= d_h
            d_h = d_a[t].view(batch, 4 * width) @ weight_hh
            d_c = d_c * f[t]
            if keep is not None:
                d_h, d_c = d_h * keep[t], d_c * keep[t]
        d_x = d_a.view(steps, batch, 4 * width)
        return d_x, d_h, d_c, _matrix_gradient(d_x, _before(first_h, states, keep)), None
