"""A word's vector from its characters: convolutions, maximum, highways, projection (Kim et al. 2016; ELMo).

e = (E[c_1], ..., E[c_k])                    the characters' vectors
f = relu(max_t (filter * e)_t)               for each filter, the place of the word that it fits best
g = σ(W_g f + b_g),  f' = g ⊙ relu(W_t f + b_t) + (1 - g) ⊙ f        a highway (Srivastava et al. 2015)
word = P f' + p

Any string has a vector, seen before or not, and words that share parts share features. Layers as in allenai/bilm-tf
`bilm/training.py`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.characters import PADDING
from lm.models.elmo_config import CHARACTERS

HIGHWAY_BIAS = -2.0
"""Of the gate at the start: at first a word's features pass a highway as they are (Srivastava et al. 2015)."""


class Highway(nn.Module):
    """One highway layer over `width` features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, width)
        self.transform = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * torch.relu(self.transform(x)) + (1 - gate) * x


class CharacterCNN(nn.Module):
    """Rows of characters, int [words, length] (`lm.characters`), to vectors [words, width]."""

    def __init__(self, character_width: int, filters: Sequence[tuple[int, int]], highways: int, width: int) -> None:
        super().__init__()
        self.widest = max(size for size, _ in filters)
        features = sum(count for _, count in filters)
        self.embedding = nn.Embedding(CHARACTERS, character_width, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(character_width, count, size) for size, count in filters)
        self.highways = nn.ModuleList(Highway(features) for _ in range(highways))
        self.projection = nn.Linear(features, width)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """As bilm-tf: characters in ±1, filters in ±0.05, the rest N(0, 1/inputs), biases zero but the highways'."""

        def uniform(weight: Tensor, span: float) -> None:
            weight.copy_(torch.empty(weight.shape, dtype=torch.float32).uniform_(-span, span, generator=generator))

        def normal(linear: nn.Linear) -> None:
            drawn = torch.empty(linear.weight.shape, dtype=torch.float32)
            linear.weight.copy_(drawn.normal_(0, 1 / math.sqrt(linear.in_features), generator=generator))
            linear.bias.zero_()

        uniform(self.embedding.weight, 1.0)
        self.embedding.weight[0].zero_()
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            assert convolution.bias is not None
            uniform(convolution.weight, 0.05)
            convolution.bias.zero_()
        for highway in self.highways:
            assert isinstance(highway, Highway)
            normal(highway.gate)
            normal(highway.transform)
            highway.gate.bias.fill_(HIGHWAY_BIAS)
        normal(self.projection)

    def forward(self, characters: Tensor) -> Tensor:
        e = self.embedding(self._trimmed(characters).long()).transpose(1, 2)
        f = torch.cat([torch.relu(convolution(e).amax(-1)) for convolution in self.convolutions], -1)
        for highway in self.highways:
            f = highway(f)
        found: Tensor = F.linear(f, self.projection.weight, self.projection.bias)
        return found

    def _trimmed(self, characters: Tensor) -> Tensor:
        """Without the columns in which every row is padding, but for those that the widest filter needs to lie on
        padding alone once: further places would give the same, and not move the maximum."""
        used = int((characters != PADDING).any(0).sum())
        return characters[:, : used + self.widest]
