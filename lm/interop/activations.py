"""Where two models that should be the same part: the output of every module that a weight map names, side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Difference(NamedTuple):
    """One module under both names, and how far its outputs are apart, at most and relative to the largest."""

    ours: str
    theirs: str
    largest: float
    relative: float


def module_pairs(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The modules that own the parameters of a weight map, (ours, theirs), each once.

    `rows`: names of parameters, such as (`row.ours`, PREFIX + `row.theirs`) for `lm.interop.gpt2.weight_rows`.
    """
    owners = ((ours.rpartition(".")[0], theirs.rpartition(".")[0]) for ours, theirs in rows)
    return list(dict.fromkeys(owners))


def activation_differences(
    ours: nn.Module,
    theirs: nn.Module,
    rows: Sequence[tuple[str, str]],
    run_ours: Callable[[], object],
    run_theirs: Callable[[], object],
) -> list[Difference]:
    """Run both and compare what each module gives, in the order in which ours run.

    Raises ValueError if a module does not run in both, or gives another shape.
    """
    pairs = module_pairs(rows)
    with (
        torch.no_grad(),
        recorded(ours, [a for a, _ in pairs]) as mine,
        recorded(theirs, [b for _, b in pairs]) as other,
    ):
        run_ours()
        run_theirs()
    names = dict(pairs)
    if missing := [a for a, b in pairs if a not in mine or b not in other]:
        raise ValueError(f"{missing[0]} / {names[missing[0]]}: did not run in both models")
    return [_difference(a, names[a], mine[a], other[names[a]]) for a in mine]


def _difference(name: str, theirs: str, a: Tensor, b: Tensor) -> Difference:
    a, b = a.squeeze(0).double(), b.squeeze(0).double()  # positions may have a batch of one, or none
    if a.shape != b.shape:
        raise ValueError(f"{name} gives {tuple(a.shape)}, {theirs} gives {tuple(b.shape)}")
    largest = float((a - b).abs().max())
    return Difference(name, theirs, largest, largest / max(float(b.abs().max()), 1e-30))


@contextmanager
def recorded(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Inside, each named module's last output is kept under its name, in the order in which they run."""
    outputs: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(_module: object, _inputs: object, output: Tensor) -> None:
            outputs[name] = output.detach()

        return keep

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
