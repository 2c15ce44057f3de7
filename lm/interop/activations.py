"""Where two models that should be the same part: the output of every module that a weight map names, side by side."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

Rows = Sequence[tuple[str, str | tuple[str, ...]]]
"""Names of parameters, ours and theirs; several of theirs where ours has them one below the other."""


class Difference(NamedTuple):
    """One module under both names, and how far its outputs are apart, at most and relative to the largest."""

    ours: str
    theirs: str
    largest: float
    relative: float


def module_pairs(rows: Rows) -> list[tuple[str, tuple[str, ...]]]:
    """The modules that own the parameters of a weight map, ours and theirs, each once.

    `rows`: such as (`row.ours`, PREFIX + `row.theirs`) for `lm.interop.gpt2.weight_rows`. Where one of ours is several
    of theirs (query, key and value), these go together. A module whose parts belong to different modules there, such as
    XLNet's attention, has no output to compare and is left out: the next one shows what it gave.
    """
    pairs: dict[tuple[str, tuple[str, ...]], None] = {}
    for ours, theirs in rows:
        names = (theirs,) if isinstance(theirs, str) else theirs
        pairs[owner(ours), tuple(dict.fromkeys(owner(name) for name in names))] = None
    times = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    return [(a, b) for a, b in pairs if times[0][a] == times[1][b] == 1]


def owner(parameter: str) -> str:
    """The module that has a parameter; empty for the model itself."""
    return parameter.rpartition(".")[0]


def activation_differences(
    ours: nn.Module,
    theirs: nn.Module,
    rows: Rows,
    run_ours: Callable[[], object],
    run_theirs: Callable[[], object],
    time_first: bool = False,
) -> list[Difference]:
    """Run both and compare what each module gives last, in the order in which ours run.

    `time_first`: theirs is [time, batch, ...]. Raises ValueError if a module does not run in both, or gives another
    shape.
    """
    pairs = module_pairs(rows)
    with (
        torch.no_grad(),
        recorded(ours, [a for a, _ in pairs]) as mine,
        recorded(theirs, [name for _, b in pairs for name in b]) as other,
    ):
        run_ours()
        run_theirs()
    names = dict(pairs)
    if missing := [a for a, b in pairs if a not in mine or any(name not in other for name in b)]:
        raise ValueError(f"{missing[0]} / {' + '.join(names[missing[0]])}: did not run in both models")
    found = []
    for name, output in mine.items():
        there = torch.cat([other[part] for part in names[name]], -1)
        found.append(_difference(name, " + ".join(names[name]), output, there.transpose(0, 1) if time_first else there))
    return found


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
