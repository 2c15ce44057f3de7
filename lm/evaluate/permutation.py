"""How well an XLNet predicts what is hidden, given the rest: the loss it is trained on, on text it is not."""

import numpy as np

from lm.evaluating import evaluating
from lm.models.xlnet import XLNet
from lm.objectives.permutation import PermutationObjective, Permuted
from lm.stop import ShouldStop, check, never


def permutation_loss(
    model: XLNet, examples: Permuted, limit: int | None = None, batch: int = 16, should_stop: ShouldStop = never
) -> float:
    """Mean -ln p of the targets of the first `limit` examples (all, if None) of epoch 0, in nats.

    The model is left in the mode it was in. Raises Interrupted between batches if asked to stop.
    """
    count = len(examples) if limit is None else min(limit, len(examples))
    objective, device = PermutationObjective(), model.head_bias.device
    total = targets = 0.0
    with evaluating(model):
        for start in range(0, count, batch):
            check(should_stop, "evaluating")
            read = examples.batch(np.arange(start, min(start + batch, count)))
            term = objective.losses(model, {n: t.to(device) for n, t in read.items()}).terms["permutation"]
            total, targets = total + float(term.total), targets + term.count
    return total / targets
