"""A model with carried state as its users see it: a recurrent one, or a Transformer-XL."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from tokenizers import Tokenizer

from lm.evaluate.recurrent import score_tokens
from lm.generate_recurrent import generate_texts
from lm.models.rnn import RNNLM
from lm.models.transformer_xl import TransformerXL
from lm.sampling import Sampling
from lm.stop import ShouldStop, never
from lm.texts.base import TorchText
from lm.tokenizer import end_of_text_id
from lm.tokenizers.spelling import Spelling

SEGMENT = 1024
"""Tokens that are read together; a Transformer-XL reads as many as its memory holds, at least 64."""


class StatefulText(TorchText[RNNLM | TransformerXL]):
    """Each token is scored behind the whole text before it, as far as the state goes back."""

    def __init__(self, model: RNNLM | TransformerXL, tokenizer: Tokenizer, spelling: Spelling) -> None:
        super().__init__(model, tokenizer, spelling)
        self.kind: str = model.config.kind
        self.segment = max(64, model.config.memory) if isinstance(model, TransformerXL) else SEGMENT

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        end = end_of_text_id(self.tokenizer)
        return [
            score_tokens(self.model, [end, *ids], self.segment, should_stop) if len(ids) else np.zeros(0)
            for ids in sequences
        ]

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        [text] = generate_texts(self.model, self.tokenizer, [prompt], max_new_tokens, **sampling)
        return text
