"""How well a masked language model answers: accuracy and loss on masked tokens, accuracy on pairs.

Loss is the mean -ln p over the masked tokens, each given all that is seen of its example, and no probability of a text:
it cannot be set beside bits per byte. `lm.evaluate.pseudo_likelihood` scores texts.
"""

import numpy as np
import torch
from torch.nn import functional as F

from lm.evaluating import evaluating
from lm.masked_examples import MaskedExamples
from lm.models.bert import Bert
from lm.objectives.causal import IGNORE
from lm.objectives.masked import encode
from lm.stop import ShouldStop, check, never


def masked_figures(
    model: Bert, examples: MaskedExamples, limit: int | None = None, batch: int = 32, should_stop: ShouldStop = never
) -> dict[str, float]:
    """Of the first `limit` examples (all, if None), as they are masked in the first epoch.

    Returns {masked_loss, masked_accuracy, predictions}, and {pair_loss, pair_accuracy, pairs} if the model has a head
    for pairs and there are any. Sums are float64 in the order of the examples. The model is left in the mode it was in.
    Raises Interrupted between batches if asked to stop.
    """
    count = len(examples) if limit is None else min(limit, len(examples))
    device = next(model.parameters()).device
    sums = {"masked": np.zeros(3), "pair": np.zeros(3)}  # nats, right, all
    with evaluating(model):
        for start in range(0, count, batch):
            check(should_stop, "evaluating")
            numbers = np.arange(start, min(start + batch, count))
            moved = {name: tensor.to(device) for name, tensor in examples.batch(numbers).items()}
            hidden = encode(model, moved)
            row, column = torch.nonzero(moved["targets"] != IGNORE, as_tuple=True)
            logits = model.masked_logits(hidden[row, moved["positions"][row, column]])
            sums["masked"] += _judged(logits, moved["targets"][row, column])
            if model.pair_head is not None:
                known = moved["pair"] != IGNORE
                sums["pair"] += _judged(model.pair_logits(hidden)[known], moved["pair"][known])
    figures: dict[str, float] = {}
    for name, plural in (("masked", "predictions"), ("pair", "pairs")):
        nats, right, seen = sums[name].tolist()
        if seen:
            figures |= {f"{name}_loss": nats / seen, f"{name}_accuracy": right / seen, plural: seen}
    return figures


def _judged(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """Sum of -ln p(target), how often the target is the likeliest, how many there are."""
    nats = F.cross_entropy(logits.float(), targets, reduction="none").double().sum()
    return np.array([float(nats), float((logits.argmax(-1) == targets).sum()), float(len(targets))])
