"""Attention of a recurrent decoder over its encoder's annotations h_1 .. h_S (Bahdanau et al. 2015; Luong et al. 2015).

a_tj = softmax_j(score(s_t, h_j))        how much step t looks at source token j
c_t  = sum_j a_tj h_j                    what it sees there

`keys` are what of a score does not depend on the decoder: made once for a source, used at every step.
"""

import torch
from torch import Tensor, nn

from lm.nn.precision import full_precision


class Alignment(nn.Module):
    """The score of one kind: "additive", "dot" or "general"."""

    def __init__(self, kind: str, width: int, memory: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "additive":
            self.query = nn.Linear(width, width)
            self.key = nn.Linear(memory, width, bias=False)
            self.v = nn.Parameter(torch.zeros(width))
        elif kind == "general":
            self.key = nn.Linear(memory, width, bias=False)
        elif kind != "dot":
            raise ValueError(f"no attention of kind {kind!r}: additive, dot, general")

    def keys(self, annotations: Tensor) -> Tensor:
        """Of annotations [batch, source, memory]: [batch, source, width]."""
        return annotations if self.kind == "dot" else self.key(annotations)

    def scores(self, states: Tensor, keys: Tensor) -> Tensor:
        """score(s_t, h_j), [batch, target, source], for states [batch, target, width].

        additive: v' tanh(W s_t + U h_j)      dot: s_t' h_j      general: s_t' W h_j
        """
        if self.kind == "additive":
            return torch.tanh(self.query(states)[:, :, None] + keys[:, None]) @ self.v
        return states @ keys.transpose(1, 2)

    def forward(self, states: Tensor, keys: Tensor, annotations: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """c_t [batch, target, memory] and a_tj [batch, target, source]; nothing is looked at where `real`, bool
        [batch, source], is False."""
        scores = self.scores(states, keys).masked_fill(~real[:, None], float("-inf"))
        exact = full_precision(scores)
        weights = exact.softmax(-1).to(annotations.dtype)
        return weights @ annotations, weights
