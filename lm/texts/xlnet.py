"""An XLNet as its users see it: in the one of its orders that others have too, from left to right."""

from collections.abc import Sequence
from typing import Unpack

from lm.generate_stepwise import LeftStep, continue_text
from lm.models.xlnet import XLNet
from lm.sampling import Sampling
from lm.stop import ShouldStop, never
from lm.texts.base import Score, TorchText, score_windows


class XLNetText(TorchText[XLNet]):
    """Each token is scored behind at least half a context."""

    kind = "xlnet"

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        return score_windows(self, self.model.config.context, texts, should_stop)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return continue_text(LeftStep(self.model), self.tokenizer, prompt, max_new_tokens, **sampling)
