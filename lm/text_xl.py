"""Transformer-XL and XLNet as their users see them (`lm.text_model`)."""

from collections.abc import Sequence
from typing import Unpack

from lm.evaluate.recurrent import score_tokens
from lm.generate_recurrent import generate_texts
from lm.generate_xlnet import generate_from_left
from lm.models.transformer_xl import TransformerXL
from lm.models.xlnet import XLNet
from lm.stop import ShouldStop, never
from lm.text_model import Sampling, Score, TorchText, score_windows
from lm.tokenizer import encode_documents, end_of_text_id

SHORTEST = 64


class TransformerXLText(TorchText[TransformerXL]):
    """A Transformer-XL: a text of any length is read in segments as long as its memory, which is carried through it."""

    kind = "transformer_xl"

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        end, segment = end_of_text_id(self.tokenizer), max(SHORTEST, self.model.config.memory)
        scores = []
        for each in self.encode(texts):
            spelled, nats = float(each.spelling_nats.sum()), 0.0
            if len(each.ids):
                nats = float(score_tokens(self.model, [end, *each.ids], segment, should_stop).sum())
            scores.append(Score(len(each.ids), nats + spelled, int(each.bytes.sum()), spelled))
        return scores

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        [text] = generate_texts(self.model, self.tokenizer, [prompt], max_new_tokens, **sampling)
        return text


class XLNetText(TorchText[XLNet]):
    """An XLNet, in the one of its orders that others have too: from left to right."""

    kind = "xlnet"

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        return score_windows(self, self.model.config.context, texts, should_stop)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        end = end_of_text_id(self.tokenizer)
        ids = [end, *encode_documents(self.tokenizer, [prompt])[0].tolist()]
        new = generate_from_left(self.model, ids, max_new_tokens, **sampling, stop=end)
        return str(self.tokenizer.decode(new, skip_special_tokens=False))
