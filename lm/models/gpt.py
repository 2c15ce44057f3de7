"""The GPTs: a decoder with learned positions whose head is its embedding.

GPT-1 (Radford et al. 2018; openai/finetune-transformer-lm): post-LN, `norm: post`.

x_0     = wte[tokens] + wpe[0..T-1]
x_{l+.5} = LN(x_l + Attention(x_l))
x_{l+1} = LN(x_{l+.5} + W_2 gelu(W_1 x_{l+.5}))
logits  = x_L wte'                            the head is the embedding: stored once

GPT-2 (Radford et al. 2019; openai/gpt-2 `src/model.py`): pre-LN, so that from x_0 to x_L there are sums only.

x_{l+.5} = x_l + Attention(LN(x_l))
x_{l+1} = x_{l+.5} + W_2 gelu(W_1 LN(x_{l+.5}))
logits  = LN_f(x_L) wte'

GPT-3 (Brown et al. 2020): GPT-2 in which layers 1, 3, 5, ... (from 0) see the last `band` positions only.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.gpt_config import GPTConfig
from lm.nn.attention import KVCache, SelfAttention
from lm.nn.masks import Band, Causal, Compiled, Mask, compile_mask


class Block(nn.Module):
    """One layer: attention, then a 4x wide feed-forward with the tanh form of GELU."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.ln_1 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.attention = SelfAttention(config.width, config.heads, config.dropout, config.head_width)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.expand = nn.Linear(config.width, 4 * config.width)
        self.contract = nn.Linear(4 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Compiled, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        if self.pre:
            x = x + self.attention(self.ln_1(x), mask, cache, layer)
            return x + self.feed_forward(self.ln_2(x))
        x = self.ln_1(x + self.attention(x, mask, cache, layer))
        return self.ln_2(x + self.feed_forward(x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.contract(F.gelu(self.expand(x), approximate="tanh")))


class GPT(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does."""

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        if config.norm == "pre":
            self.ln_f = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """N(0, .02) for matrices and zero biases. GPT-2 (paper, section 2.3; `src/model.py`): N(0, .01) for positions,
        and the two projections of each layer that end in the residual stream are divided by sqrt(2 * layers). Behind
        post-LN, which makes the stream's size anew in every layer, there is nothing to divide."""
        generator = torch.Generator().manual_seed(seed)
        pre = self.config.norm == "pre"

        def normal(weight: Tensor, std: float) -> None:
            # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
            weight.copy_(torch.empty(weight.shape, dtype=torch.float32).normal_(0, std, generator=generator))

        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                ends_in_residual = pre and name.endswith(("attention.out", "contract"))
                normal(module.weight, 0.02 / math.sqrt(2 * self.config.layers) if ends_in_residual else 0.02)
                module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                normal(module.weight, 0.01 if pre and module is self.position_embedding else 0.02)

    def hidden_states(
        self, tokens: Tensor, mask: Mask | None = None, cache: KVCache | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """What a head is put on: the states after the last layer (and its layer norm), [batch, time, width].

        `tokens`: int64 [batch, time]. `mask`: what is hidden besides the future, such as `Padding` (on the right it
        needs none: nothing before it can see it) or `Document`. With `cache`, `tokens` are the next ones after those
        already read, and the mask is over all of them. `positions`, int64 [batch, time], says where tokens stand if not
        one after the other from 0: behind padding on the left. Raises ValueError beyond the context.
        """
        time = tokens.shape[1]
        past = cache.length if cache is not None else 0
        if positions is None:
            if past + time > self.config.context:
                raise ValueError(f"{past + time} tokens do not fit the context of {self.config.context}")
            positions = torch.arange(past, past + time, device=tokens.device)
        x = self.dropout(self.token_embedding(tokens) + self.position_embedding(positions))
        masks = self._masks(mask, time, past + time, tokens.device)
        for layer, block in enumerate(self.blocks):
            x = block(x, masks[layer % 2], cache, layer)
        if cache is not None:
            cache.advance(time)
        return self.ln_f(x) if self.config.norm == "pre" else x

    def _masks(self, mask: Mask | None, queries: int, keys: int, device: torch.device) -> tuple[Compiled, Compiled]:
        """Of the even layers and of the odd ones, each compiled once."""
        causal = Causal() if mask is None else Causal() & mask
        dense = compile_mask(causal, queries, keys, device)
        band = self.config.band
        if band is None or band >= keys:
            return dense, dense
        return dense, compile_mask(causal & Band(band), queries, keys, device)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token from hidden states: [..., width] -> [..., vocab]."""
        return F.linear(hidden, self.token_embedding.weight)

    def forward(self, tokens: Tensor, mask: Mask | None = None, cache: KVCache | None = None) -> Tensor:
        """Next-token logits, [batch, time, vocab]; arguments as in `hidden_states`."""
        return self.logits(self.hidden_states(tokens, mask, cache))

    def new_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `batch` sequences of up to `capacity` (default: the context) tokens."""
        c = self.config
        like = self.token_embedding.weight
        return KVCache(c.layers, batch, c.heads, capacity or c.context, c.inner_width() // c.heads, like)
