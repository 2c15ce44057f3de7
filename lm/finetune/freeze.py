"""What of a task's model learns: all of it, its upper layers, low-rank adapters, or the head alone."""

from typing import Any

from torch import Tensor, nn

from lm.finetune.config import FinetuneConfig
from lm.finetune.heads import TaskModel
from lm.finetune.lora import add_adapters
from lm.finetune.schedule import GradualUnfreezing, discriminative_groups
from lm.train.optim import parameter_groups


def prepare(model: TaskModel, config: FinetuneConfig, new_rows: int, seed: int) -> None:
    """Freeze what is not to learn, and say in `model.constant` which tensors stay as they are.

    Args:
        new_rows: rows at the end of the embedding that are new; they learn unless the whole backbone is frozen.
        seed: of adapters.

    Raises ValueError for more layers than there are.
    """
    if config.lora is not None:
        add_adapters(model, config.lora, seed)
    layers = model.backbone.layers()
    if config.freeze == "all" or model.backbone.kind.features:
        model.probe = True
        for p in model.backbone.parameters():
            p.requires_grad_(False)
    elif config.freeze:
        if config.freeze >= len(layers):
            raise ValueError(
                f"freeze is {config.freeze}, but the model has {len(layers) - 1} layers; `all` freezes every one"
            )
        for p in (p for layer in layers[: config.freeze + 1] for p in layer):
            p.requires_grad_(False)
    if new_rows and config.freeze != "all":
        for module in model.backbone.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings == model.backbone.vocab:
                _only_rows(module.weight, module.num_embeddings - new_rows)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    model.constant = frozenset(name for name in model.state_dict() if name not in learning)


def _only_rows(weight: Tensor, first: int) -> None:
    """Let the rows from `first` on learn where a weight is frozen."""
    if weight.requires_grad:
        return
    weight.requires_grad_(True)
    weight.register_hook(lambda gradient: _without(gradient, first))
    weight.rows_from = first  # type: ignore[attr-defined]


def _without(gradient: Tensor, first: int) -> Tensor:
    masked = gradient.clone()
    masked[:first] = 0
    return masked


def task_layers(model: TaskModel) -> list[list[nn.Parameter]]:
    """The layers that learn, from the bottom up, the head last."""
    layers = [[p for p in layer if p.requires_grad] for layer in model.backbone.layers()]
    return [layer for layer in [*layers, [*model.head.parameters()]] if layer]


def task_groups(model: TaskModel, config: FinetuneConfig) -> list[dict[str, Any]]:
    """The optimiser's parameter groups. Weights of which only some rows learn do not decay: the others would."""
    partial = [p for p in model.parameters() if hasattr(p, "rows_from")]
    if config.layer_factor is not None:
        layers = [[p for p in layer if not hasattr(p, "rows_from")] for layer in task_layers(model)]
        groups = discriminative_groups(layers, config.weight_decay, config.layer_factor)
    else:
        left = {id(p) for p in partial}
        groups = [
            {**group, "params": [p for p in group["params"] if id(p) not in left]}  # type: ignore[attr-defined]
            for group in parameter_groups(model, config.weight_decay)
        ]
    groups += [{"params": partial, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def unfreezing(model: TaskModel, config: FinetuneConfig, steps_per_epoch: float) -> GradualUnfreezing | None:
    """ULMFiT's, where it is asked for."""
    if config.unfreeze_epochs is None:
        return None
    return GradualUnfreezing(task_layers(model), max(1, round(config.unfreeze_epochs * steps_per_epoch)))


def learning_count(model: nn.Module) -> int:
    """How many numbers learn."""
    return sum(p[getattr(p, "rows_from", 0) :].numel() if p.dim() else 1 for p in model.parameters() if p.requires_grad)
