"""Pairs of texts as training examples: encoded, batched by length, in an order that is a function."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer

from lm.memo import Remembered
from lm.objectives.causal import IGNORE
from lm.order import Permutation, draw_seed
from lm.padding import padded
from lm.pairs import Pair
from lm.tokenizer import TextEncoder, encode_documents, end_of_text_id
from lm.tokenizers.spelling import Spelling
from lm.train.objective import Batch
from lm.translator_config import PairLimits

POOL = 100
"""Batches whose examples are sorted by length together: enough that little is padding, few enough that a batch is
another one in each epoch."""


class PairExamples:
    """Encoded pairs as `Examples` for the trainer, ready for `Seq2SeqObjective`.

    A source is its tokens and the end token, a target stands between two end tokens. A batch holds `source` int64
    [batch, source_time], `source_lengths` int64 [batch], `tokens` int64 [batch, target_time + 1] and `targets` int64
    [batch, target_time], all padded on the right (`source` and `tokens` with the end token, `targets` with IGNORE), and
    `bytes` int64 and `spelling_nats` fp64 [batch, target_time + 1]: what each of `tokens` stands for.

    `skipped` counts pairs left out: "empty" (a side without any token) and "long" (beyond `limits`); `kept` has the
    numbers of the others among the pairs given.
    """

    def __init__(
        self, pairs: Sequence[Pair], source: Tokenizer, target: Tokenizer, limits: PairLimits, spelling: Spelling
    ) -> None:
        self.source_end, self.target_end = end_of_text_id(source), end_of_text_id(target)
        sources = encode_documents(source, [pair.source for pair in pairs])
        targets = TextEncoder(target, spelling)([pair.target for pair in pairs])
        self.skipped = {"empty": 0, "long": 0}
        self.kept: list[int] = []
        for number, (x, y) in enumerate(zip(sources, targets, strict=True)):
            if not len(x) or not len(y.ids):
                self.skipped["empty"] += 1
            elif len(x) + 1 > limits.source or len(y.ids) + 1 > limits.target:
                self.skipped["long"] += 1
            else:
                self.kept.append(number)
        self.sources = [np.append(sources[n], self.source_end) for n in self.kept]
        self.targets = [np.concatenate([[self.target_end], targets[n].ids, [self.target_end]]) for n in self.kept]
        self.bytes = [np.pad(targets[n].bytes, 1) for n in self.kept]
        self.spelling_nats = [np.pad(targets[n].spelling_nats, 1) for n in self.kept]
        self.source_lengths = np.array([len(x) for x in self.sources], dtype=np.int64)
        self.target_lengths = np.array([len(y) - 1 for y in self.targets], dtype=np.int64)
        self.fingerprint = self._fingerprint()
        self._epoch = Remembered(self._bucketed)

    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for arrays in (self.sources, self.targets):
            digest.update(np.array([len(a) for a in arrays], dtype="<i8").tobytes())
            for array in arrays:
                digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.kept)

    def where(self, number: int) -> str:
        """Which of the pairs given an example is: for messages."""
        return f"pair {self.kept[number]}"

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples at `indices`, in that order."""
        tokens = padded([self.targets[i] for i in indices], self.target_end)
        inside = np.arange(tokens.shape[1] - 1) < self.target_lengths[indices][:, None]
        arrays = {
            "source": padded([self.sources[i] for i in indices], self.source_end),
            "source_lengths": self.source_lengths[indices],
            "tokens": tokens,
            "targets": np.where(inside, tokens[:, 1:], IGNORE),
            "bytes": padded([self.bytes[i] for i in indices], 0),
            "spelling_nats": padded([self.spelling_nats[i] for i in indices], 0.0),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def order(self, start: int, count: int, n: int, seed: int) -> np.ndarray:
        """As `lm.order.Order`: batches of `count` examples of like length, a pure function of (seed, epoch, place).

        An epoch has n // count batches; the few examples left over are others in each. Raises ValueError if `start` is
        not where a batch begins.
        """
        count_of_batches = max(1, n // count)
        step, within = divmod(start, count)
        if within:
            raise ValueError(f"example {start} does not begin a batch of {count}")
        epoch, place = divmod(step, count_of_batches)
        order = self._epoch(epoch, min(count, n), n, seed)
        return np.resize(order[place * count : (place + 1) * count], count)  # fewer than a batch: round again

    def _bucketed(self, epoch: int, size: int, n: int, seed: int) -> np.ndarray:
        """The examples of an epoch: shuffled, sorted by length in pools of some batches, the batches shuffled."""
        whole = np.arange(n - n % size)  # cut before sorting: behind it, the longest would be left over in each epoch
        shuffled = Permutation(n, seed, epoch)[whole]
        pool = whole // (POOL * size)
        lengths = (self.target_lengths[shuffled], self.source_lengths[shuffled], pool)
        batches = shuffled[np.lexsort(lengths)].reshape(-1, size)
        mixed = Permutation(len(batches), draw_seed(seed, "batches"), epoch)[np.arange(len(batches))]
        return batches[mixed].ravel()

    def summary(self) -> Mapping[str, int]:
        """How many there are, of how many tokens, and what was skipped."""
        return {
            "pairs": len(self),
            "source_tokens": int(self.source_lengths.sum()),
            "target_tokens": int(self.target_lengths.sum()),
            **{f"skipped_{reason}": count for reason, count in self.skipped.items()},
        }
