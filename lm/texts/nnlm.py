"""Bengio's network as its users see it."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch

from lm.generate_stepwise import WindowStep, continue_text
from lm.models.nnlm import NNLM
from lm.objectives.causal import token_nats
from lm.sampling import Sampling
from lm.stop import ShouldStop, check, never
from lm.texts.base import TorchText
from lm.tokenizer import end_of_text_id

SEGMENT = 1024  # tokens scored together


class NNLMText(TorchText[NNLM]):
    """A neural probabilistic language model: each token is scored behind the n - 1 before it."""

    kind = "nnlm"

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        end = end_of_text_id(self.tokenizer)
        return [self._nats([end, *ids], should_stop) for ids in sequences]

    def _nats(self, ids: Sequence[int], should_stop: ShouldStop) -> np.ndarray:
        """-ln p of all but the first, segment by segment; what its first windows reach back to is read again."""
        tokens, reach = torch.as_tensor(np.asarray(ids)), self.model.config.window - 1
        nats = [np.empty(0)]
        for start in range(0, len(tokens) - 1, SEGMENT):
            check(should_stop, "scoring")
            begin = max(0, start - reach)
            part = tokens[None, begin : start + SEGMENT + 1].to(self.model.C.device)
            with torch.no_grad():
                scores = token_nats(self.model(part[:, :-1])[:, start - begin :], part[:, 1 + start - begin :])
            nats.append(scores[0].double().cpu().numpy())
        return np.concatenate(nats)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return continue_text(WindowStep(self.model), self.tokenizer, prompt, max_new_tokens, **sampling)
