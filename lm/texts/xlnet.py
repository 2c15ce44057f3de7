"""An XLNet as its users see it: in the one of its orders that others have too, from left to right."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
from tokenizers import Tokenizer

from lm.generate_stepwise import LeftStep, continue_text
from lm.models.xlnet import XLNet
from lm.sampling import Sampling
from lm.stop import ShouldStop, check, never
from lm.texts.base import TorchText
from lm.texts.windows import half, window_nats
from lm.tokenizer import encode_documents, end_of_text_id
from lm.tokenizers.spelling import Spelling

ROWS = 16  # texts that are embedded together


class XLNetText(TorchText[XLNet]):
    """Each token is scored behind at least half a context."""

    kind = "xlnet"

    def __init__(self, model: XLNet, tokenizer: Tokenizer, spelling: Spelling) -> None:
        super().__init__(model, tokenizer, spelling)
        self.context: int = model.config.context

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        config, device = self.model.config, next(self.model.parameters()).device
        whole = [np.concatenate([[end_of_text_id(self.tokenizer)], ids]) for ids in sequences]
        return window_nats(self.model, whole, half(config.context), config.vocab, device, should_stop)

    def embed(self, texts: Sequence[str], should_stop: ShouldStop = never) -> np.ndarray:
        """The mean of the content stream's last states over the tokens of each text, float32 [texts, width]. Each has
        read the whole text, as in fine-tuning; what does not fit the context is left out, a text without tokens is
        zeros."""
        end, context = end_of_text_id(self.tokenizer), self.model.config.context
        vectors = np.zeros((len(texts), self.model.config.width), dtype=np.float32)
        encoded = [ids[: context - 1] for ids in encode_documents(self.tokenizer, list(texts))]
        for start in range(0, len(texts), ROWS):
            check(should_stop, "embedding")
            rows = encoded[start : start + ROWS]
            tokens = np.full((len(rows), 1 + max(map(len, rows))), end, dtype=np.int64)
            real = np.zeros(tokens.shape, dtype=bool)
            for row, there, ids in zip(tokens, real, rows, strict=True):
                row[1 : 1 + len(ids)], there[: 1 + len(ids)] = ids, True
            device = self.model.head_bias.device
            with torch.no_grad():
                given = torch.from_numpy(tokens).to(device), torch.from_numpy(real).to(device)
                content = self.model.read(given[0], real=given[1]).content.float().cpu().numpy()
            for number, ids in enumerate(rows):
                if len(ids):
                    vectors[start + number] = content[number, 1 : 1 + len(ids)].mean(0)
        return vectors

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return continue_text(LeftStep(self.model), self.tokenizer, prompt, max_new_tokens, **sampling)
