"""The Transformer (Vaswani et al. 2017): an encoder and a decoder of attention and feed-forward networks alone.

x_0      = dropout(sqrt(d) E[tokens] + PE)
encoder  x = LN(x + dropout(SelfAttention(x)))                        sees what is no padding
         x = LN(x + dropout(FFN(x)))                                  FFN(x) = W_2 max(0, W_1 x)
decoder  y = LN(y + dropout(SelfAttention(y)))                        sees the past
         y = LN(y + dropout(CrossAttention(y, encoder's x)))          queries from y; keys and values from x
         y = LN(y + dropout(FFN(y)))
logits   = y E'                                                       the same matrix, without sqrt(d)

The norm stands behind each sum (post-LN), and there is none besides. Dropout is where section 5.4 has it, and not on
attention weights or inside the feed-forward network, where the authors' code puts more.
"""

import copy
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.encoder_decoder import real_positions
from lm.models.transformer_config import TransformerConfig
from lm.nn.attention import CrossAttention, KVCache, SelfAttention
from lm.nn.masks import Causal, Compiled, Padding, compile_mask
from lm.nn.positions import sinusoidal

KeysValues = tuple[Tensor, Tensor]
FIRST_CAPACITY = 32


class FeedForward(nn.Module):
    """Two layers at each position, alike (section 3.3)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(F.relu(self.expand(x)))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads, 0.0)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, eps=config.norm_epsilon) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Compiled) -> Tensor:
        x = self.norms[0](x + self.dropout(self.attention(x, mask)))
        return self.norms[1](x + self.dropout(self.feed_forward(x)))


class DecoderLayer(nn.Module):
    """Self-attention over the past, attention over the encoder's output, feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads, 0.0)
        self.cross_attention = CrossAttention(config.width, config.heads, 0.0)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, eps=config.norm_epsilon) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, y: Tensor, past: Compiled, memory: KeysValues, seen: Compiled, cache: KVCache | None, layer: int
    ) -> Tensor:
        y = self.norms[0](y + self.dropout(self.attention(y, past, cache, layer)))
        y = self.norms[1](y + self.dropout(self.cross_attention(y, memory, seen)))
        return self.norms[2](y + self.dropout(self.feed_forward(y)))


@dataclass(frozen=True)
class TransformerState:
    """Of each hypothesis, the keys and values of the source, made once, and of the target so far."""

    memory: list[KeysValues]
    real: Tensor
    cache: KVCache

    def select(self, rows: Tensor) -> "TransformerState":
        cache = copy.copy(self.cache)
        cache.keys, cache.values = self.cache.keys[:, rows], self.cache.values[:, rows]
        return TransformerState([(k[rows], v[rows]) for k, v in self.memory], self.real[rows], cache)


