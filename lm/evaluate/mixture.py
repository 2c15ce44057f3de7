"""A mixture of two language models over the same tokens: p = w p_a + (1 - w) p_b, in bits per byte.

Bengio et al. 2003 (section 4) mix their network with a trigram, with a weight of 1/2 or one that validation text
decides: the two err in different places. The log-likelihood of text is concave in w: the best weight is found for sure.
"""

import numpy as np
import torch
from torch import nn

from lm.evaluate.perplexity import Sequences, figures, target_bytes
from lm.evaluating import evaluating
from lm.ngram.model import NgramModel
from lm.objectives.causal import token_nats
from lm.stop import ShouldStop, check, never

BISECTIONS = 60


def mixed_log_probs(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """ln(weight e^first + (1 - weight) e^second), float64 [tokens]: ln p of each token by the mixture.

    Raises ValueError for a weight outside 0..1.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"the weight of the first model must lie in 0..1, not {weight}")
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(weight) + first, np.log1p(-weight) + second)


def best_weight(first: np.ndarray, second: np.ndarray) -> float:
    """The weight of the first model that gives validation text the largest probability, to 1e-15.

    `first`, `second`: ln p of each of its tokens, float64 [tokens]. The slope of the log-likelihood,
    sum (p_a - p_b) / (w p_a + (1 - w) p_b), falls with w: its zero is found by bisection.
    Raises ValueError if there are no tokens or two different numbers of them.
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"need ln p of the same tokens by both models, got {first.shape} and {second.shape}")
    top = np.maximum(first, second)
    a, b = np.exp(first - top), np.exp(second - top)

    def slope(weight: float) -> float:
        with np.errstate(divide="ignore"):
            return float(((a - b) / (weight * a + (1 - weight) * b)).sum())

    low, high = 0.0, 1.0
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


def network_log_probs(
    model: nn.Module, sequences: Sequences, limit: int | None = None, batch: int = 16, should_stop: ShouldStop = never
) -> np.ndarray:
    """ln p of every target of the first `limit` sequences by a causal model, `model(tokens) -> logits`; float64
    [sequences, time]. The model is left in the mode it was in."""
    count = len(sequences) if limit is None else min(limit, len(sequences))
    device = next(model.parameters()).device
    parts = []
    with evaluating(model):
        for start in range(0, count, batch):
            check(should_stop, "scoring")
            rows = sequences.batch(np.arange(start, min(start + batch, count)))["tokens"].to(device)
            parts.append(-token_nats(model(rows[:, :-1]), rows[:, 1:]).double().cpu().numpy())
    return np.concatenate(parts)


def ngram_log_probs(
    model: NgramModel,
    sequences: Sequences,
    limit: int | None = None,
    batch: int = 1024,
    should_stop: ShouldStop = never,
) -> np.ndarray:
    """The same by an n-gram model of tokens. A token sees what stands before it in its sequence."""
    if not model.is_distribution:
        raise ValueError(f"{model.smoothing} gives scores that do not sum to one: they cannot be mixed")
    count = len(sequences) if limit is None else min(limit, len(sequences))
    parts = []
    for start in range(0, count, batch):
        check(should_stop, "scoring")
        rows = sequences.batch(np.arange(start, min(start + batch, count)))["tokens"].numpy()
        offsets = np.arange(0, rows.size + 1, rows.shape[1])
        logs = model.log_probs(rows.reshape(-1), offsets, at_start=False)
        parts.append(logs.reshape(rows.shape)[:, 1:])
    return np.concatenate(parts)


def log_probs_figures(logs: np.ndarray, sequences: Sequences, token_bytes: np.ndarray) -> dict[str, float]:
    """What ln p of the targets of the first len(logs) sequences means: `lm.evaluate.perplexity.figures`."""
    examples = sequences.batch(np.arange(len(logs)))
    text = token_bytes[examples["tokens"][:, 1:].numpy()] > 0
    written, spelled = target_bytes(examples, torch.as_tensor(token_bytes))
    return figures(-float(logs[text].sum()), written, int(text.sum()), spelled)
