"""An n-gram model as its users see it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Unpack

import numpy as np

from lm.evaluate.perplexity import Sequences
from lm.fill import GAP
from lm.ngram.model import NgramModel
from lm.ngram.score import ngram_bits_per_byte
from lm.ngram.words import WordVocabulary
from lm.sampling import Sampling, before_stop
from lm.stop import ShouldStop, never
from lm.texts.base import Score, score_of
from lm.tokenizer import TextEncoder, token_byte_lengths
from lm.tokenizers.spans import Encoded
from lm.tokenizers.spelling import Spelling


class NgramText:
    """An n-gram model of tokens or of words."""

    kind = "ngram"

    context = None

    def __init__(self, model: NgramModel, spelling: Spelling) -> None:
        self.model = model
        names = model.names
        self.tokenizer = None if isinstance(names, WordVocabulary) else names
        self._encoder = None if self.tokenizer is None else TextEncoder(self.tokenizer, spelling)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Ids and what they stand for; words stand for no bytes."""
        if self._encoder is not None:
            return self._encoder(texts)
        words = [self.model.encode(text) for text in texts]
        return [Encoded(ids, np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids))) for ids in words]

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        if not self.model.is_distribution:
            raise ValueError(f"{self.model.smoothing} gives scores that do not sum to one: it has no bits per byte")
        offsets = np.cumsum([0, *map(len, sequences)])
        logs = self.model.log_probs(np.concatenate([np.empty(0, dtype=np.int64), *sequences]), offsets)
        return [-logs[a:b] for a, b in pairwise(offsets.tolist())]

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        found = self.encode(texts)
        nats = self.token_nats([each.ids for each in found], should_stop)
        return [score_of(text, float(each.sum())) for text, each in zip(found, nats, strict=True)]

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> dict[str, float]:
        if isinstance(self.model.names, WordVocabulary):
            raise ValueError("a model of words gives bytes no probability: its <unk> may be anything")
        lengths = token_byte_lengths(self.model.names)
        return ngram_bits_per_byte(self.model, sequences, lengths, limit, should_stop=should_stop)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        drawn: dict[str, Any] = {"temperature": 0.8, "top_k": 50, **sampling}
        stop = drawn.pop("stop", ())
        if drawn.pop("repetition_penalty", 1) != 1:
            raise ValueError("an n-gram model draws from its counts: it takes no repetition penalty")
        new = self.model.decode(list(self.model.sample(self.model.encode(prompt).tolist(), max_new_tokens, **drawn)))
        if new and prompt and not prompt[-1].isspace() and self.tokenizer is None:
            new = " " + new  # words stand between spaces, and the first stands behind the prompt
        return before_stop(new, stop)

    def fill(self, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
        """For the one [MASK] of the text the likeliest words or tokens with their probabilities, given what stands on
        both sides (`NgramModel.cloze`): a list of one list, as a masked language model gives one for each gap.

        Raises ValueError for a text with no gap or several.
        """
        parts = text.split(GAP)
        if len(parts) != 2:
            raise ValueError(f"an n-gram model fills one gap, and the text has {len(parts) - 1}: write one {GAP}")
        left, right = (self.model.encode(part).tolist() for part in (parts[0].rstrip(" "), parts[1]))
        boundary = self.model.boundary
        found = self.model.cloze([boundary, *left], [*right, boundary], count)
        return [[(self.model.decode([id]).strip(), chance) for id, chance in found]]
