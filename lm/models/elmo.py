"""ELMo (Peters et al. 2018; allenai/bilm-tf): two language models, one in each direction, over words of characters.

x_t = CharacterCNN(word t)                                   for both directions
h→_{1,t} = LSTM→_1(x_t),  h→_{j,t} = LSTM→_j(h→_{j-1,t}) + h→_{j-1,t}        reads words 1 .. t
h←_{j,t}: the same from the end                              reads words t .. the last
p(w_{t+1} | w_1 .. w_t) = softmax(V h→_{L,t} + v),  p(w_{t-1} | w_t ..) = softmax(V h←_{L,t} + v)

Words and softmax are shared, the LSTMs are not. A word in its sentence is L + 1 vectors: (x_t, x_t) and, for each
layer, (h→_{j,t}, h←_{j,t}); `lm.nn.layer_mix` weighs them for a task. The model keeps no state between calls: the
same sentence always has the same vectors.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.elmo_config import ELMoConfig
from lm.nn.character_cnn import CharacterCNN
from lm.nn.projected_lstm import ProjectedLSTM
from lm.nn.recurrent import Recurrent

FORWARD, BACKWARD = "forward", "backward"
States = Sequence[Mapping[str, Tensor]]
"""Of each layer, what an LSTM goes on from."""


class ELMo(nn.Module):
    """The model. `seed` decides the initial weights, and nothing else does.

    `characters`: of each token, int16 [vocab, length] (`lm.characters.vocabulary_characters`). It is stored with the
    weights, so that a model to be loaded needs none.
    """

    tables: ClassVar[tuple[str, ...]] = ("softmax.weight",)  # a row for each token; see `lm.train.optim`
    characters: Tensor

    def __init__(self, config: ELMoConfig, seed: int = 0, characters: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        c = config
        table = torch.zeros(c.vocab, c.characters, dtype=torch.int16) if characters is None else characters
        if table.shape != (c.vocab, c.characters):
            raise ValueError(f"the characters are {list(table.shape)}, the model's [{c.vocab}, {c.characters}]")
        self.register_buffer("characters", table)
        self.words = CharacterCNN(c.character_width, c.filters, c.highways, c.width)
        self.forward_lstms = nn.ModuleList(_lstm(c) for _ in range(c.layers))
        self.backward_lstms = nn.ModuleList(_lstm(c) for _ in range(c.layers))
        self.softmax = nn.Linear(c.width, c.vocab)
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Words as `CharacterCNN.initialise`, LSTMs with a forget bias of 1, the softmax N(0, 1/width), zero bias."""
        generator = torch.Generator().manual_seed(seed)
        self.words.initialise(generator)
        for lstm in (*self.forward_lstms, *self.backward_lstms):
            if isinstance(lstm, ProjectedLSTM):
                lstm.initialise(generator)
            else:
                assert isinstance(lstm, Recurrent)
                for cells in lstm.layers():
                    cells["forward"].initialise(generator, None, 1.0)
        drawn = torch.empty(self.softmax.weight.shape, dtype=torch.float32)
        self.softmax.weight.copy_(drawn.normal_(0, 1 / math.sqrt(self.config.width), generator=generator))
        self.softmax.bias.zero_()

    def token_vectors(self, tokens: Tensor) -> Tensor:
        """x of tokens, int64 [batch, time] -> [batch, time, width]. Each different one goes through the CNN once."""
        different, places = tokens.unique(return_inverse=True)
        return F.embedding(places, self.words(self.characters[different]))

    def word_vectors(self, characters: Tensor) -> Tensor:
        """x of any words, int [batch, time, length] (`lm.characters.character_ids`) -> [batch, time, width]."""
        return self.words(characters.flatten(0, -2)).unflatten(0, characters.shape[:-1])

    def read(
        self, x: Tensor, direction: str, states: States | None = None
    ) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        """One direction's LSTMs over word vectors [batch, time, width] *in the order in which they are read*.

        Returns the outputs of each layer, [batch, time, width], and what each layer's LSTM goes on from.
        """
        h = x.transpose(0, 1)
        outputs, after = [], []
        for number, lstm in enumerate(self.forward_lstms if direction == FORWARD else self.backward_lstms):
            below = F.dropout(h, self.config.dropout, self.training)
            h, state = lstm(below, None if states is None else states[number])
            h = h if number == 0 else h + below
            outputs.append(h.transpose(0, 1))
            after.append(state)
        return outputs, after

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next word, or of the one before for the backward model: [..., width] -> [..., vocab]."""
        scores: Tensor = self.softmax(F.dropout(hidden, self.config.dropout, self.training))
        return scores

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """What the forward model says the next word from, [batch, time, width]."""
        return self.read(self.token_vectors(tokens), FORWARD)[0][-1]

    def forward(self, tokens: Tensor) -> Tensor:
        """The forward model's logits of the next word, [batch, time, vocab]: it alone defines p(text)."""
        return self.logits(self.hidden_states(tokens))

    def contextual(self, x: Tensor) -> Tensor:
        """All layers of whole texts from their word vectors [batch, time, width]: [layers + 1, batch, time, 2 width].

        Layer 0 is the word alone, twice; of the others, the first half has read the words up to this one, the second
        half those from this one on.
        """
        forwards, _ = self.read(x, FORWARD)
        backwards, _ = self.read(x.flip(1), BACKWARD)
        pairs = [(x, x), *((f, b.flip(1)) for f, b in zip(forwards, backwards, strict=True))]
        return torch.stack([torch.cat(pair, -1) for pair in pairs])


class BackwardLM(nn.Module):
    """The backward model as a causal model of reversed text: int64 [batch, time], the last word first -> logits."""

    def __init__(self, model: ELMo) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model.logits(self.model.read(self.model.token_vectors(tokens), BACKWARD)[0][-1])


def _lstm(config: ELMoConfig) -> nn.Module:
    if config.cell_width is None:
        return Recurrent("lstm", config.width, [config.width])
    return ProjectedLSTM(config.width, config.cell_width, config.width, config.clip)
