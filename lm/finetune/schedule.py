"""How ULMFiT keeps what a pretrained model knows while it learns a task (Howard & Ruder 2018, sections 3.2 and 3.3).

Lower layers hold what is general and should move less, later: layers are listed from the bottom up, with the task's
head last (`layers`). The third of its means, the slanted triangle of learning rates, is `schedule.shape: stlr`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Layers = Sequence[Sequence[nn.Parameter]]
"""The parameters of each layer, from the bottom up."""

FACTOR = 2.6


def layer_scales(count: int, factor: float = FACTOR) -> list[float]:
    """Discriminative rates: of each layer as a fraction of the top one's, from the bottom: factor ** -(depth)."""
    return [factor ** (depth - (count - 1)) for depth in range(count)]


def discriminative_groups(layers: Layers, weight_decay: float, factor: float = FACTOR) -> list[dict[str, Any]]:
    """Parameter groups for the trainer's `groups`, two for each layer at most (matrices decay, vectors do not); `scale`
    is what it multiplies the learning rate by.

    Raises ValueError if a parameter is in two layers: it would be updated twice.
    """
    seen: set[int] = set()
    for p in (p for layer in layers for p in layer):
        if id(p) in seen:
            raise ValueError(
                f"a parameter of shape {tuple(p.shape)} is in two layers (a tied head?): name it in the lower one only"
            )
        seen.add(id(p))
    groups: list[dict[str, Any]] = []
    for layer, scale in zip(layers, layer_scales(len(layers), factor), strict=True):
        trainable = [p for p in layer if p.requires_grad]
        groups += [
            {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": weight_decay, "scale": scale},
            {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0, "scale": scale},
        ]
    return [group for group in groups if group["params"]]


@dataclass(frozen=True)
class GradualUnfreezing:
    """The top layer trains alone, then with each further `every` steps one more from the top, until all do.

    A function of the step alone, so that a resumed run goes on alike: `trains(step)` says which layers; calling it
    before step `step` freezes and unfreezes them, and returns 1.0, so that it serves as the trainer's `rate_scale`.
    """

    layers: Layers
    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(
                f"one more layer every {self.every} steps is no schedule: give at least 1 (an epoch's steps)"
            )

    def trains(self, step: int) -> list[bool]:
        """Whether each layer trains at update `step` (0, 1, ...), from the bottom."""
        awake = min(len(self.layers), 1 + step // self.every)
        return [depth >= len(self.layers) - awake for depth in range(len(self.layers))]

    def __call__(self, step: int) -> float:
        for layer, awake in zip(self.layers, self.trains(step), strict=True):
            for p in layer:
                p.requires_grad_(awake)
        return 1.0


def concat_pooling(states: Tensor, real: Tensor | None = None) -> Tensor:
    """[h_T, max_t h_t, mean_t h_t] over the real positions: [batch, time, width] -> [batch, 3 width].

    One word may decide what a text is about, wherever it stands. `real`: bool [batch, time], False for padding, on
    either side; None: all are. Raises ValueError for a row without any.
    """
    if real is None:
        real = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    if not bool(real.any(1).all()):
        raise ValueError("a row has no real position to pool over")
    place = torch.arange(real.shape[1], device=states.device)
    last = states[torch.arange(len(states)), torch.where(real, place, -1).max(1).values]
    largest = states.masked_fill(~real[..., None], -torch.inf).max(1).values
    mean = (states * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    return torch.cat([last, largest, mean], 1)
