"""Which positions may look at which, as values: `Causal() & Document(ids) & Band(256) & Padding(real)`.

A mask says what is visible, not how it is computed: `compile_mask` turns one into what attention takes, and
where nothing but causality masks that is a flag and no tensor (the fast path of SDPA).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Mask(ABC):
    """Visibility of keys for queries. Two masks joined by `&` show what both show."""

    @abstractmethod
    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        """Boolean, broadcastable to [batch, heads, queries, keys], True where the query may look.

        The last query stands on the last key: with a cache there are more keys than queries.
        """

    def __and__(self, other: "Mask") -> "Mask":
        return Both(self, other)


@dataclass(frozen=True)
class Causal(Mask):
    """Position t sees positions <= t (the "staircase")."""

    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


@dataclass(frozen=True)
class Band(Mask):
    """Only positions less than `width` away: the locally banded half of GPT-3's attention (Child et al. 2019)."""

    width: int

    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        where = torch.arange(keys, device=device)
        return (where[keys - queries :, None] - where[None]).abs() < self.width


@dataclass(frozen=True, eq=False)
class Document(Mask):
    """Only positions of the same document; `ids`: int [batch, keys], equal within a document."""

    ids: Tensor

    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        ids = self.ids.to(device)
        return (ids[:, keys - queries :, None] == ids[:, None, :])[:, None]


@dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Only real positions; `real`: boolean [batch, keys], False for padding, on either side."""

    real: Tensor

    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        return self.real.to(device).bool()[:, None, None, :]


@dataclass(frozen=True, eq=False)
class Visible(Mask):
    """What a boolean tensor says, broadcastable to [batch, heads, queries, keys]."""

    tensor: Tensor

    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        return self.tensor.to(device)


@dataclass(frozen=True, eq=False)
class Both(Mask):
    """What two masks show."""

    left: Mask
    right: Mask

    def visible(self, queries: int, keys: int, device: torch.device) -> Tensor:
        return self.left.visible(queries, keys, device) & self.right.visible(queries, keys, device)


@dataclass(frozen=True)
class Compiled:
    """A mask for so many queries and keys. `tensor` None: causality alone if `causal`, else nothing, masks."""

    causal: bool
    tensor: Tensor | None


def compile_mask(mask: Mask | None, queries: int, keys: int, device: torch.device) -> Compiled:
    """What attention takes. A query that sees no key (padding) sees itself: its row would be NaN.

    Compile once per forward, not once per layer.
    """
    if mask is None or (mask == Causal() and queries == 1):
        return Compiled(False, None)
    if mask == Causal() and queries == keys:
        return Compiled(True, None)
    tensor = mask.visible(queries, keys, device)
    if isinstance(mask, Both | Padding | Document | Visible):
        itself = torch.eye(queries, keys, dtype=torch.bool, device=device)
        if keys > queries:
            itself = itself.roll(keys - queries, dims=1)
        tensor = tensor | (itself & ~tensor.any(-1, keepdim=True))
    return Compiled(False, tensor)
