"""What must be equal for a checkpoint to be of a run, by names that a message can say to a user."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lm.config import GuardConfig, StrictModel, TrainConfig

SHOWN = 6  # differences that a message names


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, as JSON gives them back: {"stream": {"bptt": 8}} -> {"stream.bptt": 8}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, StrictModel):
            value = value.model_dump(mode="json")
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = json.loads(json.dumps(value))
    return found


def train_identity(config: TrainConfig) -> dict[str, Any]:
    """Of a training's settings those that decide the weights, and not only how it is run, watched and saved."""
    named = {"optimizer": config.optimizer, "schedule": config.schedule}
    names = ["seed", "batch", "clip", "precision", "select"]
    if config.select == "best" or config.optimizer.average_after is not None:  # evaluations decide
        names += ["eval_interval", "eval_sequences"]
    guard = {} if config.guard == GuardConfig() else {"guard": config.guard}
    return {**{name: getattr(config, name) for name in names}, **named, **guard}


def trained_parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """For each trained parameter how its group differs from the optimiser's defaults: its rate ("scale"), its decay."""
    defaults = {"scale": 1.0, "clip": True, **optimizer.defaults}
    options: dict[nn.Parameter, str] = {}
    for group in optimizer.param_groups:
        own = {k: v for k, v in group.items() if k not in ("params", "lr") and v != defaults.get(k)}
        options |= dict.fromkeys(group["params"], json.dumps(own, sort_keys=True))
    return {f"training of {name}": json.loads(options[p]) for name, p in model.named_parameters() if p in options}


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, "NAME was X, is Y" each. What an older version did not note is not asked."""
    return [f"{name} was {was[name]!r}, is {now.get(name)!r}" for name in was if was[name] != now.get(name)]


def listed(differences: list[str]) -> str:
    """The first few of them."""
    more = len(differences) - SHOWN
    return "; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
