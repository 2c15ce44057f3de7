"""Sequence to sequence: -sum_t ln p(y_t | y_<t, x), each y_t behind the true y_<t ("teacher forcing").

With label smoothing (Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4: 0.1) the true token is right
with 1 - e only, and any token of the V with e / V:

loss = (1 - e) (-ln p(y_t)) + e / V sum_v -ln p(v)

Perplexity and bits per byte stay those of the model: nats are -ln p(y_t), and bytes the target's.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from lm.models.encoder_decoder import EncoderDecoder
from lm.nn.precision import full_precision
from lm.objectives.causal import IGNORE, CausalObjective
from lm.train.objective import Batch, Losses, Term


class Seq2SeqObjective(CausalObjective):
    """Predict a target from a source. A batch is what `lm.pair_examples.PairExamples` makes; the model is an
    `EncoderDecoder`.

    `token_bytes`: as for `CausalObjective`, of the target's tokenizer.
    """

    def __init__(self, token_bytes: np.ndarray | None = None, *, label_smoothing: float = 0.0) -> None:
        super().__init__(token_bytes)
        self.label_smoothing = label_smoothing

    def tokens(self, batch: Batch) -> int:
        """Of source and target, without padding."""
        return int(batch["source_lengths"].sum()) + int((self._targets(batch) != IGNORE).sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        logits = cast(EncoderDecoder, model)(batch["source"], batch["source_lengths"], batch["tokens"][:, :-1])
        scored = self.scores(logits, batch)
        if not self.label_smoothing:
            return scored
        term = scored.terms["causal"]
        smoothed = smoothed_nats(logits, self._targets(batch), term.total, self.label_smoothing)
        return Losses({"causal": Term(smoothed, term.count)}, scored.nats, scored.bytes)


def smoothed_nats(logits: Tensor, targets: Tensor, nats: Tensor, smoothing: float) -> Tensor:
    """The smoothed loss, summed over all real targets, from the summed `nats` = -ln p(target)."""
    logits = full_precision(logits)
    # -sum_v ln p(v) / V = logsumexp - mean
    uniform = torch.logsumexp(logits, -1) - logits.mean(-1)
    return (1 - smoothing) * nats + smoothing * (uniform * (targets != IGNORE)).sum()
