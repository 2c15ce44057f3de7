"""How fast a training goes: tokens per second and, on a GPU, its memory and how much of its arithmetic is used."""

import torch
from torch import nn

from lm.flops import training_flops
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig

PEAK_FLOPS = {
    # Dense bf16 products with fp32 sums, from NVIDIA's data sheets; the first name that a device's name holds counts.
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
    "L4": 121e12,
    "V100": 125e12,  # fp16
    "T4": 65e12,  # fp16
}
"""Operations per second of a GPU."""


def peak_flops(name: str) -> float | None:
    """What a GPU of that name can do per second; None for one that is not listed."""
    return next((peak for known, peak in PEAK_FLOPS.items() if known in name), None)


def speed_figures(tokens: int, seconds: float, model: nn.Module, device: torch.device, ranks: int) -> dict[str, float]:
    """Of so many tokens, read by all ranks together: `tokens_per_second`; on a GPU `gpu_memory_gib`, the most that this
    rank's tensors took so far, and `mfu` (Chowdhery et al. 2022, appendix B: the operations that the model needs over
    those that the GPUs could have done in bf16) where both are known."""
    rate = tokens / seconds
    figures = {"tokens_per_second": rate}
    if device.type != "cuda":
        return figures
    figures["gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    config = getattr(model, "config", None)
    peak = peak_flops(torch.cuda.get_device_name(device))
    if peak is not None and isinstance(config, GPTConfig | ModernConfig):
        figures["mfu"] = training_flops(config, 1) * rate / (peak * ranks)
    return figures
