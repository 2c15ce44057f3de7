"""A text in lanes: what training with carried state reads at each step.

The stream of tokens is cut into `lanes` stretches of equal length, read side by side: step s reads the s-th segment
of every lane, so that row i of a batch goes on where row i of the batch before ended. Example number n is lane
n % lanes of step n // lanes, on and on over the epochs: a trainer reads them with `lm.order.in_order` and a batch of
as many examples as there are lanes. At the end of an epoch each lane begins again, from a state of zeros.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lm.memo import Remembered
from lm.order import Permutation, draw_seed

RESET = "reset"
"""bool [batch]: the lane begins, whatever the state was."""
LEAST, SPREAD, HALVED = 5, 5.0, 0.05


class Pieces(Protocol):
    """A stream cut into pieces that overlap by one token, as `lm.packing.PackedSequences` and `ArrayPieces`."""

    fingerprint: str

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]: ...


class ArrayPieces:
    """Pieces of `context` + 1 tokens of an array in memory, int [tokens], as `PackedSequences` of an index."""

    def __init__(self, tokens: Sequence[int] | np.ndarray, context: int) -> None:
        self.tokens = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
        self.context = context
        digest = hashlib.blake2b(self.tokens.numpy().tobytes(), digest_size=16).hexdigest()
        self.fingerprint = f"{digest}/{context}"

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.context)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """{"tokens": int64 [len(indices), context + 1]}."""
        starts = torch.as_tensor(indices)[:, None] * self.context
        return {"tokens": self.tokens[starts + torch.arange(self.context + 1)]}


class Lanes:
    """The segments of `lanes` lanes over `pieces` (the first `limit` of them), one piece each; the tail that does not
    fill a step is left out.

    Trains with `RecurrentObjective` (`Examples` protocol). Raises ValueError if the text is too short.
    """

    def __init__(self, pieces: Pieces, lanes: int, limit: int | None = None) -> None:
        self.pieces, self.lanes = pieces, lanes
        self.fingerprint = f"{pieces.fingerprint}/{lanes} lanes"
        count = len(pieces) if limit is None else min(limit, len(pieces))
        self.steps = count // lanes
        if not self.steps:
            raise ValueError(
                f"{count} segments do not fill {lanes} lanes: give more text, fewer lanes (train.batch) or a"
                " shorter bptt"
            )

    def __len__(self) -> int:
        return self.steps * self.lanes

    def rate_scale(self, step: int) -> float:
        """A factor of the learning rate at a step: 1."""
        return 1.0

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """The pieces at those places, and "reset", bool [batch].

        Raises ValueError if the examples are not lanes of one step, which carried state needs.
        """
        steps, lanes = np.divmod(np.asarray(indices), self.lanes)
        if len(indices) and (steps[0] != steps[-1] or (np.diff(lanes) != 1).any()):
            raise ValueError(
                f"a step reads one segment of each of {self.lanes} lanes: train with a batch of {self.lanes} and"
                " `order=in_order`"
            )
        epoch, step = divmod(int(steps[0]), self.steps)
        return {**self._segments(epoch, step, lanes), RESET: torch.full((len(lanes),), step == 0)}

    def where(self, number: int) -> str:
        """The text that an example is from, if the pieces can say: for messages."""
        step, lane = divmod(number, self.lanes)
        where = getattr(self.pieces, "where", None)
        piece = int(self._numbers(*divmod(step, self.steps), np.array([lane])).flat[0])
        return f"lane {lane}, step {step}" + (f", {where(piece)}" if where else "")

    def _numbers(self, epoch: int, step: int, lanes: np.ndarray) -> np.ndarray:
        """The pieces that lanes read at a step, int64 [lanes, pieces]."""
        return (lanes * self.steps + step)[:, None]

    def _segments(self, epoch: int, step: int, lanes: np.ndarray) -> dict[str, Tensor]:
        return self.pieces.batch(self._numbers(epoch, step, lanes)[:, 0])


class RandomLanes(Lanes):
    """Lanes whose segments have random lengths (Merity et al. 2017, section 5; salesforce/awd-lstm-lm `main.py`).

    With fixed lengths the same tokens would end a segment in every epoch, and never help those behind them to learn.
    `pieces` hold one token each (context 1). The lengths are drawn once from `seed` to fill a lane and stand in
    another order in each epoch, so that every epoch has as many steps and any step is found without a walk.
    """

    def __init__(self, pieces: Pieces, lanes: int, bptt: int, seed: int) -> None:
        super().__init__(pieces, lanes)
        if bptt < LEAST:
            raise ValueError(f"random segments have {LEAST} tokens at least: bptt {bptt} is too short for them")
        self.bptt, self.seed, self.length = bptt, seed, self.steps
        self.lengths = random_lengths(self.length, bptt, draw_seed(seed, "bptt"))
        self.steps = len(self.lengths)
        self.fingerprint += f"/random {bptt} {seed}"
        self._starts = Remembered(self._starts_of)

    def _starts_of(self, epoch: int) -> np.ndarray:
        order = Permutation(self.steps, draw_seed(self.seed, "bptt"), epoch)[np.arange(self.steps)]
        return np.concatenate([[0], np.cumsum(self.lengths[order])])

    def rate_scale(self, step: int) -> float:
        """length / bptt: a short segment would otherwise weigh as much as a long one."""
        epoch, step = divmod(step, self.steps)
        start, end = self._starts(epoch)[step : step + 2]
        return float(end - start) / self.bptt

    def _numbers(self, epoch: int, step: int, lanes: np.ndarray) -> np.ndarray:
        start, end = self._starts(epoch)[step : step + 2]
        return lanes[:, None] * self.length + np.arange(start, end)

    def _segments(self, epoch: int, step: int, lanes: np.ndarray) -> dict[str, Tensor]:
        numbers = self._numbers(epoch, step, lanes)
        batch = self.pieces.batch(numbers.ravel())

        def joined(pieces: Tensor) -> Tensor:
            pieces = pieces.view(*numbers.shape, 2)
            return torch.cat([pieces[:, :1, 0], pieces[:, :, 1]], 1)

        return {name: joined(tensor) for name, tensor in batch.items()}


def random_lengths(total: int, bptt: int, seed: int) -> np.ndarray:
    """Lengths of segments, int64, in all `total`: Normal(bptt, 5), in 5 % Normal(bptt / 2, 5), at least 5.

    The last one takes what is left, joined to the one before if that is less than 5.
    """
    if total < LEAST:
        raise ValueError(f"{total} tokens a lane do not fill one segment of {LEAST}: give more text or fewer lanes")
    draw = np.random.Generator(np.random.Philox(seed))
    count = total // LEAST
    centre = np.where(draw.random(count) < HALVED, bptt / 2, bptt)
    drawn = np.maximum(LEAST, draw.normal(centre, SPREAD).astype(np.int64))
    lengths = drawn[: int(np.searchsorted(np.cumsum(drawn), total, side="left"))]
    left = total - int(lengths.sum())
    if left >= LEAST or not len(lengths):
        return np.append(lengths, left)
    lengths[-1] += left
    return lengths
