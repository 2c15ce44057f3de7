"""Bits per byte: -log2 p(text) / UTF-8 bytes of the text, the one figure that compares any two models.

Definition used here: every token that stands for text is scored once, given the tokens before it in its
sequence (context as trained, documents packed behind `<|endoftext|>`, no sliding window; with a document mask,
those of its own document alone). `<|endoftext|>` as a target stands for no bytes and is left out of nats, bytes
and tokens. A token that stands for text which its id does not say (`<unk>`) counts with the bytes of that text,
and what a spelling model needs for it is added to the nats (`lm.tokenizers.spelling`); perplexity per token leaves
the spelling out.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from lm.evaluating import evaluating
from lm.objectives.causal import next_token_logits, token_nats
from lm.stop import ShouldStop, check, never
from lm.train.objective import Batch


class Sequences(Protocol):
    """Anything like `lm.packing.PackedSequences`."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch: ...


def bits_per_byte(
    model: nn.Module,
    sequences: Sequences,
    token_bytes: np.ndarray,
    limit: int | None = None,
    batch: int = 16,
    should_stop: ShouldStop = never,
    each: list[tuple[float, int]] | None = None,
) -> dict[str, float]:
    """Score the first `limit` sequences (all, if None) with a causal model, `model(tokens) -> logits`.

    Returns {nats, bytes, tokens, bits_per_byte, perplexity_per_token, loss}, and how many of the nats are the
    spelling of unknown words (`spelling_nats`) if there are any; `loss` is the mean over all targets,
    `<|endoftext|>` included, as in training. Sums are float64 in the order of the sequences. The
    model is left in the mode it was in. Raises Interrupted between batches if asked to stop.

    To `each`, if given, the nats (spelling included) and bytes of every sequence are appended, for `ratio_interval`.
    """
    lengths = torch.as_tensor(token_bytes)
    device = next(model.parameters()).device
    count = len(sequences) if limit is None else min(limit, len(sequences))
    nats = all_nats = spelling = 0.0
    size = tokens = targets_seen = 0
    with evaluating(model):
        for start in range(0, count, batch):
            check(should_stop, "evaluating")
            examples = sequences.batch(np.arange(start, min(start + batch, count)))
            rows = examples["tokens"]
            targets = rows[:, 1:]
            seen = {name: tensor.to(device) for name, tensor in examples.items()}
            logits = next_token_logits(model, seen, targets.shape[1])
            scores = token_nats(logits, targets.to(device)).double().cpu()
            text = lengths[targets] > 0
            if each is not None:
                for row in range(len(rows)):
                    written, spelled = target_bytes({n: t[row : row + 1] for n, t in examples.items()}, lengths)
                    each.append((float(scores[row][text[row]].sum()) + spelled, written))
            nats += float(scores[text].sum())
            all_nats += float(scores.sum())
            written, spelled = target_bytes(examples, lengths)
            size, spelling = size + written, spelling + spelled
            tokens += int(text.sum())
            targets_seen += targets.numel()
    return {**figures(nats, size, tokens, spelling), "loss": all_nats / targets_seen}


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
    lengths, size, spelling = torch.as_tensor(token_bytes), 0, 0.0
    for start in range(0, count, 256):
        examples = sequences.batch(np.arange(start, min(start + 256, count)))
        seen += np.bincount(examples["tokens"][:, 1:].flatten().numpy(), minlength=len(counts))
        written, spelled = target_bytes(examples, lengths)
        size, spelling = size + written, spelling + spelled
    text = token_bytes > 0
    nats = -float((seen[text] * log_p[text]).sum())
    return figures(nats, size, int(seen[text].sum()), spelling)


def ratio_interval(each: Sequence[tuple[float, int]]) -> tuple[float, float] | None:
    """A 95 % interval of the bits per byte over sequences like these; None of fewer than two.

    The figure is a ratio of two sums over sequences: its variance is that of the linearised ratio (Cochran 1977,
    Sampling Techniques, section 2.11), 1.96 standard errors each way. Sequences are taken as drawn independently.
    """
    nats, size = np.array([row[0] for row in each]), np.array([row[1] for row in each], dtype=np.float64)
    count = len(each)
    if count < 2 or not size.sum():
        return None
    ratio = nats.sum() / size.sum()
    error = math.sqrt(float(np.sum((nats - ratio * size) ** 2)) / (count - 1) / count) / float(size.mean())
    return (float(ratio - 1.96 * error) / math.log(2), float(ratio + 1.96 * error) / math.log(2))


def target_bytes(examples: Batch, lengths: torch.Tensor) -> tuple[int, float]:
    """The UTF-8 bytes that the targets of a batch stand for, and the nats of spelling the unknown ones."""
    if "bytes" in examples:
        return int(examples["bytes"][:, 1:].sum()), float(examples["spelling_nats"][:, 1:].sum())
    return int(lengths[examples["tokens"][:, 1:]].sum()), 0.0


def figures(nats: float, size: int, tokens: int, spelling: float = 0.0) -> dict[str, float]:
    """What a model's nats on `size` bytes of text in `tokens` tokens mean, with what spelling unknown ones costs.

    Raises ValueError if there is no text.
    """
    if not size:
        raise ValueError("there is no text to score: the sequences hold special tokens only")
    return {
        "nats": nats + spelling,
        "bytes": size,
        "tokens": tokens,
        "bits_per_byte": (nats + spelling) / math.log(2) / size,
        "perplexity_per_token": math.exp(min(nats / tokens, 700.0)),
        **({"spelling_nats": spelling} if spelling else {}),
    }
