"""A decoder that takes what has been learned since GPT-3, and nothing else. docs/models/modern.md has the reasons.

e       = N(wte[tokens])                         N: root-mean-square norm, no gain
x_0     = e + s * e shifted by one position      s: a number for each dimension, 0 at first
q, k, v = heads of W_qkv N(x_l)                  no biases anywhere
x_{l+.5} = x_l + W_o Attention(R N(q), R N(k), v)  R: rotary positions; N over each head: QK-norm
x_{l+1} = x_{l+.5} + W_2 relu(W_1 N(x_{l+.5}))^2   squared ReLU
logits  = W_head N(x_L)

W_o, W_2 and W_head begin at zero: at first each layer is the identity and every token is equally likely.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.modern_config import ModernConfig
from lm.nn.attention import KVCache, attend
from lm.nn.masks import Causal, Compiled, Mask, compile_mask
from lm.nn.norms import rms_norm
from lm.nn.rotary import Rotation, rotate, rotation_table


class Block(nn.Module):
    """One layer."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        # A stack of matrices, one for each head's queries, keys and values: Muon orthogonalises each by itself.
        self.qkv = nn.Parameter(torch.empty(3 * config.heads, width // config.heads, width))
        self.out = nn.Linear(width, width, bias=False)
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.contract = nn.Linear(4 * width, width, bias=False)

    def forward(
        self, x: Tensor, rotation: Rotation, mask: Compiled, cache: KVCache | None = None, layer: int = 0
    ) -> Tensor:
        x = x + self.attention(rms_norm(x), rotation, mask, cache, layer)
        return x + self.contract(F.relu(self.expand(rms_norm(x))).square())

    def attention(self, x: Tensor, rotation: Rotation, mask: Compiled, cache: KVCache | None, layer: int) -> Tensor:
        """`x`: [batch, time, width]; `rotation`: of its positions."""
        batch, time, _ = x.shape
        qk, v = (
            F.linear(x, self.qkv.flatten(0, 1))
            .view(batch, time, 3 * self.heads, -1)
            .split([2 * self.heads, self.heads], dim=2)
        )
        q, k = rotate(rms_norm(qk), rotation).to(v.dtype).transpose(1, 2).chunk(2, dim=1)  # under autocast: bf16
        v = v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        return self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2))


def before(x: Tensor, visible: Compiled, cache: KVCache | None = None) -> Tensor:
    """The vectors of the position before each, zero where attention may not look there or there is none.

    `x`: [batch, time, width]; with a cache, whose last vector comes before the first, `x` is noted in it.
    """
    newest = None if cache is None else cache.newest
    shifted = torch.cat([torch.zeros_like(x[:, :1]) if newest is None else newest, x[:, :-1]], 1)
    if cache is not None:
        cache.newest = x[:, -1:]
    if visible.tensor is None:
        return shifted
    queries, keys = visible.tensor.shape[-2:]
    seen = visible.tensor.diagonal(keys - queries - 1, -2, -1)
    seen = F.pad(seen, (queries - seen.shape[-1], 0))  # the very first has none before it
    return shifted * (seen[:, 0] if seen.dim() == 3 else seen)[..., None]


class Modern(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does."""

    rotation: Tensor

    def __init__(self, config: ModernConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.smear = nn.Parameter(torch.zeros(config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        if not config.tied:
            self.head = nn.Linear(config.width, config.vocab, bias=False)
        table = rotation_table(config.context, config.width // config.heads, config.rotary_base)
        self.register_buffer("rotation", table, persistent=False)
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """N(0, 1) for the embedding (its norm follows), U(-s, s) with s = sqrt(3 / width) for what reads the residual
        stream, zero for what writes to it and for the head; a tied head needs the embedding small: N(0, .02)."""
        generator = torch.Generator().manual_seed(seed)
        self.token_embedding.weight.normal_(0, 0.02 if self.config.tied else 1, generator=generator)
        bound = math.sqrt(3 / self.config.width)
        for module in self.modules():
            if isinstance(module, Block):
                module.qkv.uniform_(-bound, bound, generator=generator)
                module.expand.weight.uniform_(-bound, bound, generator=generator)
                module.out.weight.zero_()
                module.contract.weight.zero_()
        if not self.config.tied:
            self.head.weight.zero_()

    def hidden_states(
        self, tokens: Tensor, mask: Mask | None = None, cache: KVCache | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """What a head is put on, [batch, time, width]; arguments and errors as in `lm.models.gpt.GPT.hidden_states`."""
        time = tokens.shape[1]
        past = cache.length if cache is not None else 0
        if positions is None:
            if past + time > self.config.context:
                raise ValueError(f"{past + time} tokens do not fit the context of {self.config.context}")
            cos, sin = self.rotation[:, past : past + time]
        else:
            cos, sin = self.rotation[:, positions]
        visible = compile_mask(Causal() if mask is None else Causal() & mask, time, past + time, tokens.device)
        x = rms_norm(self.token_embedding(tokens))
        x = x + self.smear * before(x, visible, cache)
        for layer, block in enumerate(self.blocks):
            x = block(x, (cos, sin), visible, cache, layer)
        if cache is not None:
            cache.advance(time)
        return rms_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token from hidden states: [..., width] -> [..., vocab]."""
        return F.linear(hidden, self.token_embedding.weight if self.config.tied else self.head.weight)

    def forward(self, tokens: Tensor, mask: Mask | None = None, cache: KVCache | None = None) -> Tensor:
        """Next-token logits, [batch, time, vocab]; arguments as in `hidden_states`."""
        return self.logits(self.hidden_states(tokens, mask, cache))

    def new_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `batch` sequences of up to `capacity` (default: the context) tokens."""
        c = self.config
        like = self.token_embedding.weight
        return KVCache(c.layers, batch, c.heads, capacity or c.context, c.width // c.heads, like)
