"""An LSTM whose wide memory is projected to a narrow output at each step (Sak et al. 2014), as ELMo's.

i, f, o = σ(W x + U r + b)      g = tanh(W x + U r + b)
c' = clip(f ⊙ c + i ⊙ g)
r' = clip(P (o ⊙ tanh(c')))

4,096 numbers remember, 512 are passed on: U is an eighth as large. Clipping both is of allenai/bilm-tf, against
memories that grow over a long text.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.nn.recurrent import States


class ProjectedLSTM(nn.Module):
    """One layer, `inputs` wide, with a memory of `cell_width` and outputs of `width`; the gates' order is torch's."""

    def __init__(self, inputs: int, cell_width: int, width: int, clip: float | None = None) -> None:
        super().__init__()
        self.cell_width, self.width, self.clip = cell_width, width, clip
        self.weight_ih = nn.Parameter(torch.empty(4 * cell_width, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * cell_width, width))
        self.bias = nn.Parameter(torch.empty(4 * cell_width))
        self.projection = nn.Parameter(torch.empty(width, cell_width))
        self.initialise(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Matrices uniform in ±1/sqrt(inputs), biases 0 and 1 for the forget gate."""
        for weight in (self.weight_ih, self.weight_hh, self.projection):
            span = 1 / math.sqrt(weight.shape[1])
            weight.copy_(torch.empty(weight.shape, dtype=torch.float32).uniform_(-span, span, generator=generator))
        self.bias.zero_()
        self.bias[self.cell_width : 2 * self.cell_width] = 1.0

    def _clipped(self, x: Tensor) -> Tensor:
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def forward(self, x: Tensor, states: States | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """`x` [time, batch, inputs] to outputs [time, batch, width] and the states "r" and "c" after the last step."""
        batch = x.shape[1]
        r = self.bias.new_zeros(batch, self.width) if states is None else states["r"]
        c = self.bias.new_zeros(batch, self.cell_width) if states is None else states["c"]
        outputs = []
        # The recurrence runs in the precision of its weights: rounding to bf16 at each step would add up.
        with torch.autocast(x.device.type, enabled=False):
            for x_t in F.linear(x.to(self.bias.dtype), self.weight_ih, self.bias):
                i, f, g, o = (x_t + F.linear(r, self.weight_hh)).chunk(4, -1)
                c = self._clipped(torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g))
                r = self._clipped(F.linear(torch.sigmoid(o) * torch.tanh(c), self.projection))
                outputs.append(r)
        return torch.stack(outputs), {"r": r, "c": c}
