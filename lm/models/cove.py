"""CoVe (McCann et al. 2017): words in their sentence, as the encoder of a translation model sees them.

CoVe(w) = MT-LSTM(GloVe(w))               what the trained encoder says of each word
features = [GloVe(w); CoVe(w)]            beside the word's own vector (equation 6)

The encoder was trained to translate and is not trained on. McCann et al. gave it fixed GloVe vectors and a
bidirectional LSTM of two layers (preset "cove"); here the word vectors are by default those that the encoder itself
reads.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from lm.models.encoder_decoder import real_positions
from lm.models.seq2seq import Seq2Seq
from lm.padding import padded
from lm.translator import Translator


class CoVe(nn.Module):
    """A feature extractor made of a trained model: a frozen copy, so that the model itself can be trained on. Raises
    ValueError if its encoder reads in one direction."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        if not model.config.bidirectional:
            raise ValueError(
                "CoVe needs an encoder that has read both sides of a word: train with bidirectional: true, such as"
                " the preset 'cove'"
            )
        self.model = deepcopy(model).eval().requires_grad_(False)

    @property
    def width(self) -> int:
        """Of a token's features with the model's own vectors."""
        return self.model.config.embedding + self.model.config.memory

    def train(self, mode: bool = True) -> "CoVe":
        """Nothing to train: dropout stays off."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, tokens: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """[vectors; CoVe], [batch, time, width], zero at padding.

        `tokens`: int64 [batch, time] of the source's tokenizer, padded on the right, the end token last; `vectors`
        [batch, time, any] (such as GloVe's, None: those that the encoder reads).
        """
        encoded, _ = self.model.encode(tokens, lengths)
        words = self.model.source_embedding(tokens) if vectors is None else vectors
        return torch.cat([words, encoded], -1) * real_positions(lengths, tokens.shape[1])[..., None]


@torch.no_grad()
def cove_vectors(translator: Translator, texts: Sequence[str], cove: CoVe | None = None) -> list[np.ndarray]:
    """Features of the tokens of each text (its end left out), fp32 [tokens, width]. `cove`: of the translator's model,
    made once for many calls. Raises ValueError for a model without a recurrent encoder."""
    if not isinstance(translator.model, Seq2Seq):
        raise ValueError(f"CoVe needs a model of kind 'seq2seq', not {translator.model.config.kind!r}")
    rows = translator.sources(texts)
    tokens, lengths = torch.from_numpy(padded(rows, 0)), torch.tensor([len(row) for row in rows])
    device = next(translator.model.parameters()).device
    features = (cove or CoVe(translator.model))(tokens.to(device), lengths.to(device)).float().cpu().numpy()
    return [row[: length - 1] for row, length in zip(features, lengths.tolist(), strict=True)]
