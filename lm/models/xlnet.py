"""XLNet (Yang et al. 2019; zihangdai/xlnet `modeling.py`): any order of prediction, two streams.

p(x) = prod_t p(x_{z_t} | x_{z_1} .. x_{z_{t-1}})     z: an order of the positions, another one for each example

A state that predicts position i must know i and not x_i; one that later positions look at must know both. So there
are two of each, with the same weights (section 2.3):

content  h_i = Attention(q of h_i, k and v of h_j for z-earlier j and i itself)     h_i^0 = E[x_i]
query    g_i = Attention(q of g_i, k and v of h_j for z-earlier j)                  g_i^0 = w, for every i

Positions are relative (`lm.nn.relative`), here with u, v of each layer; segments too: the score of i for j has
(q_i + s)' of one of two learned vectors, for "in my segment" and "in another" (section 2.5).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.xlnet_config import XLNetConfig
from lm.nn.memory import READ, new_memory, remember
from lm.nn.relative import attend_by_scores, distances, relative_shift, shifted_at, sinusoids
from lm.nn.stateful import States


@dataclass(frozen=True)
class Looks:
    """Who looks at whom, the same in all layers; keys are the memory and the segment."""

    positions: Tensor
    """Sinusoids of distances, [keys + time, width]."""
    content: Tensor | None
    """bool [batch, 1, time, keys]: what the content stream sees; None: everything."""
    query: Tensor | None
    """bool [batch, 1, targets, keys]: what the query stream sees."""
    targets: Tensor | None
    """int64 [batch, targets]: where the query stream stands; None: there is none."""
    other_segment: Tensor | None
    """bool [batch, 1, time, keys]: whether the key is in another segment than the query."""


class RelativeAttention(nn.Module):
    """Attention of both streams, with one set of weights."""

    biases: ClassVar[tuple[str, ...]] = ("content_bias", "position_bias", "segment_bias")  # see `lm.train.optim`
    tables: ClassVar[tuple[str, ...]] = ("segments",)

    def __init__(self, config: XLNetConfig) -> None:
        super().__init__()
        self.heads, self.head = config.heads, config.width // config.heads
        self.q = nn.Linear(config.width, config.width, bias=False)
        self.k = nn.Linear(config.width, config.width, bias=False)
        self.v = nn.Linear(config.width, config.width, bias=False)
        self.position = nn.Linear(config.width, config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(config.heads, 1, self.head))  # u
        self.position_bias = nn.Parameter(torch.zeros(config.heads, 1, self.head))  # v
        self.segment_bias = nn.Parameter(torch.zeros(config.heads, 1, self.head))  # s
        self.segments = nn.Parameter(torch.zeros(2, config.heads, self.head))  # the same, another
        self.dropout = config.dropout

    def forward(self, h: Tensor, g: Tensor | None, memory: Tensor, looks: Looks) -> tuple[Tensor, Tensor | None]:
        """`h`: [batch, time, width]; `g`: [batch, targets, width]; `memory`: [batch, m, width]."""
        past = torch.cat([memory, h], 1)
        k, v = self._split(self.k(past)), self._split(self.v(past))
        r = self.position(looks.positions).view(-1, self.heads, self.head).permute(1, 2, 0)
        content = self._attend(self._split(self.q(h)), k, v, r, looks, None)
        return content, None if g is None else self._attend(self._split(self.q(g)), k, v, r, looks, looks.targets)

    def _split(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> [batch, heads, time, head]."""
        return x.view(*x.shape[:2], self.heads, self.head).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, r: Tensor, looks: Looks, targets: Tensor | None) -> Tensor:
        """What queries see that stand at `targets`, or everywhere."""
        (batch, _, time, _), keys = q.shape, k.shape[2]
        by_distance, other = (q + self.position_bias) @ r, looks.other_segment
        if targets is None:
            placed = relative_shift(by_distance, keys)
        else:
            placed = shifted_at(by_distance, targets, r.shape[-1] - keys, keys)
            if other is not None:
                other = other.gather(2, targets[:, None, :, None].expand(-1, 1, -1, keys))
        scores = (q + self.content_bias) @ k.mT + placed
        if other is not None:
            by_segment = torch.einsum("bhtd,shd->sbht", q + self.segment_bias, self.segments)[..., None]
            scores = scores + torch.where(other, by_segment[1], by_segment[0])
        visible = looks.content if targets is None else looks.query
        dropout = self.dropout if self.training else 0.0
        attended = attend_by_scores(scores / math.sqrt(self.head), v, visible, dropout, blind=targets is not None)
        return self.out(attended.transpose(1, 2).reshape(batch, time, -1))


class Layer(nn.Module):
    """One post-LN layer; both streams go through the same weights."""

    def __init__(self, config: XLNetConfig) -> None:
        super().__init__()
        self.attention = RelativeAttention(config)
        self.ln_1 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.expand = nn.Linear(config.width, config.inner)
        self.contract = nn.Linear(config.inner, config.width)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h: Tensor, g: Tensor | None, memory: Tensor, looks: Looks) -> tuple[Tensor, Tensor | None]:
        content, query = self.attention(h, g, memory, looks)
        return self._after(h, content), None if g is None or query is None else self._after(g, query)

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.ln_1(x + self.dropout(attended))
        return self.ln_2(x + self.dropout(self.contract(self.dropout(F.gelu(self.expand(x))))))