class Transformer(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.target_embedding = nn.Embedding(config.target_vocab, config.width)
        shared = config.shared_embedding
        # One matrix has one name: it is stored and trained once.
        self.own_source_embedding = None if shared else nn.Embedding(config.source_vocab, config.width)
        self.head = None if shared else nn.Linear(config.width, config.target_vocab, bias=False)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("positions", torch.empty(0, config.width), persistent=False)
        self.initialise(seed)

    @property
    def source_embedding(self) -> nn.Embedding:
        return self.target_embedding if self.own_source_embedding is None else self.own_source_embedding

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Uniform as Glorot & Bengio 2010 have it (q, k and v each as a matrix of its own), vectors N(0, 1/d), which
        sqrt(d) brings to the size of the positions; biases zero. The paper does not say; its code does the like."""
        generator = torch.Generator().manual_seed(seed)

        def uniform(weight: Tensor) -> None:
            # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
            span = math.sqrt(6 / sum(weight.shape))
            weight.copy_(torch.empty(weight.shape, dtype=torch.float32).uniform_(-span, span, generator=generator))

        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                joined = name.endswith(("qkv", "kv"))
                for part in module.weight.split(self.config.width) if joined else [module.weight]:
                    uniform(part)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                drawn = torch.empty(module.weight.shape, dtype=torch.float32)
                module.weight.copy_(drawn.normal_(0, self.config.width**-0.5, generator=generator))

    def reserve_positions(self, length: int) -> None:
        """Make the table of positions so long at once; it grows by itself, but a graph made of the model cannot."""
        self.positions = sinusoidal(length, self.config.width).to(self.positions)

    def _embedded(self, embedding: nn.Embedding, tokens: Tensor, start: int = 0) -> Tensor:
        x = embedding(tokens) * math.sqrt(self.config.width)
        if self.config.positions == "sinusoidal":
            end = start + tokens.shape[1]
            if len(self.positions) < end:
                self.reserve_positions(2 * end)
            x = x + self.positions[start:end]
        return self.dropout(x)

    def encode(self, source: Tensor, lengths: Tensor) -> Tensor:
        """What the encoder says of each source token, [batch, time, width]; of padding, nothing that is looked at."""
        x = self._embedded(self.source_embedding, source)
        mask = _padding(lengths, source.shape[1], source.shape[1])
        for layer in self.encoder:
            x = layer(x, mask)
        return x

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor, input_lengths: Tensor | None = None) -> Tensor:
        """Logits of the token after each of `inputs` (`EncoderDecoder`).

        Targets padded on the right need no `input_lengths`: nothing real can see what is behind it.
        """
        return self.decode(inputs, self.encode(source, lengths), lengths, input_lengths)

    def decode(self, inputs: Tensor, encoded: Tensor, lengths: Tensor, input_lengths: Tensor | None = None) -> Tensor:
        """As `forward`, from what `encode` gave for a source of these lengths."""
        time, device = inputs.shape[1], inputs.device
        memory = self._keys_values(encoded)
        mask = Causal() if input_lengths is None else Causal() & Padding(real_positions(input_lengths, time))
        past = compile_mask(mask, time, time, device)
        seen = _padding(lengths, time, encoded.shape[1])
        return self._logits(self._decoded(self._embedded(self.target_embedding, inputs), past, memory, seen)[0])

    def _keys_values(self, encoded: Tensor) -> list[KeysValues]:
        return [cast(DecoderLayer, layer).cross_attention.keys_values(encoded) for layer in self.decoder]

    def _decoded(
        self, y: Tensor, past: Compiled, memory: list[KeysValues], seen: Compiled, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor]:
        """The last layer's output, and what its cross-attention read as queries."""
        below = y
        for number, layer in enumerate(self.decoder):
            below = y
            y = layer(y, past, memory[number], seen, cache, number)
        return y, below

    def _logits(self, y: Tensor) -> Tensor:
        return F.linear(y, self.target_embedding.weight if self.head is None else self.head.weight)

    def start(self, source: Tensor, lengths: Tensor) -> TransformerState:
        """Read the source (`EncoderDecoder.start`)."""
        memory = self._keys_values(self.encode(source, lengths))
        return TransformerState(
            memory, real_positions(lengths, source.shape[1]), self._new_cache(len(source), FIRST_CAPACITY, memory[0][0])
        )

    def _new_cache(self, rows: int, capacity: int, like: Tensor) -> KVCache:
        c = self.config
        return KVCache(c.layers, rows, c.heads, capacity, c.width // c.heads, like)

    def step(self, tokens: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """One target token of each row (`EncoderDecoder.step`); the state before must not be used again."""
        cache = state.cache
        if cache.length == cache.capacity:
            cache = self._new_cache(len(tokens), 2 * cache.capacity, cache.keys)
            cache.keys[:, :, :, : state.cache.length] = state.cache.keys
            cache.values[:, :, :, : state.cache.length] = state.cache.values
            cache.length = state.cache.length
        y = self._embedded(self.target_embedding, tokens[:, None], cache.length)
        seen = compile_mask(Padding(state.real), 1, state.real.shape[1], tokens.device)
        decoded, _ = self._decoded(y, Compiled(False, None), state.memory, seen, cache)
        cache.advance(1)
        return self._logits(decoded[:, 0]), TransformerState(state.memory, state.real, cache)

    def alignments(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """The last layer's cross-attention, mean over the heads, [batch, target, source] (`EncoderDecoder`)."""
        time = inputs.shape[1]
        memory = self._keys_values(self.encode(source, lengths))
        past = compile_mask(Causal(), time, time, inputs.device)
        seen = _padding(lengths, time, source.shape[1])
        _, below = self._decoded(self._embedded(self.target_embedding, inputs), past, memory, seen)
        last = cast(DecoderLayer, self.decoder[-1])
        y = last.norms[0](below + last.attention(below, past))
        queries = last.cross_attention.q(y).unflatten(-1, (self.config.heads, -1)).transpose(1, 2)
        scores = queries @ memory[-1][0].transpose(2, 3) / math.sqrt(queries.shape[-1])
        if seen.tensor is not None:
            scores = scores.masked_fill(~seen.tensor, float("-inf"))
        return scores.float().softmax(-1).mean(1)


def _padding(lengths: Tensor, queries: int, time: int) -> Compiled:
    """Which of `time` positions are real; where all are, nothing masks and attention takes its fast path."""
    if not torch.compiler.is_exporting() and bool((lengths == time).all()):
        return Compiled(False, None)
    return compile_mask(Padding(real_positions(lengths, time)), queries, time, lengths.device)
