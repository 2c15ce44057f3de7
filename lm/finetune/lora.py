"""Low-rank adaptation (Hu et al. 2022): W + alpha / r B A, of which only A [r, in] and B [out, r] learn.

The sum is made of the weights, not of the outputs: one product of r x in x out, small beside that with a batch of
tokens, and merging is to keep the sum. The paper's dropout on the adapter's input has no place in this. A is drawn from
N(0, 1 / in), B is 0, so that at first nothing is different.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lm.finetune.config import LoRAConfig, Matrix
from lm.finetune.heads import TaskModel

ATTENTION: tuple[Matrix, ...] = ("q", "k", "v")


class Place(NamedTuple):
    """A weight of a module; `parts`: which of its thirds (q, k, v) are adapted, none: all of it."""

    module: nn.Module
    name: str
    parts: tuple[int, ...]


class LowRank(nn.Module):
    """What is added to a weight. `parts` of a fused q, k, v have an A and a B each."""

    def __init__(self, weight: Tensor, parts: Sequence[int], config: LoRAConfig, generator: torch.Generator) -> None:
        super().__init__()
        rows, inputs = weight.numel() // weight.shape[-1], weight.shape[-1]
        self.parts = tuple(parts)
        count, outputs = (len(self.parts), rows // 3) if self.parts else (1, rows)
        self.scale = config.alpha / config.rank
        drawn = torch.empty(count, config.rank, inputs).normal_(0, inputs**-0.5, generator=generator)
        self.a = nn.Parameter(drawn.to(weight))
        self.b = nn.Parameter(weight.new_zeros(count, outputs, config.rank))

    def forward(self, weight: Tensor) -> Tensor:
        added = (self.b @ self.a) * self.scale
        if self.parts:
            whole = added.new_zeros(3, *added.shape[1:])
            whole = whole.index_copy(0, torch.tensor(self.parts, device=whole.device), added)
            return weight + whole.view(weight.shape)
        return weight + added.view(weight.shape)


def add_adapters(model: TaskModel, config: LoRAConfig, seed: int) -> None:
    """Freeze the backbone (but for the rows of new tokens, see `lm.finetune.freeze`) and put adapters on its matrices.

    Raises ValueError for a kind of model that has none of them.
    """
    for p in model.backbone.parameters():
        p.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    found = list(_places(model.backbone.model, config.matrices))
    if not found:
        raise ValueError(
            f"lora: a model of kind {model.backbone.settings.kind!r} has no matrices {', '.join(config.matrices)}"  # type: ignore[attr-defined]
        )
    for place in found:
        weight = getattr(place.module, place.name)
        parametrize.register_parametrization(
            place.module, place.name, LowRank(weight, place.parts, config, generator), unsafe=True
        )


def merge_adapters(model: nn.Module) -> None:
    """Put the sums in the weights' place; the model is then one without adapters."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _places(model: nn.Module, matrices: Sequence[Matrix]) -> Iterator[Place]:
    """The weights that are meant, from the bottom up."""
    parts = tuple(ATTENTION.index(name) for name in ATTENTION if name in matrices)
    for path, module in model.named_modules():
        last = path.rpartition(".")[2]
        if isinstance(module, nn.Linear):
            if last == "qkv" and parts:
                yield Place(module, "weight", parts)
            elif last in matrices and last != "qkv" and "head" not in path:
                yield Place(module, "weight", ())
        elif parts and isinstance(module._parameters.get("qkv"), nn.Parameter):
            yield Place(module, "qkv", parts)  # the modern decoder: a stack of matrices, q first
