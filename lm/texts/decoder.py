"""A decoder as its users see it."""

from collections.abc import Sequence
from typing import Unpack

from tokenizers import Tokenizer

from lm.generate import Decoder, generate_text
from lm.stop import ShouldStop, never
from lm.texts.base import Sampling, Score, TorchText, score_windows
from lm.tokenizers.spelling import Spelling


class DecoderText(TorchText[Decoder]):
    """A GPT or the modern decoder. In a text beyond its context each token still sees at least half a context."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, spelling: Spelling) -> None:
        super().__init__(model, tokenizer, spelling)
        self.kind: str = model.config.kind

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        return score_windows(self, self.model.config.context, texts, should_stop)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return generate_text(self.model, self.tokenizer, prompt, max_new_tokens, **sampling)
