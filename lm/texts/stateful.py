"""A model with carried state as its users see it: a recurrent one, or a Transformer-XL."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
from tokenizers import Tokenizer

from lm.evaluate.recurrent import score_tokens, stream_bits_per_byte
from lm.generate_recurrent import generate_texts
from lm.models.rnn import RNNLM
from lm.models.transformer_xl import TransformerXL
from lm.sampling import Sampling
from lm.stop import ShouldStop, check, never
from lm.streams import Lanes, Pieces
from lm.texts.base import TorchText
from lm.tokenizer import encode_documents, end_of_text_id, token_byte_lengths
from lm.tokenizers.spelling import Spelling

SEGMENT = 1024
"""Tokens that are read together; a Transformer-XL reads as many as its memory holds, at least 64."""
ROWS = 16  # texts that are embedded together


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

    def carried_bits_per_byte(self, sequences: Pieces, limit: int, should_stop: ShouldStop = never) -> dict[str, float]:
        """As `bits_per_byte`, but each sequence is read behind all those before it, as in training."""
        stream = Lanes(sequences, lanes=1, limit=limit)
        return stream_bits_per_byte(self.model, stream, token_byte_lengths(self.tokenizer), should_stop)

    def embed(self, texts: Sequence[str], should_stop: ShouldStop = never) -> np.ndarray:
        """The mean of the last layer's states over the tokens of each text, float32 [texts, width]; a text without
        tokens is zeros. The state is carried through a text of any length."""
        end = end_of_text_id(self.tokenizer)
        encoded = encode_documents(self.tokenizer, list(texts))
        means = [self._means(encoded[start : start + ROWS], end, should_stop) for start in range(0, len(encoded), ROWS)]
        return np.concatenate(means).astype(np.float32)

    @torch.no_grad()
    def _means(self, rows: Sequence[np.ndarray], end: int, should_stop: ShouldStop) -> np.ndarray:
        """float64 [rows, width]. What is behind a row's end is read, and counts for nothing."""
        weight = self.model.token_embedding.weight
        lengths = np.array([len(ids) for ids in rows])
        tokens = np.full((len(rows), 1 + lengths.max()), end, dtype=np.int64)
        for row, ids in zip(tokens, rows, strict=True):
            row[1 : 1 + len(ids)] = ids
        total, states = None, None
        for start in range(0, tokens.shape[1], self.segment):
            check(should_stop, "embedding")
            part = torch.from_numpy(tokens[:, start : start + self.segment]).to(weight.device)
            reading = self.model.read(part, states)
            place = np.arange(start, start + part.shape[1])
            counts = torch.from_numpy((place > 0) & (place <= lengths[:, None])).to(weight.device)
            summed = (reading.outputs.double() * counts[..., None]).sum(1).cpu().numpy()
            total, states = summed if total is None else total + summed, reading.states
        assert total is not None
        return np.asarray(total / np.maximum(lengths, 1)[:, None])

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        [text] = generate_texts(self.model, self.tokenizer, [prompt], max_new_tokens, **sampling)
        return text
