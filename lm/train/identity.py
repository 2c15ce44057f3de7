"""What must be equal for a checkpoint to be of a run, by names that a message can say to a user."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm.config import GuardConfig, StrictModel, TrainConfig
from lm.order import Order
from lm.train.objective import Examples, Objective

log = logging.getLogger(__name__)

SHOWN = 6  # differences that a message names


class ResumeError(ValueError):
    """The checkpoint belongs to another run: other data, seed, batch or length."""


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


def run_identity(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    examples: Examples,
    order: Order,
    config: TrainConfig,
    steps: int,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What must be equal for a checkpoint to be of a run."""
    of_model = getattr(model, "config", None)
    named = {
        "data": examples.fingerprint,
        "objective": type(objective).__qualname__,
        "order": getattr(order, "__qualname__", type(order).__qualname__),
        "steps": steps,
        **train_identity(config),
        **({"model": of_model} if isinstance(of_model, StrictModel) else {}),
        **settings,
    }
    return flat(named) | trained_parameters(model, optimizer)


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


def environment(config: TrainConfig, processes: int) -> dict[str, Any]:
    """What must be equal for the bits to be equal; a difference is logged, not refused."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": config.device,
        "micro_batch": config.micro_batch,
        "processes": processes,
    }


def require_same_run(path: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ResumeError if the identity that the checkpoint at `path` notes is not that of the run."""
    if changed := differences(was, now):
        raise ResumeError(f"{path} is of another run ({listed(changed)}): use another directory")


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """What is taken up of a checkpoint within: what does not fit this run becomes a ResumeError that names it.

    Hashes say that a checkpoint is what was written, not that it is one of this model by this version.
    """
    try:
        yield
    except (ResumeError, torch.OutOfMemoryError, torch.AcceleratorError):  # a GPU's fault is none of the checkpoint's
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
        raise ResumeError(f"{path} does not fit this run: {said}: use another directory") from error


def warn_of_other_bits(was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Log what differs of two environments."""
    if changed := differences({name: value for name, value in was.items() if name in now}, now):
        log.warning("resuming where the last bits may differ: %s", listed(changed))


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, "NAME was X, is Y" each. What an older version did not note is not asked."""
    return [f"{name} was {was[name]!r}, is {now.get(name)!r}" for name in was if was[name] != now.get(name)]


def listed(differences: list[str]) -> str:
    """The first few of them."""
    more = len(differences) - SHOWN
    return "; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
