"""Positions as vectors that are added to the tokens' (Vaswani et al. 2017, section 3.5)."""

import math

import torch
from torch import Tensor

LONGEST = 10_000.0


def sinusoidal(length: int, width: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/width)), PE(pos, 2i+1) = cos(the same): fp64 [length, width].

    Each pair of columns is a hand that turns by one angle per position, so that PE(pos + k) is PE(pos) turned by an
    angle which depends on k alone. Raises ValueError for an odd width.
    """
    if width % 2:
        raise ValueError(f"width {width} is odd: positions are pairs of a sine and a cosine")
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequencies(width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def frequencies(width: int) -> Tensor:
    """Radians per position of each pair of columns, fp64 [width / 2]: a geometric series from 1 to about 1/10000."""
    return torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(LONGEST) / width))
