"""Figures of a bidirectional language model: the forward one's bits per byte, and perplexities of both."""

import numpy as np
from torch import Tensor

from lm.evaluate.perplexity import Sequences, bits_per_byte
from lm.evaluating import evaluating
from lm.models.elmo import BackwardLM, ELMo
from lm.objectives.bilm import reversed_batch
from lm.stop import ShouldStop, never


class Reversed:
    """Sequences read from their ends, as the backward model is scored on (`Sequences` protocol)."""

    def __init__(self, sequences: Sequences) -> None:
        self.sequences = sequences

    def __len__(self) -> int:
        return len(self.sequences)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """As of `sequences`, each row turned round."""
        return reversed_batch(self.sequences.batch(indices))


def bilm_figures(
    model: ELMo,
    sequences: Sequences,
    token_bytes: np.ndarray,
    limit: int | None = None,
    should_stop: ShouldStop = never,
) -> dict[str, float]:
    """`bits_per_byte` of the forward model; `backward_perplexity_per_token`, and the mean of the two perplexities,
    which the paper reports (`mean_perplexity_per_token`). Sequences are read from a state of zeros."""
    forward = bits_per_byte(model, sequences, token_bytes, limit, should_stop=should_stop)
    with evaluating(model):
        backward = bits_per_byte(BackwardLM(model), Reversed(sequences), token_bytes, limit, should_stop=should_stop)
    both = forward["perplexity_per_token"], backward["perplexity_per_token"]
    return {**forward, "backward_perplexity_per_token": both[1], "mean_perplexity_per_token": sum(both) / 2}
