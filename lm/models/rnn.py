"""Recurrent language models: Elman RNN, GRU and LSTM (Mikolov et al. 2010; Zaremba et al. 2014; Merity et al. 2017).

x_t = C[token_t]                          the token's vector
h_t = cells(x_t, h_{t-1})                 everything read so far, in a vector of fixed width
p(token_{t+1}) = softmax(V h_t + c)       V is C itself if the head is tied

The state after a sequence can be carried into the next one: the text behind h_t has no fixed length.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.rnn_config import RNNConfig
from lm.nn.recurrent import Recurrent, States, locked_dropout
from lm.nn.stateful import Reading, Stateful


class RNNLM(Stateful):
    """The model. `seed` decides the initial weights, and nothing else does."""

    def __init__(self, config: RNNConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.embedding)
        self.recurrent = Recurrent(
            config.cell,
            config.embedding,
            config.widths,
            dropout=config.hidden_dropout,
            locked=config.locked,
            weight_dropout=config.weight_dropout,
            path=config.path,
        )
        self.head = None if config.tied else nn.Linear(config.widths[-1], config.vocab, bias=False)
        self.head_bias = nn.Parameter(torch.zeros(config.vocab))
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """As `RNNConfig.initial_span` and `forget_bias` say."""
        generator = torch.Generator().manual_seed(seed)
        span = self.config.initial_span

        def uniform(weight: Tensor, span: float) -> None:
            weight.copy_(torch.empty(weight.shape, dtype=torch.float32).uniform_(-span, span, generator=generator))

        uniform(self.token_embedding.weight, span or 0.1)
        for cells in self.recurrent.layers():
            for cell in cells.values():
                cell.initialise(generator, span, self.config.forget_bias)
        if self.head is not None:
            uniform(self.head.weight, span or 0.1)
        if span is not None:
            uniform(self.head_bias, span)

    def read(self, tokens: Tensor, states: States | None = None) -> Reading:
        """Read `tokens`, int64 [batch, time], going on from `states` (None: nothing was read before)."""
        c = self.config
        keep = None if c.reset_token is None else (tokens != c.reset_token).t()
        vectors = self.token_embedding.weight
        if self.training and c.embedding_dropout:  # whole tokens, rescaled (Merity et al. 2017, section 4.3)
            vectors = vectors * F.dropout(vectors.new_ones(c.vocab, 1), c.embedding_dropout)
        x = self._dropout(F.embedding(tokens.t(), vectors), c.input_dropout)
        outputs, after = self.recurrent(x, states, keep=keep)
        dropped = self._dropout(outputs, c.output_dropout)
        return Reading(outputs.transpose(0, 1), dropped.transpose(0, 1), after)

    def _dropout(self, x: Tensor, p: float) -> Tensor:
        return locked_dropout(x, p, self.training) if self.config.locked else F.dropout(x, p, self.training)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token from hidden states: [..., width] -> [..., vocab]."""
        return F.linear(hidden, self.token_embedding.weight if self.head is None else self.head.weight, self.head_bias)
