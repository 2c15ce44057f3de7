"""AdamW with weight decay on matrices only; plain SGD (`lm.train.averaging` has its averages); or Muon with AdamW."""

from typing import Any, Literal

import torch
from torch import nn

from lm.config import OptimizerConfig
from lm.train.averaging import AveragedSGD
from lm.train.muon import Muon


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices and embeddings decay; biases and layer norms do not."""
    return _decay_groups([p for p in model.parameters() if p.requires_grad], _biases(model), weight_decay)


def _decay_groups(
    params: list[nn.Parameter], biases: set[nn.Parameter], weight_decay: float
) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = [
        {"params": [p for p in params if p not in biases], "weight_decay": weight_decay},
        {"params": [p for p in params if p in biases], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def _biases(model: nn.Module) -> set[nn.Parameter]:
    """Vectors, and what a module's `biases` names: a bias for each head has more dimensions."""
    return {p for p in model.parameters() if p.dim() < 2} | _named(model, "biases")


def _named(model: nn.Module, attribute: str) -> set[nn.Parameter]:
    """The parameters that a module of the model names in `attribute`, a tuple."""
    return {
        p
        for module in model.modules()
        if (names := getattr(module, attribute, ()))
        for name, p in module.named_parameters()
        if name in names
    }


def muon_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, object]]:
    """The matrices, for Muon, and the rest in the two groups of AdamW.

    No matrices in this sense: embeddings, what is named `head` and what a module's `tables` names, where a token's row
    is a vector of its own; biases (`_biases`); filters, which are no stack of matrices although they have its shape.
    """
    biases, kinds = _biases(model), (nn.Embedding, nn.Conv1d)
    others = {p for module in model.modules() if isinstance(module, kinds) for p in module.parameters()}
    others |= {p for name, p in model.named_parameters() if name.split(".")[0] == "head"}
    others |= biases | _named(model, "tables")
    trainable = [p for p in model.parameters() if p.requires_grad]
    rest = [p for p in trainable if p in others]
    matrices = {
        "params": [p for p in trainable if p not in others],
        "muon": True,
        "clip": False,  # the size of its gradient does not matter
        "scale": config.muon_rate / float(config.learning_rate),
        "weight_decay": config.weight_decay,
    }
    if not matrices["params"]:
        raise ValueError("optimizer.method muon: the model has no matrices but embeddings and a head; use adamw")
    return [matrices, *_decay_groups(rest, biases, config.weight_decay)]


def make_optimizer(
    model: nn.Module,
    config: OptimizerConfig,
    precision: Literal["fp32", "bf16"] = "fp32",
    groups: list[dict[str, Any]] | None = None,
) -> torch.optim.Optimizer:
    """AdamW over `parameter_groups`, SGD over all, or Muon over `muon_groups`, whose products are in `precision`; AdamW
    and SGD over `groups` if given. The trainer sets the learning rate of each group at each step, times the group's
    optional `scale` (for lower rates in lower layers).

    Raises ValueError for an unresolved learning rate, and for `groups` with Muon.
    """
    if config.learning_rate == "auto":
        raise ValueError("resolve the configuration first: learning_rate is still 'auto'")
    if config.method == "sgd":
        trainable = [p for p in model.parameters() if p.requires_grad]
        params = trainable if groups is None else groups
        return AveragedSGD(params, config.learning_rate, config.weight_decay, config.average_after)
    betas = (config.beta1, config.beta2)
    if config.method == "muon":
        if groups is not None:
            raise ValueError("optimizer.method muon makes its own parameter groups: use adamw or sgd with groups")
        matrices_and_rest = muon_groups(model, config)
        return Muon(
            matrices_and_rest, config.learning_rate, config.muon_momentum, betas, config.epsilon, precision=precision
        )
    return torch.optim.AdamW(
        parameter_groups(model, config.weight_decay) if groups is None else groups,
        lr=config.learning_rate,
        betas=betas,
        eps=config.epsilon,
        fused=True,
    )


def clip_gradients(model: nn.Module, optimizer: torch.optim.Optimizer, limit: float) -> float:
    """Scale gradients down so that their norm is at most `limit` (0: leave them); returns the norm of all before that.

    Groups with `clip: False` are left alone and do not count against the limit.
    """
    alone = [p for group in optimizer.param_groups if not group.get("clip", True) for p in group["params"]]
    left = set(alone)
    clipped = [p for p in model.parameters() if p not in left]
    norm = nn.utils.clip_grad_norm_(clipped, limit or float("inf"))
    if alone:
        norm = torch.hypot(norm, nn.utils.get_total_norm([p.grad for p in alone if p.grad is not None]))
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # under FSDP2 each rank has a part


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
