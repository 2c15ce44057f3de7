"""AdamW with weight decay on matrices only; or plain SGD (`lm.train.averaging` has its averages)."""

import torch
from torch import nn

from lm.config import OptimizerConfig
from lm.train.averaging import AveragedSGD


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices and embeddings decay; biases and layer norms do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW over `parameter_groups`, or SGD over all. The trainer sets the learning rate of each group at each step,
    times the group's optional `scale` (for lower rates in lower layers)."""
    if config.learning_rate == "auto":
        raise ValueError("resolve the configuration first: learning_rate is still 'auto'")
    if config.method == "sgd":
        trainable = [p for p in model.parameters() if p.requires_grad]
        return AveragedSGD(trainable, config.learning_rate, config.weight_decay, config.average_after)
    return torch.optim.AdamW(
        parameter_groups(model, config.weight_decay),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as flat names: `<parameter>/<moment>`."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{names[id(p)]}/{moment}": value.detach()
        for p, state in optimizer.state.items()
        for moment, value in state.items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave, on the devices of the model's parameters."""
    index: dict[int, int] = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            index[id(p)] = len(index)
    positions = {name: index[id(p)] for name, p in model.named_parameters() if id(p) in index}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, moment = key.rpartition("/")
        if name not in positions:
            raise ValueError(f"the checkpoint holds optimiser state for {name!r}, which the model does not train")
        state.setdefault(positions[name], {})[moment] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
