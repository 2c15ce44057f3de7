"""An ONNX graph before it is one: a module, what goes in, what comes out, which sizes are free."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

GRAPH = "model.onnx"
BATCH, TIME, SOURCE = "batch", "time", "source_time"
LONGEST = 1024
"""Tokens of either side of a translation; a graph's table of positions ends somewhere."""
Sizes = dict[str, int]


@dataclass(frozen=True)
class Input:
    """An input of a graph. shape: of each axis its size, or the name of a free one; `below`: of int64, the values."""

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype = torch.int64
    below: int | str = 0
    is_state: bool = False

    def draw(self, sizes: Sizes, generator: torch.Generator) -> Tensor:
        """Values at random; a `below` that names an axis stands for lengths from 1 to its size."""
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in self.shape]
        if self.dtype == torch.float32:
            return torch.randn(shape, generator=generator)
        if self.dtype == torch.bool:
            return torch.arange(shape[1]) < torch.randint(1, shape[1] + 1, (shape[0], 1), generator=generator)
        if isinstance(self.below, str):
            return torch.randint(1, sizes[self.below] + 1, shape, generator=generator)
        return torch.randint(0, self.below, shape, generator=generator)


@dataclass(frozen=True)
class Graph:
    """A module with tensors in and out, in eval mode. longest: of the free axes that have a largest size, that one."""

    file: str
    module: nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    longest: Sizes

    def draw(self, sizes: Sizes, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Inputs at random for sizes of the free axes."""
        return tuple(each.draw(sizes, generator) for each in self.inputs)
