"""The memory of a Transformer that goes on: of each layer, the states that it read last (Dai et al. 2019)."""

import torch
from torch import Tensor

READ = "read"
"""The state that says how many tokens of the memory are there, int64 [batch]; the rest is hidden."""


def new_memory(layers: int, batch: int, room: int, like: Tensor) -> dict[str, Tensor]:
    """Of `batch` rows that have read nothing: {"read": int64 [batch], "0": [batch, room, width], ...}.

    A memory for each layer, whose last `read` positions count. `like`: a tensor of that width, dtype and device.
    """
    memory = {str(n): like.new_zeros(batch, room, like.shape[-1]) for n in range(layers)}
    return {READ: torch.zeros(batch, dtype=torch.int64, device=like.device), **memory}


def remember(memory: Tensor, x: Tensor) -> Tensor:
    """The last positions of what was there, [batch, room, width], and what came, [batch, time, width]; without
    gradient."""
    room = memory.shape[1]
    return torch.cat([memory, x.detach().to(memory.dtype)], 1)[:, -room:] if room else memory
