"""Language modelling with truncated BPTT: -sum_t ln p(x_t | all before), the state carried from segment to segment.

The states that a batch ends with come back with the next one as `carry.<name>`, detached: gradients stop at the
segment's start, what was read does not (Williams & Peng 1990; Mikolov et al. 2010). Two regularisers of Merity et al.
2017 (section 4.6), named terms like the loss itself:

AR  = alpha * mean(dropped h_t ** 2)             small activations
TAR = beta  * mean((h_{t+1} - h_t) ** 2)         slowly changing ones
"""

import numpy as np
from torch import nn

from lm.nn.stateful import Stateful, begin_anew
from lm.objectives.causal import CausalObjective
from lm.streams import RESET
from lm.train.objective import CARRY, Batch, Losses, Term


class RecurrentObjective(CausalObjective):
    """Predict token t + 1 from all tokens before, those of earlier batches included.

    A batch is what `CausalObjective` reads, "reset" (bool [batch], `lm.streams`) and the carried states, none in the
    first step. `width`: of the last layer, which AR and TAR are means over.
    """

    def __init__(
        self, width: int, token_bytes: np.ndarray | None = None, *, alpha: float = 0.0, beta: float = 0.0
    ) -> None:
        super().__init__(token_bytes)
        self.width, self.alpha, self.beta = width, alpha, beta

    def counts(self, batch: Batch) -> dict[str, float]:
        rows, time = self._targets(batch).shape
        counts = super().counts(batch)
        if self.alpha:
            counts["ar"] = float(rows * time * self.width)
        if self.beta:
            counts["tar"] = float(rows * (time - 1) * self.width)
        return counts

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, Stateful)
        states = {name.removeprefix(CARRY): s for name, s in batch.items() if name.startswith(CARRY)}
        if states and RESET in batch:
            states = begin_anew(states, batch[RESET])
        reading = model.read(batch["tokens"][:, : self._targets(batch).shape[1]], states or None)
        scored = self.scores(model.logits(reading.dropped), batch)
        terms, counts = dict(scored.terms), self.counts(batch)
        if self.alpha:
            terms["ar"] = Term(reading.dropped.float().square().sum(), counts["ar"], self.alpha)
        if self.beta:
            terms["tar"] = Term(reading.outputs.float().diff(dim=1).square().sum(), counts["tar"], self.beta)
        carry = {name: state.detach() for name, state in reading.states.items()}
        return Losses(terms, scored.nats, scored.bytes, carry)
