"""XLNet's objective: -sum ln p(x_{z_t} | x_{z_<t}) over the last tokens of a random order z (Yang et al. 2019).

Predicting all of an order is hard and slow to learn from, so that one token of K is (partial prediction, K = 6): spans
of 1 to 5 tokens, drawn as in the authors' `data_utils.py` with a token for a word. The others come first in the order,
see each other and are not predicted. Which are predicted and in which order follows from the seed and the number of the
example, which goes on over the epochs: each epoch has other orders.
"""

import numpy as np
import torch
from torch import Tensor, nn

from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig
from lm.nn.stateful import begin_anew
from lm.objectives.causal import token_nats
from lm.order import draw_seed
from lm.streams import RESET
from lm.train.objective import CARRY, Batch, Examples, Losses, Term

RANK, TARGETS = "rank", "targets"
"""int64 [batch, context]: place in the order, -1 for what is seen by all; int64 [batch, n]: positions predicted."""


def spans(context: int, config: PermutationConfig, draw: np.random.Generator) -> np.ndarray:
    """context // K positions of [0, context), sorted: spans of n tokens, each somewhere in K n tokens of context
    that are left, the last few where they fit; all turned by a random number of places, so that no position is
    predicted less often for being near an end."""
    lengths = np.arange(1, config.longest_span + 1)
    weights = 1 / lengths / (1 / lengths).sum()
    chosen = np.zeros(context, dtype=bool)
    wanted, at = config.targets(context), 0
    while at < context and (missing := wanted - int(chosen.sum())) > 0:
        n = min(int(draw.choice(lengths, p=weights)), missing)
        before = int(draw.integers(n * config.predict))
        end = at + before + n
        if end > context:
            break
        chosen[end - n : end] = True
        at = end + n * config.predict - before
    left = np.flatnonzero(~chosen)
    chosen[draw.choice(left, wanted - int(chosen.sum()), replace=False)] = True
    return np.flatnonzero(np.roll(chosen, draw.integers(context)))


class Permuted:
    """Examples with an order for each: `tokens` of `examples` without their last, `rank` and `targets`.

    Example number n is example n % len(examples) of epoch n // len(examples): read them with `numbered_by_epoch`, or in
    order if `examples` are `lm.streams.Lanes`, whose memory goes on (`lanes`).
    """

    def __init__(
        self, examples: Examples, context: int, config: PermutationConfig, seed: int, *, lanes: bool = False
    ) -> None:
        self.examples, self.context, self.config, self.seed, self.lanes = examples, context, config, seed, lanes
        config.targets(context)
        self.fingerprint = f"{examples.fingerprint}/permuted {context} {config.predict} {config.longest_span} {seed}"

    def __len__(self) -> int:
        return len(self.examples)

    def where(self, number: int) -> str:
        """The text that an example is from, if the examples can say: for messages."""
        where = getattr(self.examples, "where", None)
        return where(number if self.lanes else number % len(self.examples)) if where else "an unnamed text"

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """{"tokens": int64 [batch, context], "rank", "targets", and what else the examples have}."""
        numbers = np.asarray(indices)
        found = dict(self.examples.batch(numbers if self.lanes else numbers % len(self.examples)))
        # A piece has one token more, the first of the next: here each is predicted where it stands.
        cut = {name: t if name == RESET else t[:, : self.context] for name, t in found.items()}
        rank, targets = zip(*(self.order(int(n)) for n in numbers), strict=True)
        return {**cut, RANK: torch.from_numpy(np.stack(rank)), TARGETS: torch.from_numpy(np.stack(targets))}

    def order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The rank of each position, -1 for what is not predicted, and the positions predicted, of one example."""
        draw = np.random.Generator(np.random.Philox(draw_seed(self.seed, "permutation", number)))
        targets = spans(self.context, self.config, draw)
        rank = np.full(self.context, -1, dtype=np.int64)
        rank[targets] = draw.permutation(len(targets))
        return rank, targets


def visible_by_rank(rank: Tensor) -> Tensor:
    """Who may look at whom, bool [batch, time, time]: at what is earlier in the order. `rank`: int64 [batch, time]."""
    return (rank[:, None] < 0) | (rank[:, :, None] > rank[:, None])


class PermutationObjective:
    """Predict the targets of `Permuted` examples with the query stream.

    It says nothing of bits per byte: the tokens predicted know most of the text around them.
    """

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"permutation": float(batch[TARGETS].numel())}

    def tokens(self, batch: Batch) -> int:
        return batch["tokens"].numel()

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, XLNet)
        states = {name.removeprefix(CARRY): s for name, s in batch.items() if name.startswith(CARRY)} or None
        if states is not None and RESET in batch:
            states = begin_anew(states, batch[RESET])
        targets = batch[TARGETS]
        streams = model.read(batch["tokens"], visible_by_rank(batch[RANK]), targets, states=states)
        assert streams.query is not None
        nats = token_nats(model.logits(streams.query), batch["tokens"].gather(1, targets))
        terms = {"permutation": Term(nats.sum(), float(targets.numel()))}
        return Losses(terms, carry=streams.states if model.config.memory else {})
