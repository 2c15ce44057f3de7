"""Layers of recurrent cells over whole sequences, in one or both directions.

Layer l reads the outputs of layer l - 1; a bidirectional layer reads the sequence forwards and backwards with a cell
each (Schuster & Paliwal 1997) and puts both outputs side by side. W x is multiplied out for all steps at once; what
must go step by step has three equal paths:

- `cells`: `lm.nn.cells` as written, one step after the other, differentiated by autograd;
- `bptt`: `lm.nn.bptt`, the gradient written out: on a CPU the fastest for Elman cells and GRUs;
- `torch`: torch.nn's kernels: cuDNN on a GPU, and for LSTMs oneDNN's on a CPU.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F

from lm.nn.bptt import bptt
from lm.nn.cells import CELLS, Cell, State

Path = Literal["auto", "cells", "bptt", "torch"]
States = Mapping[str, Tensor]
"""States of a stack by name, `<layer>.<direction>.<h or c>`, each [batch, width]: rows are examples."""

FORWARD, BACKWARD = "forward", "backward"
KERNELS: dict[str, Callable[..., Any]] = {"elman": torch.rnn_tanh, "gru": torch.gru, "lstm": torch.lstm}


def locked_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """One mask for all steps of a sequence, `x` [time, batch, width] (Gal & Ghahramani 2016, "variational")."""
    if not training or p == 0:
        return x
    return x * F.dropout(x.new_ones(1, *x.shape[1:]), p)


class Recurrent(nn.Module):
    """A stack of `cell`s ("elman", "gru", "lstm"): `inputs` wide at the bottom, then each layer as in `widths`.

    `dropout` between layers, one mask for all steps if `locked`; `weight_dropout` is DropConnect on U (Wan et al.
    2013; Merity et al. 2017, section 3): one mask for a whole forward pass.
    """

    def __init__(
        self,
        cell: str,
        inputs: int,
        widths: Sequence[int],
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        locked: bool = False,
        weight_dropout: float = 0.0,
        path: Path = "auto",
    ) -> None:
        super().__init__()
        self.cell, self.widths, self.path = cell, tuple(widths), path
        self.dropout, self.locked, self.weight_dropout = dropout, locked, weight_dropout
        self.directions = (FORWARD, BACKWARD) if bidirectional else (FORWARD,)
        below = [inputs, *(len(self.directions) * w for w in widths)]
        self.cells = nn.ModuleDict(
            {
                f"{layer}_{direction}": CELLS[cell](size, width)
                for layer, (size, width) in enumerate(zip(below, widths, strict=False))
                for direction in self.directions
            }
        )

    def layers(self) -> Iterator[dict[str, Cell]]:
        """From the bottom, the cell of each direction."""
        for layer in range(len(self.widths)):
            yield {d: cast(Cell, self.cells[f"{layer}_{d}"]) for d in self.directions}

    def new_states(self, batch: int) -> dict[str, Tensor]:
        """The states before anything was read: zeros."""
        return {
            f"{layer}.{direction}.{name}": zeros
            for layer, cells in enumerate(self.layers())
            for direction, cell in cells.items()
            for name, zeros in zip(cell.states, cell.new_state(batch), strict=True)
        }

    def forward(
        self, x: Tensor, states: States | None = None, *, keep: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs [time, batch, directions * width of the last layer] and the states after the last step.

        `x`: [time, batch, inputs]; `states`: to go on from (None: zeros). `keep`: bool [time, batch], False where the
        state is set to zero before that step (a document begins). `lengths`: int [batch], real steps of rows that are
        padded on the right: padding is not read, its outputs are zero, and the states are those after the last real
        step, as with torch.nn.utils.rnn.pack_padded_sequence. Raises ValueError if `keep` and two directions or
        `lengths` are asked for together.
        """
        if keep is not None and (lengths is not None or len(self.directions) > 1):
            raise ValueError("the state can be reset inside a sequence only without padding and in one direction")
        before = dict(states) if states is not None else self.new_states(x.shape[1])
        after: dict[str, Tensor] = {}
        for layer, cells in enumerate(self.layers()):
            if layer:
                dropout = locked_dropout if self.locked else F.dropout
                x = dropout(x, self.dropout, self.training)
            outputs = []
            for direction, cell in cells.items():
                names = [f"{layer}.{direction}.{name}" for name in cell.states]
                state: State = tuple(before[name] for name in names)
                if direction == FORWARD:
                    h, state = self._sequence(cell, x, state, keep, lengths)
                elif lengths is None:
                    h, state = self._sequence(cell, x.flip(0), state)
                    h = h.flip(0)
                else:
                    reverse = _reversal(lengths, x.shape[0])
                    h, state = self._sequence(cell, _take(x, reverse), state, None, lengths)
                    h = _take(h, reverse)
                outputs.append(h)
                after |= zip(names, state, strict=True)
            x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        return x, after

    def _sequence(
        self, cell: Cell, x: Tensor, state: State, keep: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """One cell over all steps, forwards."""
        weight_hh: Tensor = F.dropout(cell.weight_hh, self.weight_dropout, self.training)
        path = self.path
        if path == "auto":
            kernel = (x.is_cuda or self.cell == "lstm") and keep is None and lengths is None
            path = "torch" if kernel else "bptt"
        if path == "torch" and (keep is not None or lengths is not None):
            raise ValueError("torch's kernels can neither reset the state inside a sequence nor skip padding")
        x = x.to(state[0].dtype)
        if torch.compiler.is_exporting():
            return _scanned(cell, F.linear(x, cell.weight_ih, cell.bias_ih), state, weight_hh, keep, lengths)
        # The recurrence runs in the precision of its weights: rounding to bf16 at each step would add up.
        with torch.autocast(x.device.type, enabled=False):
            if path == "torch":
                weights = [cell.weight_ih, weight_hh, cell.bias_ih, cell.bias_hh]
                initial = tuple(s[None] for s in state) if len(state) > 1 else state[0][None]
                h, *last = KERNELS[self.cell](x, initial, weights, True, 1, 0.0, self.training, False, False)
                return h, tuple(s[0] for s in last)
            kept = None if keep is None else keep[..., None].to(x.dtype)
            if path == "bptt" and lengths is None:
                return bptt(cell, x, state, weight_hh, kept)
            x = F.linear(x, cell.weight_ih, cell.bias_ih)
            if lengths is not None:
                return _padded(cell, x, state, weight_hh, lengths)
            return _unrolled(cell, x, state, weight_hh, kept)


def _unrolled(cell: Cell, x: Tensor, state: State, weight_hh: Tensor, keep: Tensor | None) -> tuple[Tensor, State]:
    """Step by step, as the equations stand."""
    outputs = []
    for t, x_t in enumerate(x):
        if keep is not None:
            state = tuple(s * keep[t] for s in state)
        state = cell.step(x_t, state, weight_hh)
        outputs.append(state[0])
    return torch.stack(outputs), state


def _padded(cell: Cell, x: Tensor, state: State, weight_hh: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
    """Step by step over rows of unequal length: a row that has ended keeps its state."""
    outputs = []
    for t, x_t in enumerate(x):
        live = (t < lengths)[:, None]
        state = tuple(
            torch.where(live, new, old) for new, old in zip(cell.step(x_t, state, weight_hh), state, strict=True)
        )
        outputs.append(torch.where(live, state[0], torch.zeros_like(state[0])))
    return torch.stack(outputs), state


def _scanned(
    cell: Cell, x: Tensor, state: State, weight_hh: Tensor, keep: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """`_unrolled` or `_padded` as one operation, for a graph in which the number of steps is free (`torch.export`)."""
    masks = []
    if keep is not None:
        masks.append(keep[..., None])
    if lengths is not None:
        masks.append((torch.arange(x.shape[0], device=x.device)[:, None] < lengths)[..., None])

    def step(before: State, now: tuple[Tensor, ...]) -> tuple[State, Tensor]:
        x_t, *masked = now
        given = tuple(s * masked[0].to(s.dtype) for s in before) if keep is not None else before
        after = cell.step(x_t, given, weight_hh)
        if lengths is None:
            return tuple(s.clone() for s in after), after[0].clone()  # a loop may not give one tensor twice
        stays = tuple(torch.where(masked[-1], new, old) for new, old in zip(after, before, strict=True))
        return stays, torch.where(masked[-1], after[0], torch.zeros_like(after[0]))

    last, outputs = scan(step, state, (x, *masks))
    return outputs, tuple(last)


def _reversal(lengths: Tensor, time: int) -> Tensor:
    """Which step stands at step t when the real steps of each row are turned round, int64 [time, batch]."""
    t = torch.arange(time, device=lengths.device)[:, None]
    return torch.where(t < lengths, lengths - 1 - t, t)


def _take(x: Tensor, steps: Tensor) -> Tensor:
    return x.gather(0, steps[..., None].expand(*steps.shape, x.shape[-1]))
