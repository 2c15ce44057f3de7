"""Recurrent cells, written out: what an RNN, a GRU and an LSTM do at one step of time.

x is the step's input, h the state that the step before left; W = `weight_ih`, U = `weight_hh`, their biases
`bias_ih` and `bias_hh`. The parameters are those of torch.nn.RNN, GRU and LSTM, gates in the same order, so that
the same tensors feed the fast paths of `lm.nn.recurrent`, which must equal these equations.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]
"""What a cell hands to its next step: (h,), an LSTM (h, c); each [batch, width]."""


class Cell(nn.Module, ABC):
    """The parameters of a cell with `gates` rows of `width` each."""

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width
        rows = self.gates * width
        self.weight_ih = nn.Parameter(torch.empty(rows, inputs))
        self.weight_hh = nn.Parameter(torch.empty(rows, width))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        self.initialise(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, span: float | None = None, forget_bias: float | None = None
    ) -> None:
        """Everything uniform in ±`span` (None: 1/sqrt(width), as torch.nn does), from `generator` alone.

        `forget_bias`, for an LSTM, is what b_f then is at the start.
        """
        span = 1 / math.sqrt(self.width) if span is None else span
        for p in self.parameters():
            # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
            p.copy_(torch.empty(p.shape, dtype=torch.float32).uniform_(-span, span, generator=generator))

    def new_state(self, batch: int) -> State:
        """The state before anything was read: zeros."""
        return tuple(self.weight_hh.new_zeros(batch, self.width) for _ in self.states)

    def forward(self, x: Tensor, state: State) -> State:
        """One step: x [batch, inputs] and the state before it; returns the state after it. The output is its h."""
        return self.step(F.linear(x, self.weight_ih, self.bias_ih), state, self.weight_hh)

    @abstractmethod
    def step(self, x: Tensor, state: State, weight_hh: Tensor) -> State:
        """The same from W x + b already multiplied out, [batch, gates * width], and a given U."""


class ElmanCell(Cell):
    """Elman 1990, "Finding Structure in Time", with tanh:

    h' = tanh(W x + b + U h + c)
    """

    gates = 1

    def step(self, x: Tensor, state: State, weight_hh: Tensor) -> State:
        (h,) = state
        return (torch.tanh(x + F.linear(h, weight_hh, self.bias_hh)),)


class GRUCell(Cell):
    """Cho et al. 2014, section 2.3: gates and no separate memory.

    r = σ(W_r x + b_r + U_r h + c_r)            reset: what of the past enters the candidate
    z = σ(W_z x + b_z + U_z h + c_z)            update: what of the past stays
    n = tanh(W_n x + b_n + r ⊙ (U_n h + c_n))   candidate
    h' = (1 - z) ⊙ n + z ⊙ h

    The paper has U_n (r ⊙ h) in the candidate; gating the product instead, as cuDNN and torch.nn do, needs one
    matrix product a step for all three.
    """

    gates = 3

    def step(self, x: Tensor, state: State, weight_hh: Tensor) -> State:
        (h,) = state
        x_r, x_z, x_n = x.chunk(3, -1)
        h_r, h_z, h_n = F.linear(h, weight_hh, self.bias_hh).chunk(3, -1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        return ((1 - z) * n + z * h,)


class LSTMCell(Cell):
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.

    i = σ(W_i x + b_i + U_i h + c_i)      input gate: what is written
    f = σ(W_f x + b_f + U_f h + c_f)      forget gate: what is kept
    g = tanh(W_g x + b_g + U_g h + c_g)   what would be written
    o = σ(W_o x + b_o + U_o h + c_o)      output gate: what is shown
    c' = f ⊙ c + i ⊙ g                    the memory: a sum, so that gradients pass through f alone
    h' = o ⊙ tanh(c')
    """

    gates = 4
    states = ("h", "c")

    @torch.no_grad()
    def initialise(
        self, generator: torch.Generator, span: float | None = None, forget_bias: float | None = None
    ) -> None:
        """As `Cell.initialise`; then b_f = `forget_bias` (Gers et al. 2000; Jozefowicz et al. 2015: 1), c_f = 0."""
        super().initialise(generator, span)
        if forget_bias is not None:
            self.bias_ih[self.width : 2 * self.width] = forget_bias
            self.bias_hh[self.width : 2 * self.width] = 0.0

    def step(self, x: Tensor, state: State, weight_hh: Tensor) -> State:
        h, c = state
        i, f, g, o = (x + F.linear(h, weight_hh, self.bias_hh)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


CELLS: dict[str, type[Cell]] = {"elman": ElmanCell, "gru": GRUCell, "lstm": LSTMCell}
