"""Texts of any length under a causal model that sees a window: every token is scored once, in one window.

The first window scores all of its tokens; each later one is moved on by `stride` and scores the last `stride`, which
see at least `context` - `stride` tokens. A stride of 1 shows each token a whole context (and costs a forward pass for
each); a stride of `context` cuts the text into plain windows, whose first tokens see next to nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm.objectives.causal import token_nats
from lm.stop import ShouldStop, check, never

SCORES = 1 << 25
"""Numbers of logits that are held at once (128 MB in fp32)."""


@dataclass(frozen=True)
class Window:
    """How much is seen, in tokens, and how far the window moves. Raises ValueError for what scores some tokens
    never."""

    context: int
    stride: int

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.context:
            raise ValueError(f"the stride must lie in 1..{self.context}, the context; it is {self.stride}")


def half(context: int) -> Window:
    """Each token sees at least half a context: the default everywhere."""
    return Window(context, max(1, context // 2))


def window_nats(
    logits: Callable[[Tensor], Tensor],
    sequences: Sequence[np.ndarray],
    window: Window,
    vocab: int,
    device: torch.device | str = "cpu",
    should_stop: ShouldStop = never,
) -> list[np.ndarray]:
    """-ln p of each id but the first of each sequence, float64 [ids - 1].

    `logits`: a causal model, int64 [batch, time] -> [batch, time, vocab]. What is scored together is of like length,
    and no more than `SCORES` logits at once.
    """
    nats = [np.zeros(max(0, len(ids) - 1)) for ids in sequences]
    pieces = [
        (owner, ids[begin:end], end - fresh, fresh)
        for owner, ids in enumerate(sequences)
        for begin, end, fresh in _windows(len(ids), window)
    ]
    pieces.sort(key=lambda each: len(each[1]))
    start = 0
    while start < len(pieces):
        check(should_stop, "scoring")
        batch = _batch(pieces, start, vocab)
        start += len(batch)
        rows = np.zeros((len(batch), len(batch[-1][1])), dtype=np.int64)
        for row, (_, ids, _, _) in zip(rows, batch, strict=True):
            row[: len(ids)] = ids  # what is behind it is not seen
        tokens = torch.from_numpy(rows).to(device)
        with torch.no_grad():
            losses = token_nats(logits(tokens[:, :-1]), tokens[:, 1:]).double().cpu().numpy()
        for row, (owner, ids, at, fresh) in zip(losses, batch, strict=True):
            nats[owner][at - 1 : at - 1 + fresh] = row[len(ids) - 1 - fresh : len(ids) - 1]
    return nats


def _batch(
    pieces: list[tuple[int, np.ndarray, int, int]], start: int, vocab: int
) -> list[tuple[int, np.ndarray, int, int]]:
    """The next pieces whose logits fit; at least one."""
    end = start + 1
    while end < len(pieces) and (end + 1 - start) * len(pieces[end][1]) * vocab <= SCORES:
        end += 1
    return pieces[start:end]


def _windows(length: int, window: Window) -> Iterator[tuple[int, int, int]]:
    """(begin, end, how many at the end are scored) of windows of at most `context` + 1 ids of `length`."""
    done = 1
    while done < length:
        end = min(length, window.context + 1 if done == 1 else done + window.stride)
        # The last window reaches back for a whole context, unless windows shall not overlap at all.
        begin = max(0, end - window.context - 1) if window.stride < window.context else done - 1
        yield begin, end, end - done
        done = end
