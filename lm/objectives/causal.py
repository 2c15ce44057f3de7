"""The causal language-model objective: -sum_t ln p(x_t | x_<t) (GPT-1 paper, equation 1)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.nn.masks import Document
from lm.nn.precision import full_precision
from lm.train.objective import Batch, Losses, Term

IGNORE = -100


class CausalObjective:
    """Predict token t+1 from tokens 0..t, in every position.

    A batch holds `tokens`, int64 [batch, time + 1]; optional `targets`, int64 [batch, time], replaces the
    shifted tokens, with `IGNORE` where there is no loss. `token_bytes`: int [vocab], the UTF-8 bytes each
    token stands for (0 for specials, which then stay out of the bits per byte). Where a token's id does not say
    that, `bytes` and `spelling_nats`, [batch, time + 1], do: what spelling `<unk>` costs is added to the nats. With
    `documents` and `positions`, int64 [batch, time + 1] (`lm.packing`), a token sees its own document alone.
    """

    def __init__(self, token_bytes: np.ndarray | None = None) -> None:
        self.token_bytes = None if token_bytes is None else torch.as_tensor(token_bytes, dtype=torch.int64)

    @staticmethod
    def _targets(batch: Batch) -> Tensor:
        return batch["targets"] if "targets" in batch else batch["tokens"][:, 1:]

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"causal": float((self._targets(batch) != IGNORE).sum())}

    def tokens(self, batch: Batch) -> int:
        return self._targets(batch).numel()

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        return self.scores(next_token_logits(model, batch, self._targets(batch).shape[1]), batch)

    def scores(self, logits: Tensor, batch: Batch) -> Losses:
        """What logits [batch, time, vocab] cost."""
        targets = self._targets(batch)
        nats = token_nats(logits, targets)
        term = Term(nats.sum(), float((targets != IGNORE).sum()))
        if self.token_bytes is None:
            return Losses({"causal": term})
        lengths = self.token_bytes.to(targets.device)[targets.clamp(min=0)] * (targets != IGNORE)
        text = lengths > 0
        total = (nats.detach() * text).sum()
        if "bytes" in batch:
            lengths = batch["bytes"][:, 1:] * text
            total = total + (batch["spelling_nats"][:, 1:] * text).sum()
        return Losses({"causal": term}, total, int(lengths.sum()))


def next_token_logits(model: nn.Module, batch: Batch, time: int) -> Tensor:
    """What a causal model makes of the first `time` tokens of each row, [batch, time, vocab]; documents apart if the
    batch says which is which.

    Raises ValueError for a model that cannot read them apart.
    """
    tokens = batch["tokens"][:, :time]
    if "documents" not in batch:
        return model(tokens)
    if not isinstance(model, GPT | Modern):
        raise ValueError(
            f"document_mask: {type(model).__name__} has no mask that keeps packed documents apart; gpt and modern have"
        )
    own = Document(batch["documents"][:, :time])
    return model.logits(model.hidden_states(tokens, own, positions=batch["positions"][:, :time]))


def token_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """-ln p(target) for each position, [batch, time], in fp32 (or fp64 if the logits are); 0 at `IGNORE`."""
    logits = full_precision(logits)
    flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORE)
    return flat.view(targets.shape)
