"""Small BERTs for tests."""

import random
from typing import Any

import torch

from lm.models.bert import Bert
from lm.models.bert_config import BertConfig

KIN: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"segments": 1, "position_offset": 2, "pair_head": False, "norm_epsilon": 1e-5},
    "albert": {"shared_layers": True, "activation": "gelu_tanh"},
}
PAD = {"bert": 0, "roberta": 1, "albert": 0}


def random_config(kind: str, seed: int) -> BertConfig:
    draw = random.Random(f"{kind} {seed}")
    heads = draw.randint(1, 4)
    return BertConfig(
        layers=draw.randint(1, 3),
        heads=heads,
        width=heads * draw.randint(3, 9),
        feed_forward=draw.choice([None, draw.randint(3, 50)]),
        context=draw.randint(4, 23),
        vocab=draw.randint(6, 120),
        dropout=0.0,
        **(KIN[kind] | ({"embedding": draw.randint(3, 20)} if kind == "albert" else {})),
    )


def jittered(config: BertConfig, seed: int = 1) -> Bert:
    """A model whose biases and layer norms are not the trivial ones of initialisation."""
    model = Bert(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model.eval()
