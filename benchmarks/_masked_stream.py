"""Windows of a stream of words in memory, masked anew in each epoch: what a small BERT learns from.

[CLS] window [SEP]. The shares are those of `lm.masking.Masking`, which draws for one example after another; here the
draws of a batch are one array, since a GPU asks for one every few milliseconds. Each number drawn is a function of
(seed, example, place) alone, whatever else is in the batch.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.masking_config import MaskingConfig
from lm.objectives.causal import IGNORE
from lm.order import draw_seed
from lm.streams import ArrayPieces

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, rows: np.ndarray, columns: int) -> np.ndarray:
    """Numbers in [0, 1), float64 [len(rows), columns]: number rows[i] * columns + j of splitmix64 begun at `seed`
    (Steele, Lea & Flood 2014)."""
    count = np.asarray(rows, dtype=np.uint64)[:, None] * np.uint64(columns) + np.arange(1, columns + 1, dtype=np.uint64)
    x = np.uint64(seed) + count * GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


class MaskedStream:
    """Example n is window n % len of the stream in epoch n // len: read it with `lm.order.numbered_by_epoch`.

    `stream`: int [words], numbers below `vocab`. Numbers below `first` stand for no word: they are never asked for and
    never put in a word's place. `vocab`, `vocab` + 1 and `vocab` + 2 become [CLS], [SEP] and the mask.
    """

    def __init__(
        self, stream: np.ndarray, context: int, vocab: int, first: int, masking: MaskingConfig, seed: int
    ) -> None:
        self.pieces, self.context, self.vocab, self.first = ArrayPieces(stream, context), context, vocab, first
        self.masking, self.seed = masking, draw_seed(seed, "mask")
        self.asked = masking.predictions(context + 2)
        settings = f"{vocab}/{first}/{masking.model_dump_json()}/{seed}".encode()
        self.fingerprint = f"{self.pieces.fingerprint}/{hashlib.blake2b(settings, digest_size=8).hexdigest()}"

    def __len__(self) -> int:
        return len(self.pieces)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """{"tokens" int64 and "real" bool, [batch, context + 2]; "positions" and "targets", int64 [batch, asked]}: what
        `lm.objectives.masked.MaskedObjective` reads."""
        numbers = np.asarray(indices)
        words = self.pieces.batch(numbers % len(self))["tokens"][:, : self.context].numpy()
        rank, fate, other = uniform(self.seed, numbers, 3 * self.context).reshape(len(words), 3, -1).swapaxes(0, 1)
        rank = rank + (words < self.first)  # behind all words
        places = np.sort(np.argpartition(rank, self.asked - 1)[:, : self.asked])
        rows = np.arange(len(words))[:, None]
        targets, fate, other = words[rows, places], fate[rows, places], other[rows, places]
        substitute = self.first + (other * (self.vocab - self.first)).astype(np.int64)
        shown = np.where(fate < self.masking.masked + self.masking.random, substitute, targets)
        shown = np.where(fate < self.masking.masked, self.vocab + 2, shown)
        word = targets >= self.first
        words[rows, places] = np.where(word, shown, targets)
        tokens = framed(torch.from_numpy(words), self.vocab)
        return {
            "tokens": tokens,
            "real": torch.ones(tokens.shape, dtype=torch.bool),
            "positions": torch.from_numpy(1 + places),
            "targets": torch.from_numpy(np.where(word, targets, IGNORE)),
        }


def framed(windows: Tensor, vocab: int) -> Tensor:
    """Windows, int64 [batch, time], between [CLS] and [SEP]."""
    return F.pad(F.pad(windows, (1, 0), value=vocab), (0, 1), value=vocab + 1)
