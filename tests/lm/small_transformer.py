"""Small Transformers for tests, in fp64."""

import torch

from lm.models.transformer import Transformer
from lm.models.transformer_config import TransformerConfig

SHAPES = [
    {"layers": 1, "width": 8, "heads": 1, "feed_forward": 16},
    {"layers": 2, "width": 12, "heads": 3, "feed_forward": 20},
    {"layers": 3, "width": 16, "heads": 4, "feed_forward": 7},
    {"layers": 2, "width": 10, "heads": 5, "feed_forward": 32},
    {"layers": 1, "width": 24, "heads": 2, "feed_forward": 24},
]


def sharp(seed: int = 0, dtype: torch.dtype = torch.float64, **fields: object) -> Transformer:
    """A model whose distributions are not nearly uniform, with biases."""
    given = {"shared_embedding": False, "source_vocab": 11, "target_vocab": 13, "norm_epsilon": 1e-5, **fields}
    model = Transformer(TransformerConfig(**given), seed).to(dtype).eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.empty(p.shape).normal_(0, 0.1, generator=generator))
    return model


def drawn(batch: int = 3, source: int = 7, target: int = 5) -> tuple[torch.Tensor, ...]:
    """Sources, their lengths, targets."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 11, (batch, source), generator=generator)
    return x, torch.tensor([source, 3, 5][:batch]), torch.randint(0, 13, (batch, target), generator=generator)
