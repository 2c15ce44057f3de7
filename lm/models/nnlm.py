"""The neural probabilistic language model (Bengio, Ducharme, Vincent & Jauvin 2003).

x = (C[w_{t-1}], ..., C[w_{t-n+1}])          the vectors of the n - 1 tokens before, put side by side
y = b + W x + U tanh(d + H x)                W = 0 without direct links
p(w_t | w_{t-n+1} ... w_{t-1}) = softmax(y)

C is one table for all places: a one-hot vector times C is a row of it. The letters are the paper's.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.nnlm_config import NNLMConfig


class NNLM(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does."""

    tables: ClassVar[tuple[str, ...]] = ("C", "U", "W")  # a token's row is a vector of its own; see `lm.train.optim`

    def __init__(self, config: NNLMConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        v, h, inputs = config.vocab, config.hidden, config.window * config.embedding
        self.C = nn.Parameter(torch.empty(v, config.embedding))
        self.H = nn.Parameter(torch.empty(h, inputs))
        self.d = nn.Parameter(torch.empty(h))
        self.U = nn.Parameter(torch.empty(v, h))
        self.W = nn.Parameter(torch.empty(v, inputs)) if config.direct else None
        self.b = nn.Parameter(torch.empty(v))
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """C from N(0, 0.1), matrices uniform in ±1/sqrt(inputs), biases zero."""
        generator = torch.Generator().manual_seed(seed)

        def drawn(weight: Tensor) -> Tensor:
            # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
            return torch.empty(weight.shape, dtype=torch.float32)

        self.C.copy_(drawn(self.C).normal_(0, 0.1, generator=generator))
        for weight in (self.H, self.U, self.W):
            if weight is not None and weight.numel():
                span = 1 / math.sqrt(weight.shape[1])
                weight.copy_(drawn(weight).uniform_(-span, span, generator=generator))
        self.d.zero_()
        self.b.zero_()

    def windows(self, tokens: Tensor) -> Tensor:
        """What is looked at behind each token: int64 [batch, time] -> [batch, time, n - 1], the nearest last.

        Row t ends with token t itself. `start_token` fills what lies before the text, or before the last
        `start_token` in the window.
        """
        n, start = self.config.window, self.config.start_token
        windows = F.pad(tokens, (n - 1, 0), value=start).unfold(1, n, 1)
        begins_behind = (windows == start).flip(-1).cumsum(-1).flip(-1) > 0  # at this place or nearer
        return torch.where(begins_behind, start, windows)

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """What a head is put on: x, then tanh(d + H x), side by side; [batch, time, (n - 1) m + h]."""
        x = F.embedding(self.windows(tokens), self.C).flatten(-2)
        return torch.cat([x, torch.tanh(F.linear(x, self.H, self.d))], -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """y from hidden states: [..., (n - 1) m + h] -> [..., vocab]."""
        x, a = (part.contiguous() for part in hidden.split([self.H.shape[1], self.config.hidden], -1))
        y = F.linear(a, self.U, self.b)
        return y if self.W is None else y + F.linear(x, self.W)

    def forward(self, tokens: Tensor) -> Tensor:
        """Next-token logits, [batch, time, vocab], for int64 [batch, time]: all windows of a text in one pass."""
        return self.logits(self.hidden_states(tokens))
