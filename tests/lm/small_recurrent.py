"""Small recurrent stacks for tests."""

from typing import Any

import torch
from torch import Tensor

from lm.nn.recurrent import Recurrent


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stack(cell: str, inputs: int, widths: tuple[int, ...], bidirectional: bool, path: str, **more: Any) -> Recurrent:
    stack = Recurrent(cell, inputs, widths, bidirectional=bidirectional, path=path, **more)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, p in enumerate(stack.parameters()):
            p.copy_(noise(*p.shape, seed=number) / max(2.5, p.shape[-1] ** 0.5))
    return stack
