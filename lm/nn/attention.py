"""Multi-head attention, and the cache that makes generation linear.

Attention(q, k, v) = softmax(q k' / sqrt(d_head)) v   (Vaswani et al. 2017, section 3.2), over the visible positions.
Which those are is a value (`lm.nn.masks`). Where nothing but causality masks, SDPA is told so and never sees a mask.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.nn.masks import Compiled

SHORT = {torch.bfloat16: 512, torch.float32: 64}
"""Positions up to which the products of attention are made one by one on a CPU."""


class KVCache:
    """Keys and values of the positions already read, per layer: [batch, heads, capacity, d_head]."""

    def __init__(self, layers: int, batch: int, heads: int, capacity: int, head_width: int, like: Tensor) -> None:
        shape = (layers, batch, heads, capacity, head_width)
        self.keys = like.new_zeros(shape)
        self.values = like.new_zeros(shape)
        self.length = 0
        self.newest: Tensor | None = None
        """[batch, 1, width]: the vector of the last position, for a model that looks at the one before."""

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append this layer's new keys and values; return all of them. `advance` moves the length on."""
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} positions; {end} were asked for")
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, positions: int) -> None:
        self.length += positions

    def select(self, rows: list[int]) -> None:
        """Keep these sequences of the batch only."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.newest = None if self.newest is None else self.newest[rows]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Compiled, dropout: float = 0.0) -> Tensor:
    """softmax(q k' / sqrt(d_head)) v over what `mask` shows; all [batch, heads, time, d_head]."""
    if mask.causal:
        return causal_attention(q, k, v, dropout)
    if q.requires_grad and _short_on_a_cpu(q, k):
        scores = torch.matmul(q, k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        if mask.tensor is not None:
            scores = scores.masked_fill(~mask.tensor, float("-inf"))
        return torch.matmul(F.dropout(scores.softmax(-1).to(v.dtype), dropout), v)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.tensor, dropout_p=dropout)


def _short_on_a_cpu(q: Tensor, k: Tensor) -> bool:
    """Where torch's flash kernel is slow backwards (`causal_attention`): without causality twice as slow at 128."""
    if torch.compiler.is_exporting():  # a graph goes forwards, and its lengths are free
        return False
    return q.device.type == "cpu" and max(q.shape[2], k.shape[2]) <= SHORT.get(q.dtype, 0)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(q k' / sqrt(d_head)) v over positions <= t; all [batch, heads, time, d_head].

    SDPA, except for short sequences on a CPU, where torch 2.13's flash kernel spends most of its time in the backward
    pass: forward and backward of [16, 6, 128, 32] in bf16 take 34 ms of CPU time there and 7 ms here, [4, 8, 512, 64]
    90 and 54 ms; [12, 4, 64, 32] in fp32 3.3 and 3.0 ms. Longer ones keep SDPA, which never holds time x time scores.
    """
    batch, heads, time, width = q.shape
    if not _short_on_a_cpu(q, k):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    future = torch.full((time, time), float("-inf"), dtype=q.dtype).triu(1)
    q, k, v = (x.reshape(batch * heads, time, width) for x in (q, k, v))
    weights = torch.baddbmm(future, q, k.transpose(1, 2), alpha=width**-0.5).softmax(-1).to(v.dtype)
    return torch.bmm(F.dropout(weights, dropout), v).view(batch, heads, time, width)


class SelfAttention(nn.Module):
    """Fused query-key-value projection, attention, output projection. `head_width`: by default width / heads."""

    def __init__(self, width: int, heads: int, dropout: float, head_width: int | None = None) -> None:
        super().__init__()
        if head_width is None and width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.head_width = head_width or width // heads
        self.qkv = nn.Linear(width, 3 * heads * self.head_width)
        self.out = nn.Linear(heads * self.head_width, width)
        self.dropout = dropout
        self.out_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Compiled, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        """`x`: [batch, time, width]; with a cache, the positions after those that `layer` has in it."""
        batch, time, _ = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        attended = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.out_dropout(self.out(attended.transpose(1, 2).flatten(2)))


class CrossAttention(nn.Module):
    """Queries from one sequence, keys and values from another: a decoder that looks at its encoder."""

    def __init__(self, width: int, heads: int, dropout: float, memory_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(memory_width or width, 2 * width)
        self.out = nn.Linear(width, width)
        self.dropout = dropout
        self.out_dropout = nn.Dropout(dropout)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Of memory [batch, keys, memory_width]: two [batch, heads, keys, d_head], to be made once and used often."""
        batch, keys, _ = memory.shape
        width = self.q.out_features
        k, v = self.kv(memory).view(batch, keys, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], mask: Compiled) -> Tensor:
        """`x`: [batch, time, width]; `mask`: which of the memory's positions are visible."""
        batch, time, width = x.shape
        q = self.q(x).view(batch, time, self.heads, width // self.heads).transpose(1, 2)
        attended = attend(q, *keys_values, mask, self.dropout if self.training else 0.0)
        return self.out_dropout(self.out(attended.transpose(1, 2).reshape(batch, time, width)))
