"""An XLNet as its users see it: in the one of its orders that others have too, from left to right."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from tokenizers import Tokenizer

from lm.generate_stepwise import LeftStep, continue_text
from lm.models.xlnet import XLNet
from lm.sampling import Sampling
from lm.stop import ShouldStop, never
from lm.texts.base import TorchText
from lm.texts.windows import half, window_nats
from lm.tokenizer import end_of_text_id
from lm.tokenizers.spelling import Spelling


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

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return continue_text(LeftStep(self.model), self.tokenizer, prompt, max_new_tokens, **sampling)