@dataclass(frozen=True)
class Streams:
    """What reading a segment gives: content states [batch, time, width], query states [batch, targets, width] if
    targets were named, and the memory to go on from."""

    content: Tensor
    query: Tensor | None
    states: dict[str, Tensor]


class XLNet(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does."""

    def __init__(self, config: XLNetConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.mask_embedding = nn.Parameter(torch.zeros(config.width))  # w
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.head_bias = nn.Parameter(torch.zeros(config.vocab))
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """N(0, .02) for all weights, the biases of attention included; zero for other biases, norms at one."""
        generator = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if name.endswith((".bias", "head_bias")):
                p.zero_()
            elif ".ln_" not in name:
                # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
                p.copy_(torch.empty(p.shape, dtype=torch.float32).normal_(0, 0.02, generator=generator))

    def new_states(self, batch: int) -> dict[str, Tensor]:
        """A memory that has read nothing, as `TransformerXL.new_states` has it."""
        c = self.config
        return new_memory(c.layers, batch, c.memory, self.token_embedding.weight)

    def read(
        self,
        tokens: Tensor,
        visible: Tensor | None = None,
        targets: Tensor | None = None,
        *,
        segments: Tensor | None = None,
        real: Tensor | None = None,
        states: States | None = None,
    ) -> Streams:
        """Read `tokens`, int64 [batch, time], whose memory goes on from `states` (None: nothing was read before).

        `visible`: bool [batch, time, time] or [time, time], whether the row's position may look at the column's (None:
        at all); the content stream also looks at itself. `targets`: int64 [batch, n], the positions that the query
        stream predicts. `segments`: int [batch, time]; the memory counts as of segment 0. `real`: bool [batch, time],
        False for padding, which nothing else sees. The new states are detached.
        """
        config, (batch, time) = self.config, tokens.shape
        given = self.new_states(batch) if states is None else states
        memory = {n: given[str(n)][:, :0] if states is None else given[str(n)] for n in range(config.layers)}
        looks = self._looks(tokens, visible, targets, segments, real, memory[0].shape[1], given[READ])
        h = self.dropout(self.token_embedding(tokens))
        g = None if targets is None else self.dropout(self.mask_embedding.expand(*targets.shape, -1))
        after = {READ: (given[READ] + time).clamp(max=config.memory)}
        for n, layer in enumerate(self.layers):
            after[str(n)] = remember(given[str(n)], h)
            h, g = layer(h, g, memory[n], looks)
        return Streams(self.dropout(h), None if g is None else self.dropout(g), after)

    def _looks(
        self,
        tokens: Tensor,
        visible: Tensor | None,
        targets: Tensor | None,
        segments: Tensor | None,
        real: Tensor | None,
        remembered: int,
        read: Tensor,
    ) -> Looks:
        (batch, time), device = tokens.shape, tokens.device
        keys = remembered + time
        table = distances(time, keys, causal=False, clamp=self.config.clamp, device=device)
        dtype = self.token_embedding.weight.dtype
        positions = self.dropout(sinusoids(table, self.config.width).to(dtype))
        query = content = other = None
        if targets is not None and visible is None:
            raise ValueError("targets without `visible`: a token that is predicted would be seen; say what may be")
        if visible is not None or real is not None or remembered:
            query = tokens.new_ones(batch, time, time, dtype=torch.bool)
            query = query if visible is None else query & visible
            query = query if real is None else query & real.bool()[:, None]
            there = torch.arange(remembered, device=device) >= remembered - read[:, None]
            query = torch.cat([there[:, None].expand(-1, time, -1), query], 2)[:, None]
            itself = torch.eye(time, dtype=torch.bool, device=device)
            content = query | F.pad(itself, (remembered, 0))
            if targets is not None:
                query = query.gather(2, targets[:, None, :, None].expand(-1, 1, -1, keys))
        if segments is not None:
            behind = F.pad(segments, (remembered, 0))
            other = (segments[:, :, None] != behind[:, None])[:, None]
        return Looks(positions, content, query, targets, other)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of a token from the states of either stream: [..., width] -> [..., vocab]."""
        return F.linear(hidden, self.token_embedding.weight, self.head_bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Next-token logits, [batch, time, vocab], from left to right: row t is of position t + 1, given 0 .. t.

        The position after the last token is read as well: a query stands there, behind a token that none sees.
        """
        batch, time = tokens.shape
        place = torch.arange(time + 1, device=tokens.device)
        longer = F.pad(tokens, (0, 1))
        streams = self.read(longer, place[:, None] > place, place[1:].expand(batch, -1))
        assert streams.query is not None
        return self.logits(streams.query)
