"""What a training objective owes the trainer: named terms, each a sum with its count and weight.

The trainer divides each sum by the count of the *whole step*, so that gradient accumulation over
micro-batches equals the large batch (a mean of means does not, as soon as micro-batches differ in
count: huggingface/transformers PR#35207, meta-pytorch/torchtune PR#1875). L3 = L2 + lambda * L1, a
masked LM with next-sentence prediction and a regulariser are all just terms.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Named tensors whose first dimension is the example. `Examples.batch` makes it, an objective reads it."""

CARRY = "carry."
"""Prefix, in a batch, of what the step before left for the same row: `Losses.carry`, kept by the trainer."""


@dataclass(frozen=True)
class Term:
    """One summand of the loss: `weight * total / (count of the whole step)`.

    `total` is a scalar tensor, the *sum* over the micro-batch in nats (or the term's own unit), with its
    graph; `count` is what it was summed over (tokens, examples) and equals `counts(batch)` of its objective.
    """

    total: Tensor
    count: float
    weight: float = 1.0


@dataclass(frozen=True)
class Losses:
    """What an objective says about one micro-batch.

    `nats` and `bytes` are for bits per byte: the detached sum of -ln p over the targets that stand for
    text (special tokens excluded), and the UTF-8 bytes of that text. Objectives that define no
    probability of text leave them at None and 0. `carry`: detached tensors, a row for each example, that come
    back with the next step's batch as `carry.<name>` (recurrent states); they are part of a checkpoint.
    """

    terms: dict[str, Term]
    nats: Tensor | None = None
    bytes: int = 0
    carry: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """A training objective. It holds no state that changes during training."""

    def counts(self, batch: Batch) -> dict[str, float]:
        """The count of each term, from the batch alone: the trainer needs it before the first forward."""
        ...

    def tokens(self, batch: Batch) -> int:
        """How many tokens the model reads in this batch, without padding (for throughput and budgets)."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Run the model on one micro-batch (already on the model's device)."""
        ...


class Examples(Protocol):
    """A fixed list of training examples with random access; the trainer chooses the order."""

    fingerprint: str
    """Changes when the examples change; a checkpoint refuses to go on with other data."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples at `indices` (int64 [batch]) as CPU tensors, in that order."""
        ...


def with_carry(parts: list[Batch], carry: Mapping[str, Tensor]) -> list[Batch]:
    """The micro-batches of a step, each row with what is carried for it (`joined_carry`)."""
    rows = [len(next(iter(part.values()))) for part in parts]
    carried = {name: tensor.split(rows) for name, tensor in carry.items()}
    return [{**part, **{name: of[n] for name, of in carried.items()}} for n, part in enumerate(parts)]


def joined_carry(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """`Losses.carry` of the micro-batches of a step, a row for each example of the step, as `carry.<name>`."""
    return {f"{CARRY}{name}": torch.cat([part[name] for part in parts]) for name in parts[0]}


def split_carry(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A checkpoint's optimiser tensors (`<parameter>/<moment>`) and the carried ones that lie beside them."""
    carry = {name: t for name, t in tensors.items() if name.startswith(CARRY) and "/" not in name}
    return {name: t for name, t in tensors.items() if name not in carry}, carry


def step_totals(objective: Objective, batches: list[Batch]) -> dict[str, float]:
    """Sum each term's count over the micro-batches of a step."""
    totals: dict[str, float] = {}
    for batch in batches:
        for name, count in objective.counts(batch).items():
            totals[name] = totals.get(name, 0.0) + count
    return totals


def step_figures(sums: dict[str, float], totals: Mapping[str, float]) -> dict[str, float]:
    """What is said of a step: its `sums` with bits per byte in the place of nats and bytes, and without the share
    (`loss_<term>`) of an only term, which is the loss."""
    figures = dict(sums)
    nats, size = figures.pop("nats", None), figures.pop("bytes")
    if nats is not None and size:
        figures["bits_per_byte"] = nats / math.log(2) / size
    if len(totals) == 1:
        figures.pop(f"loss_{next(iter(totals))}", None)
    return figures


def combine(losses: Losses, totals: Mapping[str, float]) -> Tensor:
    """This micro-batch's share of the step's loss: sum over terms of weight * total / totals[term].

    Raises ValueError if a term was not announced by `counts`. A term with nothing to count adds nothing.
    """
    shares = []
    for name, term in losses.terms.items():
        if name not in totals:
            raise ValueError(f"objective term {name!r} is missing from its counts(): {sorted(totals)}")
        shares.append(term.total * (term.weight / totals[name] if totals[name] else 0.0))
    if not shares:
        raise ValueError("an objective must return at least one term")
    return sum(shares[1:], start=shares[0])
