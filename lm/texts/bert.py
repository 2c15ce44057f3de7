"""BERT and its kin as their users see them: they fill gaps, embed texts and compare them; they do not continue them."""

from collections.abc import Sequence
from typing import NoReturn, Unpack

import numpy as np
import torch
from tokenizers import Tokenizer

from lm.abilities import cannot
from lm.evaluate.perplexity import Sequences
from lm.evaluate.pseudo_likelihood import Variant, pseudo_log_likelihood
from lm.fill import fill_gaps
from lm.models.bert import Bert
from lm.nn.masks import Padding
from lm.sampling import Sampling
from lm.special_tokens import special_tokens
from lm.stop import ShouldStop, check, never
from lm.texts.base import Score
from lm.tokenizer import TextEncoder, encode_documents
from lm.tokenizers.spans import Encoded
from lm.tokenizers.spelling import Spelling

BATCH = 32
NO_PROBABILITY = (
    "a masked language model defines no probability of a text, and so no bits per byte. Texts are compared by their"
    " pseudo-log-likelihood (`textmill score`, open_model(FOLDER).pseudo_log_likelihood(TEXTS))"
)


class BertText:
    """A masked language model: texts have a `pseudo_log_likelihood`. `score`, `bits_per_byte` and `generate` raise
    ValueError and say what to do instead."""

    kind = "bert"

    def __init__(self, model: Bert, tokenizer: Tokenizer, spelling: Spelling | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.context: int | None = model.config.context
        self._encoder = TextEncoder(tokenizer, spelling or Spelling.learn({}))

    def fill(self, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
        """For each [MASK] of the text the likeliest tokens with their probabilities (`lm.fill.fill_gaps`)."""
        return fill_gaps(self.model, self.tokenizer, text, count)

    def embed(self, texts: Sequence[str], should_stop: ShouldStop = never) -> np.ndarray:
        """The mean of the last layer's states over each text, float32 [texts, width]; what does not fit the context is
        left out. Without fine-tuning it is a better vector of a text than [CLS] is (Reimers & Gurevych 2019)."""
        special, device = special_tokens(self.tokenizer), self.model.bias.device
        encoded = encode_documents(self.tokenizer, list(texts))
        vectors = np.zeros((len(texts), self.model.config.width), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            check(should_stop, "embedding")
            rows = [ids[: self.model.config.context - 2] for ids in encoded[start : start + BATCH]]
            length = max(len(ids) for ids in rows) + 2
            tokens, real = np.full((len(rows), length), special.pad), np.zeros((len(rows), length), dtype=bool)
            for row, ids in enumerate(rows):
                framed = np.concatenate([[special.cls], ids, [special.sep]])
                tokens[row, : len(framed)], real[row, : len(framed)] = framed, True
            mask = torch.from_numpy(real).to(device)
            with torch.no_grad():
                hidden = self.model.hidden_states(torch.from_numpy(tokens).to(device), mask=Padding(mask))
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            vectors[start : start + len(rows)] = mean.float().cpu().numpy()
        return vectors

    def pseudo_log_likelihood(
        self, texts: Sequence[str], variant: Variant = "within_word_l2r", should_stop: ShouldStop = never
    ) -> list[np.ndarray]:
        """ln p of each token of each text given the rest (`lm.evaluate.pseudo_likelihood`)."""
        return pseudo_log_likelihood(self.model, self.tokenizer, texts, variant, should_stop=should_stop)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return self._encoder(texts)

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        raise ValueError(NO_PROBABILITY)

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        raise ValueError(NO_PROBABILITY)

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> NoReturn:
        raise ValueError(NO_PROBABILITY)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        raise ValueError(cannot("bert", "generate"))
