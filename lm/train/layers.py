"""The layers of a model that are alike and called one after the other: what FSDP2 shards and torch.compile compiles."""

import torch
from torch import nn

STACKS = ("blocks", "layers")


def stacked_layers(model: nn.Module) -> list[nn.Module]:
    """The modules of `model.blocks` or `model.layers`; none for a model that is no stack."""
    for name in STACKS:
        if isinstance(stack := getattr(model, name, None), nn.ModuleList):
            return list(stack)
    return []


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Have torch.compile compile each layer at its first call; equal layers share what is compiled.

    Only the layers, whose surroundings are little, and of them `forward` alone: what FSDP2 does around a layer stays
    outside. Raises ValueError for a model that is no stack of layers.
    """
    layers = stacked_layers(model)
    if not layers:
        raise ValueError(
            f"compile: {type(model).__name__} is no stack of equal layers that could be compiled: leave it out"
        )
    for layer in layers:
        layer.forward = torch.compile(layer.forward, backend=backend)


def uncompile_layers(model: nn.Module) -> None:
    """Undo it, in a copy of a model, whose compiled layers would else be those of the original."""
    for layer in stacked_layers(model):
        layer.__dict__.pop("forward", None)
