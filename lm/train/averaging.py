"""SGD that averages its weights once evaluations stop improving: NT-ASGD (Merity et al. 2017, algorithm 1).

Late in training SGD wanders around a minimum; the mean of where it has been lies closer (Polyak & Juditsky 1992). The
average begins when an evaluation is worse than the best of all but the last n before it, and is used for evaluating,
for samples and as the result, while training goes on from the weights themselves.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

AVERAGE, COUNT = "average", "count"


def non_monotone(values: Sequence[float], interval: int) -> bool:
    """Whether the last of `values` (smaller is better) is worse than the best of those more than `interval` before it.

    Merity et al.: v > min(logs[: t - n]), logs being the t values before v.
    """
    earlier = values[: max(0, len(values) - 1 - interval)]
    return bool(earlier) and values[-1] > min(earlier)


class AveragedSGD(torch.optim.Optimizer):
    """w <- w - lr (gradient + weight_decay w); from some evaluation on also the mean of all w since (`observe`)."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0, average_after: int | None = None) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.average_after = average_after

    @torch.no_grad()
    def observe(self, value: float, earlier: list[float]) -> None:
        """Take note of an evaluation by appending it to `earlier`, and begin to average if it is time to."""
        if self.average_after is None or self.state:
            return
        earlier.append(value)
        if not non_monotone(earlier, self.average_after):
            return
        log.info("averaging the weights from evaluation %d on", len(earlier))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {AVERAGE: p.detach().clone(), COUNT: torch.zeros(())}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; the average w̄ <- w̄ + (w - w̄) / count."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(p.grad, alpha=-group["lr"])
                if state := self.state.get(p):
                    state[COUNT] += 1
                    state[AVERAGE].add_((p - state[AVERAGE]) / float(state[COUNT]))


@contextmanager
def averaged_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, the optimiser's parameters are their averages, if it has any."""
    kept = [(p, p.detach().clone()) for p, state in optimizer.state.items() if AVERAGE in state]
    with torch.no_grad():
        for p, _ in kept:
            p.copy_(optimizer.state[p][AVERAGE])
    try:
        yield
    finally:
        with torch.no_grad():
            for p, weights in kept:
                p.copy_(weights)


@torch.no_grad()
def put_averages(model: nn.Module, optimizer_tensors: Mapping[str, Tensor]) -> None:
    """Replace the model's parameters by their averages among a checkpoint's optimiser tensors, if there are any."""
    for name, p in model.named_parameters():
        if (average := optimizer_tensors.get(f"{name}/{AVERAGE}")) is not None:
            p.copy_(average)
