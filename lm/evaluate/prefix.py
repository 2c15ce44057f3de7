"""Answers behind prompts under a decoder: what a prompt begins with and the last one did, too, is not read again.

Keys and values of the prompt are kept (`KVCache`); the answers are read together, each behind a copy of them. So four
choices behind a prompt of 400 tokens cost one prompt and four answers, and an instruction that all prompts begin with
is read once. The scores are those of reading every prompt and answer as a whole (tested), to rounding.
"""

from collections.abc import Sequence

import numpy as np
import torch

from lm.generate import Decoder
from lm.nn.attention import KVCache
from lm.objectives.causal import token_nats


class Prefix:
    """What a decoder has read, to be gone on from."""

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self.context: int = model.config.context
        self.read = 0
        """Tokens of prompts that went through the model so far; those of answers do not count."""
        self._ids = np.empty(0, dtype=np.int64)
        self._cache: KVCache | None = None

    @torch.no_grad()
    def nats(self, prompt: np.ndarray, answers: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-ln p of each token of each answer behind the prompt, float64 [tokens] each.

        `prompt`: at least one id, the first one that of the end of text where the prompt begins a document.
        Raises ValueError if there is no prompt, an answer is empty, or both do not fit the context.
        """
        longest = max(map(len, answers), default=0)
        if not len(prompt) or not all(map(len, answers)):
            raise ValueError("a prompt and each answer need at least one token")
        if len(prompt) + longest - 1 > self.context:
            raise ValueError(f"a prompt of {len(prompt)} tokens and an answer of {longest} do not fit {self.context}")
        last = self._read(prompt)
        device = last.device
        first = self.model.logits(last).float().log_softmax(-1)
        chosen = torch.tensor([int(answer[0]) for answer in answers], device=device)
        heads = -first[chosen].double().cpu().numpy()
        if longest == 1:
            return [heads[row : row + 1] for row in range(len(answers))]
        rows = np.zeros((len(answers), longest), dtype=np.int64)
        for row, answer in zip(rows, answers, strict=True):
            row[: len(answer)] = answer  # what is behind it is not seen
        tokens = torch.from_numpy(rows).to(device)
        logits = self.model(tokens[:, :-1], cache=self._copies(len(answers), longest - 1))
        rest = token_nats(logits, tokens[:, 1:]).double().cpu().numpy()
        return [
            np.concatenate([heads[row : row + 1], rest[row, : len(answer) - 1]]) for row, answer in enumerate(answers)
        ]

    def _read(self, prompt: np.ndarray) -> torch.Tensor:
        """The state of the prompt's last token, [width]; at least that token is read anew."""
        if self._cache is None:
            self._cache = self.model.new_cache(1)
        same = min(len(self._ids), len(prompt))
        different = np.flatnonzero(self._ids[:same] != prompt[:same])
        common = min(int(different[0]) if len(different) else same, len(prompt) - 1)
        self._cache.length = common
        device = self.model.token_embedding.weight.device
        hidden = self.model.hidden_states(torch.from_numpy(prompt[common:])[None].to(device), cache=self._cache)
        self.read += len(prompt) - common
        self._ids = prompt.copy()
        return hidden[0, -1]

    def _copies(self, rows: int, room: int) -> KVCache:
        """A cache for so many answers, each behind the prompt."""
        assert self._cache is not None
        length = self._cache.length
        cache = self.model.new_cache(rows, length + room)
        cache.keys[..., :length, :] = self._cache.keys[..., :length, :]
        cache.values[..., :length, :] = self._cache.values[..., :length, :]
        cache.length = length
        return cache
