"""What an n-gram model says of texts: bits per byte beside other models, perplexity for a filter."""

import math
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from lm.evaluate.perplexity import Sequences, figures, target_bytes
from lm.ngram.model import NgramModel, load_ngram
from lm.stop import ShouldStop, check, never


def ngram_bits_per_byte(
    model: NgramModel,
    sequences: Sequences,
    token_bytes: np.ndarray,
    limit: int | None = None,
    batch: int = 1024,
    should_stop: ShouldStop = never,
) -> dict[str, float]:
    """The figures of `lm.evaluate.perplexity.bits_per_byte`, of the same tokens, for a model of tokens.

    A token sees what stands before it in its sequence, as other models do, and at most order - 1 tokens of it.
    Raises ValueError for stupid back-off, whose scores are no probabilities.
    """
    if not model.is_distribution:
        raise ValueError(f"{model.smoothing} gives scores that do not sum to one: there are no bits per byte")
    count = len(sequences) if limit is None else min(limit, len(sequences))
    nats = all_nats = spelling = 0.0
    size = tokens = targets_seen = 0
    for start in range(0, count, batch):
        check(should_stop, "evaluating")
        examples = sequences.batch(np.arange(start, min(start + batch, count)))
        rows = examples["tokens"].numpy()
        offsets = np.arange(0, rows.size + 1, rows.shape[1])
        scores = -model.log_probs(rows.reshape(-1), offsets, at_start=False).reshape(rows.shape)[:, 1:]
        text = token_bytes[rows[:, 1:]] > 0
        nats += float(scores[text].sum())
        all_nats += float(scores.sum())
        written, spelled = target_bytes(examples, torch.as_tensor(token_bytes))
        size, spelling = size + written, spelling + spelled
        tokens += int(text.sum())
        targets_seen += scores.size
    return {**figures(nats, size, tokens, spelling), "loss": all_nats / targets_seen}


class NgramScorer:
    """Perplexity per token of a text, as the perplexity filter asks for it: scorer(text, language).

    The text is scored from its beginning, its end is not. None for a text without tokens, or in a language that is
    not among `languages` (None: any).
    """

    def __init__(self, model: NgramModel | Path, languages: Collection[str | None] | None = None) -> None:
        self.model = load_ngram(model) if isinstance(model, Path) else model
        self.languages = languages

    def __call__(self, text: str, language: str | None = None) -> float | None:
        if self.languages is not None and language not in self.languages:
            return None
        lines = text.split("\n") if self.model.described["unit"] == "word" else [text]
        encoded = [ids for ids in map(self.model.encode, lines) if len(ids)]
        if not encoded:
            return None
        offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])])
        return math.exp(-float(self.model.log_probs(np.concatenate(encoded), offsets).mean()))
