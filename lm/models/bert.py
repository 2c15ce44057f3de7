"""BERT (Devlin et al. 2019; google-research/bert `modeling.py`): a post-LN encoder that sees both sides.

x_0     = LN(token[t] + position[i] + segment[s])
y_l     = LN(x_l + Attention(x_l))                      every position sees every other
x_{l+1} = LN(y_l + W_2 gelu(W_1 y_l))
p(masked token)  = softmax(LN(gelu(W x_L + b)) token' + c)      the decoder is the embedding: stored once
p(B follows A)   = softmax(U tanh(W x_L[CLS] + b) + c)

Its kin are values of the configuration: RoBERTa (Liu et al. 2019) has no segments, no pairs and other positions;
ALBERT (Lan et al. 2020) has narrow embeddings and one layer used L times; SpanBERT (Joshi et al. 2020) predicts the
token at place i of a span also from what stands before and behind the span:

h = LN(gelu(W_1 [x_before; x_behind; place_i]))        p(token) = softmax(LN(gelu(W_2 h)) token' + c)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.bert_config import BertConfig
from lm.nn.attention import SelfAttention
from lm.nn.masks import Compiled, Mask, Padding, compile_mask


class Block(nn.Module):
    """One post-LN layer: attention, then the feed-forward, each added to its input and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads, config.dropout)
        self.ln_1 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.expand = nn.Linear(config.width, config.inner)
        self.contract = nn.Linear(config.inner, config.width)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)
        self.gelu = gelu(config)

    def forward(self, x: Tensor, mask: Compiled) -> Tensor:
        x = self.ln_1(x + self.attention(x, mask))
        return self.ln_2(x + self.dropout(self.contract(self.gelu(self.expand(x)))))


class Transform(nn.Module):
    """LN(gelu(W x + b)): what a head does before it multiplies with the embedding."""

    def __init__(self, inputs: int, outputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs, eps=config.norm_epsilon)
        self.gelu = gelu(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.gelu(self.dense(x)))


class PairHead(nn.Module):
    """The pooler on the first token, and two classes on it: 0, B is as it stands in the text; 1, it is not."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.pooler = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.classes = nn.Linear(config.width, 2)

    def pooled(self, hidden: Tensor) -> Tensor:
        """[batch, time, width] -> [batch, width]."""
        return torch.tanh(self.pooler(hidden[:, 0]))


class BoundaryHead(nn.Module):
    """SpanBERT's span boundary objective: a token of a span from the span's neighbours and its place in it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.place_embedding = nn.Embedding(config.boundary_positions, config.boundary_width)
        self.first = Transform(2 * config.width + config.boundary_width, config.width, config)
        self.second = Transform(config.width, config.token_width, config)
        self.bias = nn.Parameter(torch.zeros(config.vocab))

    def forward(self, before: Tensor, behind: Tensor, place: Tensor) -> Tensor:
        place = self.place_embedding(place.clamp(max=self.place_embedding.num_embeddings - 1))
        return self.second(self.first(torch.cat([before, behind, place], dim=-1)))


class Bert(nn.Module):
    """The encoder and its heads. `seed` decides the initial weights, and nothing else does."""

    def __init__(self, config: BertConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.token_width)
        self.position_embedding = nn.Embedding(config.context + config.position_offset, config.token_width)
        self.segment_embedding = nn.Embedding(config.segments, config.token_width)
        self.embedding_norm = nn.LayerNorm(config.token_width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)
        self.widen = None if config.embedding is None else nn.Linear(config.embedding, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(1 if config.shared_layers else config.layers))
        self.transform = Transform(config.width, config.token_width, config)
        self.bias = nn.Parameter(torch.zeros(config.vocab))
        self.pair_head = PairHead(config) if config.pair_head else None
        self.boundary_head = BoundaryHead(config) if config.boundary_head else None
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Normal with standard deviation .02, drawn again beyond two of them, for matrices; zero biases."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                # Drawn in fp32 on the CPU: the same weights whatever the device and the default dtype.
                drawn = torch.empty(module.weight.shape, dtype=torch.float32)
                module.weight.copy_(nn.init.trunc_normal_(drawn, 0.0, 0.02, -0.04, 0.04, generator=generator))
            if isinstance(module, nn.Linear):
                module.bias.zero_()

    def hidden_states(self, tokens: Tensor, segments: Tensor | None = None, mask: Mask | None = None) -> Tensor:
        """The last layer's states, [batch, time, width].

        `tokens`, `segments`: int64 [batch, time]; no segments: all 0. `mask`: what is hidden, such as `Padding` on
        either side. Raises ValueError beyond the context.
        """
        time = tokens.shape[1]
        if time > self.config.context:
            raise ValueError(f"{time} tokens do not fit the context of {self.config.context}")
        segment = self.segment_embedding.weight[0] if segments is None else self.segment_embedding(segments)
        x = self.token_embedding(tokens) + segment + self.position_embedding(self._positions(tokens, mask))
        x = self.dropout(self.embedding_norm(x))
        if self.widen is not None:
            x = self.widen(x)
        visible = compile_mask(mask, time, time, tokens.device)
        for layer in range(self.config.layers):
            x = self.blocks[0 if self.config.shared_layers else layer](x, visible)
        return x

    def _positions(self, tokens: Tensor, mask: Mask | None) -> Tensor:
        """Number of each position; RoBERTa numbers real tokens only and gives padding the number before the first."""
        offset = self.config.position_offset
        if offset and isinstance(mask, Padding):
            real = mask.real.to(tokens.device).long()
            return real.cumsum(1) * real + offset - 1
        return torch.arange(offset, offset + tokens.shape[1], device=tokens.device)

    def masked_logits(self, hidden: Tensor) -> Tensor:
        """Scores of the token at each position: [..., width] -> [..., vocab]. Give it the masked positions only: over
        a large vocabulary this head costs more than a small encoder."""
        return F.linear(self.transform(hidden), self.token_embedding.weight, self.bias)

    def pair_logits(self, hidden: Tensor) -> Tensor:
        """[batch, time, width] -> [batch, 2]; class 0: B is as it stands in the text. Raises ValueError without a
        pair head."""
        if self.pair_head is None:
            raise ValueError("this model has no head for pairs of sentences (model.pair_head: false)")
        return self.pair_head.classes(self.pair_head.dropout(self.pair_head.pooled(hidden)))

    def boundary_logits(self, before: Tensor, behind: Tensor, place: Tensor) -> Tensor:
        """Scores of tokens of spans, [..., vocab], from the states around the spans, [..., width], and the tokens'
        places in them, int64 [...]. Raises ValueError without a boundary head."""
        if self.boundary_head is None:
            raise ValueError("this model has no span boundary head (model.boundary_head: false)")
        found = self.boundary_head(before, behind, place)
        return F.linear(found, self.token_embedding.weight, self.boundary_head.bias)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, mask: Mask | None = None) -> Tensor:
        """Logits of every position, [batch, time, vocab]; arguments as in `hidden_states`."""
        return self.masked_logits(self.hidden_states(tokens, segments, mask))


def gelu(config: BertConfig) -> nn.GELU:
    """The activation that a configuration names."""
    return nn.GELU(approximate="tanh" if config.activation == "gelu_tanh" else "none")
