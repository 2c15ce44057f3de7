"""Small decoders for tests: each of the GPTs, and the modern one."""

import torch

from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig

SIZE = {"layers": 3, "width": 24, "heads": 3, "context": 40, "vocab": 30}
DECODERS: dict[str, GPTConfig | ModernConfig] = {
    "gpt1": GPTConfig(**SIZE, norm="post"),
    "gpt2": GPTConfig(**SIZE),
    "gpt3": GPTConfig(**SIZE, band=4),
    "modern": ModernConfig(**SIZE),
}


def jittered(config: GPTConfig | ModernConfig, seed: int = 1) -> GPT | Modern:
    """A model in which nothing is zero, in fp64."""
    model = GPT(config, seed) if isinstance(config, GPTConfig) else Modern(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model.double().eval()
