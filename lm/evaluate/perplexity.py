"""Bits per byte: -log2 p(text) / UTF-8 bytes of the text, the one figure that compares any two models.

Definition used here: every token that stands for text is scored once, given the tokens before it in its
sequence (context as trained, documents packed behind `<|endoftext|>`, no sliding window). `<|endoftext|>` as a
target stands for no bytes and is left out of nats, bytes and tokens.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import nn

from lm.objectives.causal import token_nats
from lm.stop import ShouldStop, check, never
from lm.train.objective import Batch


class Sequences(Protocol):
    """Anything like `lm.tokens.PackedSequences`."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch: ...


def bits_per_byte(
    model: nn.Module,
    sequences: Sequences,
    token_bytes: np.ndarray,
    limit: int | None = None,
    batch: int = 16,
    should_stop: ShouldStop = never,
) -> dict[str, float]:
    """Score the first `limit` sequences (all, if None) with a causal model, `model(tokens) -> logits`.

    Returns {nats, bytes, tokens, bits_per_byte, perplexity_per_token, loss}; `loss` is the mean over all
    targets, `<|endoftext|>` included, as in training. Sums are float64 in the order of the sequences. The
    model is left in the mode it was in. Raises Interrupted between batches if asked to stop.
    """
    lengths = torch.as_tensor(token_bytes)
    device = next(model.parameters()).device
    count = len(sequences) if limit is None else min(limit, len(sequences))
    nats = all_nats = 0.0
    size = tokens = targets_seen = 0
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, count, batch):
                check(should_stop, "evaluating")
                rows = sequences.batch(np.arange(start, min(start + batch, count)))["tokens"]
                targets = rows[:, 1:]
                scores = token_nats(model(rows[:, :-1].to(device)), targets.to(device)).double().cpu()
                target_bytes = lengths[targets]
                nats += float(scores[target_bytes > 0].sum())
                all_nats += float(scores.sum())
                size += int(target_bytes.sum())
                tokens += int((target_bytes > 0).sum())
                targets_seen += targets.numel()
    finally:
        model.train(was_training)
    return {**figures(nats, size, tokens), "loss": all_nats / targets_seen}


def unigram_bits_per_byte(
    counts: np.ndarray,
    sequences: Sequences,
    token_bytes: np.ndarray,
    limit: int | None = None,
    smoothing: float = 1.0,
) -> dict[str, float]:
    """The same figures for the model that knows only how frequent tokens are.

    p(token) = (count + smoothing) / (sum of counts + smoothing * vocab): add-one (Laplace) by default.
    `counts`: of the training text, int [vocab] (`TokenIndex.token_counts`). Raises ValueError without
    smoothing: a token never seen in training would cost infinitely many bits.
    """
    if smoothing <= 0:
        raise ValueError(f"smoothing must be positive, not {smoothing}")
    count = len(sequences) if limit is None else min(limit, len(sequences))
    log_p = np.log((counts + smoothing) / (counts.sum() + smoothing * len(counts)))
    seen = np.zeros(len(counts), dtype=np.int64)
    for start in range(0, count, 256):
        rows = sequences.batch(np.arange(start, min(start + 256, count)))["tokens"]
        seen += np.bincount(rows[:, 1:].flatten().numpy(), minlength=len(counts))
    text = token_bytes > 0
    nats = -float((seen[text] * log_p[text]).sum())
    return figures(nats, int((seen * token_bytes).sum()), int(seen[text].sum()))


def figures(nats: float, size: int, tokens: int) -> dict[str, float]:
    """What a model's nats on `size` bytes of text in `tokens` tokens mean. Raises ValueError if there is no text."""
    if not size:
        raise ValueError("there is no text to score: the sequences hold special tokens only")
    return {
        "nats": nats,
        "bytes": size,
        "tokens": tokens,
        "bits_per_byte": nats / math.log(2) / size,
        "perplexity_per_token": math.exp(min(nats / tokens, 700.0)),
    }
