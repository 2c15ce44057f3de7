"""Bidirectional language model: sum_t ln p(w_t | w_1 .. w_{t-1}) + ln p(w_t | w_{t+1} .. w_T) (ELMo paper, 3.1)."""

import torch
from torch import nn

from lm.models.elmo import BACKWARD, FORWARD, ELMo
from lm.objectives.causal import CausalObjective, token_nats
from lm.train.objective import Batch, Losses, Term


class BiLMObjective(CausalObjective):
    """Predict each token but the first from those before, and each but the last from those behind.

    A batch is what `CausalObjective` reads. The two are terms of their own; nats and bytes are the forward model's,
    which alone defines the probability of a text.
    """

    def counts(self, batch: Batch) -> dict[str, float]:
        count = float(batch["tokens"][:, 1:].numel())
        return {FORWARD: count, BACKWARD: count}

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, ELMo)
        tokens = batch["tokens"]
        x = model.token_vectors(tokens)
        forwards = model.read(x[:, :-1], FORWARD)[0][-1]
        backwards = model.read(x[:, 1:].flip(1), BACKWARD)[0][-1]
        scored = self.scores(model.logits(forwards), batch)
        before = token_nats(model.logits(backwards), tokens[:, :-1].flip(1))
        terms = {FORWARD: scored.terms["causal"], BACKWARD: Term(before.sum(), float(before.numel()))}
        return Losses(terms, scored.nats, scored.bytes)


def reversed_batch(batch: Batch) -> dict[str, torch.Tensor]:
    """The same examples read from their ends."""
    return {name: tensor.flip(1) for name, tensor in batch.items()}
