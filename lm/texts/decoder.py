"""A decoder as its users see it."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
from tokenizers import Tokenizer

from lm.generate import Decoder, generate_text
from lm.sampling import Sampling
from lm.stop import ShouldStop, check, never
from lm.texts.base import TorchText
from lm.texts.windows import half, window_nats
from lm.tokenizer import encode_documents, end_of_text_id
from lm.tokenizers.spelling import Spelling

WINDOWS = 16  # texts that are embedded together


class DecoderText(TorchText[Decoder]):
    """A GPT or the modern decoder. In a text beyond its context each token still sees at least half a context."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, spelling: Spelling) -> None:
        super().__init__(model, tokenizer, spelling)
        self.kind: str = model.config.kind
        self.context: int = model.config.context

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        config, device = self.model.config, self.model.token_embedding.weight.device
        whole = [np.concatenate([[end_of_text_id(self.tokenizer)], ids]) for ids in sequences]
        return window_nats(self.model, whole, half(config.context), config.vocab, device, should_stop)

    def embed(self, texts: Sequence[str], should_stop: ShouldStop = never) -> np.ndarray:
        """The mean of the last layer's states over the tokens of each text, float32 [texts, width]; what does not fit
        the context is left out, a text without tokens is zeros."""
        end, context = end_of_text_id(self.tokenizer), self.model.config.context
        vectors = np.zeros((len(texts), self.model.config.width), dtype=np.float32)
        encoded = [ids[: context - 1] for ids in encode_documents(self.tokenizer, list(texts))]
        for start in range(0, len(texts), WINDOWS):
            check(should_stop, "embedding")
            rows = encoded[start : start + WINDOWS]
            tokens = np.full((len(rows), 1 + max(map(len, rows))), end, dtype=np.int64)
            for row, ids in zip(tokens, rows, strict=True):
                row[1 : 1 + len(ids)] = ids  # what is behind it is not seen
            with torch.no_grad():
                device = self.model.token_embedding.weight.device
                hidden = self.model.hidden_states(torch.from_numpy(tokens).to(device)).float().cpu().numpy()
            for number, ids in enumerate(rows):
                if len(ids):
                    vectors[start + number] = hidden[number, 1 : 1 + len(ids)].mean(0)
        return vectors

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return generate_text(self.model, self.tokenizer, prompt, max_new_tokens, **sampling)
