"""A small XLNet for tests."""

from typing import Any

import torch
from torch import Tensor

from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig

SMALL = XLNetConfig(layers=2, width=12, heads=3, inner=20, vocab=17, context=16)


def changed(**fields: Any) -> XLNetConfig:
    return XLNetConfig.model_validate({**SMALL.model_dump(), **fields})


def sharp(config: XLNetConfig, seed: int = 1) -> XLNet:
    """A model in fp64 whose attention and distributions are far from uniform."""
    model = XLNet(config, seed).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)), dtype=p.dtype) * 0.4)
    return model


def tokens(batch: int, time: int, vocab: int = 17, seed: int = 0) -> Tensor:
    return torch.randint(0, vocab, (batch, time), generator=torch.Generator().manual_seed(seed))
