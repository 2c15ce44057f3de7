"""A task that a small encoder-decoder learns in seconds: strings of letters turned round."""

from pathlib import Path
from typing import Any

import numpy as np

from lm.pairs import Pair
from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import CharacterConfig

LETTERS = "abcdef"
SHARED = {"source_vocab": 300, "target_vocab": 300}
RECURRENT: dict[str, Any] = {
    **SHARED,
    "kind": "seq2seq",
    "cell": "gru",
    "embedding": 32,
    "width": 64,
    "attention": "additive",
    "bidirectional": True,
}
ATTENTIVE: dict[str, Any] = {
    **SHARED,
    "kind": "transformer",
    "layers": 1,
    "width": 48,
    "heads": 4,
    "feed_forward": 96,
    "dropout": 0.0,
}


def reversals(count: int, seed: int) -> list[Pair]:
    """Strings of two to five letters and the same turned round."""
    draw = np.random.default_rng(seed)
    texts = ["".join(draw.choice(list(LETTERS), draw.integers(2, 6))) for _ in range(count)]
    return [Pair(text, text[::-1]) for text in texts]


def letter_tokenizer(folder: Path) -> Path:
    """A tokenizer of characters in a folder."""
    train_tokenizer([LETTERS * 2], CharacterConfig(kind="character", vocab_size=300), folder)
    return folder
