"""Transformer-XL (Dai et al. 2019; kimiyoung/transformer-xl `pytorch/mem_transformer.py`): a Transformer that goes on.

h_0      = sqrt(d) E[tokens]
m_l      = the states that layer l read before, the last `memory` of them, without gradient
a_l      = LN(h_l + W_o RelativeAttention(queries of h_l, keys and values of [m_l, h_l]))
h_{l+1}  = LN(a_l + W_2 relu(W_1 a_l))
logits   = h_L E' + c

The next segment sees the memory as if it had been computed with it, so that what is known reaches back
layers * memory tokens. That needs positions that mean the same in every segment: relative ones (`lm.nn.relative`).
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.transformer_xl_config import TransformerXLConfig
from lm.nn.masks import Band, Causal, Padding, compile_mask
from lm.nn.memory import READ, new_memory, remember
from lm.nn.relative import attend_by_scores, distances, relative_shift, sinusoids
from lm.nn.stateful import Reading, Stateful, States


class RelativeAttention(nn.Module):
    """Attention from a segment over its memory and itself, scores as in `lm.nn.relative`."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.position = nn.Linear(config.width, config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.dropout = config.attention_dropout

    def forward(self, x: Tensor, memory: Tensor, r: Tensor, u: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        """`x`: [batch, time, width]; `memory`: [batch, m, width]; `r`: sinusoids of distances, [time + m + 1, width];
        `u`, `v`: [heads, 1, width / heads]; `visible`: bool, broadcastable to [batch, heads, time, m + time]."""
        batch, time, width = x.shape
        keys = memory.shape[1] + time
        qkv = self.qkv(torch.cat([memory, x], 1)).view(batch, keys, 3, self.heads, width // self.heads)
        q, k, values = qkv.permute(2, 0, 3, 1, 4)
        q = q[:, :, -time:]
        r = self.position(r).view(-1, self.heads, width // self.heads).permute(1, 2, 0)
        scores = (q + u) @ k.mT + relative_shift((q + v) @ r, keys)
        scores = scores / math.sqrt(width // self.heads)
        attended = attend_by_scores(scores, values, visible, self.dropout if self.training else 0.0)
        return self.out(attended.transpose(1, 2).reshape(batch, time, width))


class Layer(nn.Module):
    """One post-LN layer."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__()
        self.attention = RelativeAttention(config)
        self.ln_1 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.expand = nn.Linear(config.width, config.inner)
        self.contract = nn.Linear(config.inner, config.width)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: Tensor, r: Tensor, u: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        x = self.ln_1(x + self.dropout(self.attention(x, memory, r, u, v, visible)))
        inner = self.dropout(F.relu(self.expand(x)))
        return self.ln_2(x + self.dropout(self.contract(inner)))


class TransformerXL(Stateful):
    """The model. `seed` decides the initial weights, and nothing else does."""

    biases: ClassVar[tuple[str, ...]] = ("u", "v")  # one for each head: no matrices; see `lm.train.optim`

    def __init__(self, config: TransformerXLConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        shape = (config.heads, 1, config.width // config.heads)
        self.u, self.v = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))  # of all layers
        self.head_bias = nn.Parameter(torch.zeros(config.vocab))
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """N(0, .02) for all weights, N(1, .02) for the scales of norms, zero biases (the authors' `weights_init`)."""
        generator = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                p.zero_()
            else:
                mean = 1.0 if ".ln_" in name else 0.0
                # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
                p.copy_(torch.empty(p.shape, dtype=torch.float32).normal_(mean, 0.02, generator=generator))

    def new_states(self, batch: int) -> dict[str, Tensor]:
        """The states of `batch` rows that have read nothing: {"read": int64 [batch], "0": [batch, memory, width], ...},
        a memory for each layer, whose last `read` positions count."""
        c = self.config
        return new_memory(c.layers, batch, c.memory, self.token_embedding.weight)

    def read(self, tokens: Tensor, states: States | None = None) -> Reading:
        """Read `tokens`, int64 [batch, time], going on from `states` (None: nothing was read before).

        The new states are detached: no gradient leaves a segment.
        """
        config, (batch, time) = self.config, tokens.shape
        given = self.new_states(batch) if states is None else states
        # Without memory no place is made for one: the same figures, and fewer of them.
        memory = {n: given[str(n)][:, :0] if states is None else given[str(n)] for n in range(config.layers)}
        visible, keys = self._visible(memory[0].shape[1], time, given[READ])
        weight = self.token_embedding.weight
        r = distances(time, keys, causal=True, clamp=config.clamp, device=weight.device)
        r = self.dropout(sinusoids(r, config.width).to(weight.dtype))
        x = self.dropout(self.token_embedding(tokens) * math.sqrt(config.width))
        after = {READ: (given[READ] + time).clamp(max=config.memory)}
        for n, layer in enumerate(self.layers):
            after[str(n)] = remember(given[str(n)], x)
            x = layer(x, memory[n], r, self.u, self.v, visible)
        return Reading(x, self.dropout(x), after)

    def _visible(self, remembered: int, time: int, read: Tensor) -> tuple[Tensor, int]:
        """Which keys each query sees, and how many keys there are: all before it that are there."""
        keys, device = remembered + time, read.device
        mask = Causal() & Band(self.config.memory) if self.config.same_length else Causal()
        if remembered:
            place = torch.arange(keys, device=device)
            mask = mask & Padding(place >= remembered - read[:, None])
        visible = compile_mask(mask, time, keys, device).tensor
        return Causal().visible(time, keys, device) if visible is None else visible, keys

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token from hidden states: [..., width] -> [..., vocab]."""
        return F.linear(hidden, self.token_embedding.weight, self.head_bias)
