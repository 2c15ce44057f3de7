"""Masked language modelling, with next-sentence prediction or sentence order, and the span boundary objective.

L = -1/M sum_m ln p(x_m | all that is seen)     over the masked positions (Devlin et al. 2019, section 3.1)
  - 1/B sum   ln p(class of the pair | [CLS])   next sentence (BERT) or sentence order (ALBERT)
  - 1/M sum_m ln p(x_m | ends of its span)      Joshi et al. 2020, section 3.2

Each is a mean over its own count, in the whole step. None is a probability of a text: there are no bits per byte.
"""

import torch
from torch import nn
from torch.nn import functional as F

from lm.models.bert import Bert
from lm.nn.masks import Padding
from lm.nn.precision import full_precision
from lm.objectives.causal import IGNORE
from lm.train.objective import Batch, Losses, Term


class MaskedObjective:
    """Trains a `Bert` on batches of `MaskedExamples`: the terms "mlm"; "pair" where the model has a head for it; "sbo"
    where it has one for boundaries and the batch has spans."""

    def __init__(self, pair: bool, boundary: bool) -> None:
        self.pair, self.boundary = pair, boundary

    def counts(self, batch: Batch) -> dict[str, float]:
        asked = float((batch["targets"] != IGNORE).sum())
        counts = {"mlm": asked}
        if self.pair:
            counts["pair"] = float((batch["pair"] != IGNORE).sum())
        if self.boundary:
            counts["sbo"] = asked
        return counts

    def tokens(self, batch: Batch) -> int:
        return int(batch["real"].sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, Bert)
        hidden, counts = encode(model, batch), self.counts(batch)
        row, column = torch.nonzero(batch["targets"] != IGNORE, as_tuple=True)
        targets = batch["targets"][row, column]
        place = batch["positions"][row, column]
        terms = {"mlm": Term(_nats(model.masked_logits(hidden[row, place]), targets), counts["mlm"])}
        if self.pair:
            terms["pair"] = Term(_nats(model.pair_logits(hidden), batch["pair"]), counts["pair"])
        if self.boundary:
            low, high = batch["span_low"][row, column], batch["span_high"][row, column]
            logits = model.boundary_logits(hidden[row, low - 1], hidden[row, high], place - low)
            terms["sbo"] = Term(_nats(logits, targets), counts["sbo"])
        return Losses(terms)


def encode(model: Bert, batch: Batch) -> torch.Tensor:
    """The states of a batch of `MaskedExamples`, [batch, time, width]."""
    segments = batch["segments"] if model.config.segments > 1 else None
    mask = None if bool(batch["real"].all()) else Padding(batch["real"])
    return model.hidden_states(batch["tokens"], segments, mask)


def _nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = full_precision(logits)
    return F.cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORE)
