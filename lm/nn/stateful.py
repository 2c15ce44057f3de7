"""What models have in common that read on where they stopped: a state (RNN) or a memory (Transformer-XL) is carried."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

States = Mapping[str, Tensor]
"""What is carried, by name; the first dimension is the row of the batch. All zeros: nothing was read."""


@dataclass(frozen=True)
class Reading:
    """What reading some tokens leaves: outputs of the last layer [batch, time, width] and the states to go on from."""

    outputs: Tensor
    dropped: Tensor
    """The outputs as the head sees them, after dropout."""
    states: dict[str, Tensor]


class Stateful(nn.Module, ABC):
    """A language model whose `read` goes on from what an earlier `read` left."""

    token_embedding: nn.Embedding

    @abstractmethod
    def read(self, tokens: Tensor, states: States | None = None) -> Reading:
        """Read `tokens`, int64 [batch, time], going on from `states` (None: nothing was read before)."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token from hidden states: [..., width] -> [..., vocab]."""

    def hidden_states(self, tokens: Tensor, states: States | None = None) -> Tensor:
        """What a head is put on: the outputs of the last layer, [batch, time, width]."""
        return self.read(tokens, states).dropped

    def forward(self, tokens: Tensor, states: States | None = None) -> Tensor:
        """Next-token logits, [batch, time, vocab]."""
        return self.logits(self.hidden_states(tokens, states))


class Carried(nn.Module):
    """A model as `bits_per_byte` takes it that goes on where its last batch ended: row i of a batch continues row i
    of the batch before. Score a stream in lanes with it (`lm.streams`)."""

    def __init__(self, model: Stateful) -> None:
        super().__init__()
        self.model = model
        self.states: dict[str, Tensor] | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        reading = self.model.read(tokens, self.states)
        self.states = {name: state.detach() for name, state in reading.states.items()}
        return self.model.logits(reading.dropped)


def begin_anew(states: States, reset: Tensor) -> dict[str, Tensor]:
    """The states with zeros in the rows where `reset` (bool [batch]) is True."""
    return {name: state.masked_fill(reset.view(-1, *(1,) * (state.dim() - 1)), 0) for name, state in states.items()}
