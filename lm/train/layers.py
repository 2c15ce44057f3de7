"""The layers of a model that are alike and called one after the other: what FSDP2 shards and torch.compile compiles."""

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

    Only the layers: what surrounds them is little. Raises ValueError for a model that is no stack of layers.
    """
    layers = stacked_layers(model)
    if not layers:
        raise ValueError(
            f"compile: {type(model).__name__} is no stack of equal layers that could be compiled: leave it out"
        )
    for layer in layers:
        layer.compile(backend=backend)
