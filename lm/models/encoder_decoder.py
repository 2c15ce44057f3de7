"""What every encoder-decoder offers: p(y | x) of whole targets for training, and one token at a time for search."""

from typing import Any, Protocol, Self

import torch
from torch import Tensor


class DecoderState(Protocol):
    """What a decoder has read so far, a row for each hypothesis."""

    def select(self, rows: Tensor) -> Self:
        """These rows, int64 [n], in this order; a row may come several times or not at all."""
        ...


class EncoderDecoder(Protocol):
    """A model of a target given a source. Sequences are padded on the right; `lengths`, int64 [batch], say how far
    they are real. What a source is padded with does not matter."""

    config: Any

    def __call__(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """Logits of the token after each of `inputs`: int64 [batch, time] -> [batch, time, target_vocab]."""
        ...

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """Read the source, int64 [batch, time]: the state before the first target token."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one target token of each row, int64 [rows]: logits of the next [rows, target_vocab], and the state."""
        ...

    def alignments(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor | None:
        """How much each target step looked at each source token, [batch, target, source], rows summing to one; None
        for a model that does not look."""
        ...


def real_positions(lengths: Tensor, time: int) -> Tensor:
    """bool [batch, time]: which positions are no padding."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]
