"""Rotary positions (Su et al. 2021, RoFormer, section 3.4.2): a position turns queries and keys by an angle.

A head's numbers i and i + d/2 are a point in the plane, turned by position * base^(-2i/d). The product of a query and a
key then depends on how far apart they stand and not on where: (R_m q)'(R_n k) = q' R_{n-m} k.
"""

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, each [..., time, 1, head_width]."""


def rotation_table(positions: int, head_width: int, base: float) -> Tensor:
    """Cosines and signed sines of positions 0 .. positions - 1, fp32 [2, positions, 1, head_width].

    Raises ValueError for an odd width.
    """
    if head_width % 2:
        raise ValueError(f"rotary positions turn pairs of numbers: the head width {head_width} is odd")
    frequency = base ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle = torch.outer(torch.arange(positions, dtype=torch.float64), frequency)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.cat([cos, cos], 1), torch.cat([-sin, sin], 1)])[:, :, None].float()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries or keys [..., time, heads, head_width] by the angles of their positions."""
    cos, sin = rotation
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
