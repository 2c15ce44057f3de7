"""In which precision a softmax is taken."""

import torch
from torch import Tensor


def full_precision(scores: Tensor) -> Tensor:
    """At least fp32, whatever autocast made of them; fp64 stays."""
    return scores if scores.dtype == torch.float64 else scores.float()
