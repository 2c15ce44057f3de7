"""ELMo's mix of a model's layers, learned by the task that uses them (Peters et al. 2018, equation 1).

mix = γ Σ_j s_j h_j,   s = softmax(w)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ScalarMix(nn.Module):
    """One weight for each of `layers` layers and γ; with `layer_norm` each layer is first brought to mean 0 and
    variance 1 over its width. At the start all layers count the same."""

    def __init__(self, layers: int, layer_norm: bool = False) -> None:
        super().__init__()
        self.layer_norm = layer_norm
        self.w = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))

    @property
    def shares(self) -> Tensor:
        """s, [layers]: what each layer's share is; they sum to one."""
        return self.w.softmax(0)

    def forward(self, layers: Tensor | Sequence[Tensor]) -> Tensor:
        """[layers, ..., width], or so many tensors [..., width], to [..., width].

        Raises ValueError for another number of layers.
        """
        if len(layers) != len(self.w):
            raise ValueError(f"the mix has weights for {len(self.w)} layers, not for {len(layers)}")
        h = layers if isinstance(layers, Tensor) else torch.stack(tuple(layers))
        if self.layer_norm:
            h = nn.functional.layer_norm(h, h.shape[-1:])
        return self.gamma * torch.tensordot(self.shares, h, 1)
