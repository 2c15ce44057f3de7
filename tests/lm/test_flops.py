"""Operations and parameters are those of the modules themselves."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lm.flops import Decoder, body_parameters, training_flops
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig

CASES: list[Decoder] = [
    GPTConfig(layers=3, width=48, heads=3, context=32, vocab=300),
    GPTConfig(layers=2, width=32, heads=2, head_width=24, context=16, vocab=64, norm="post"),
    ModernConfig(layers=3, width=48, heads=3, context=32, vocab=300),
    ModernConfig(layers=1, width=16, heads=1, context=8, vocab=64, tied=True),
]


def built(config: Decoder) -> torch.nn.Module:
    return GPT(config) if isinstance(config, GPTConfig) else Modern(config)


@pytest.mark.parametrize("config", CASES, ids=lambda config: f"{config.kind}-{config.layers}x{config.width}")
def test_the_body_is_all_but_embeddings_and_head(config: Decoder) -> None:
    outside = ("token_embedding", "position_embedding", "head", "wte", "embedding")
    inside = sum(p.numel() for name, p in built(config).named_parameters() if not name.startswith(outside))
    assert body_parameters(config) == inside


@pytest.mark.parametrize("config", CASES, ids=lambda config: f"{config.kind}-{config.layers}x{config.width}")
def test_the_operations_are_those_that_torch_counts_but_for_what_a_token_may_not_see(config: Decoder) -> None:
    model, context = built(config), config.context
    tokens = torch.zeros(1, context, dtype=torch.int64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(tokens)
    inner = config.inner_width() if isinstance(config, GPTConfig) else config.width
    attention = config.layers * 4 * context**2 * inner  # of all pairs; half of them are the future
    assert training_flops(config, context) == 3 * (counter.get_total_flops() - attention / 2)


def test_a_band_of_every_second_layer_costs_less() -> None:
    dense = GPTConfig(layers=4, width=32, heads=2, context=64, vocab=64)
    banded = dense.model_copy(update={"band": 8})
    assert training_flops(dense, 10) - training_flops(banded, 10) == 3 * 10 * 2 * 2 * (64 - 16) * 32
