"""What a task puts on a backbone: one linear layer, on a vector of the whole sequence or on each state."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from lm.finetune.backbone import Backbone
from lm.finetune.features.head import FeatureHead
from lm.finetune.schedule import concat_pooling
from lm.models.bert import Bert

Pooling = Literal["extract", "mean", "concat", "pooler"]


class SequenceHead(nn.Module):
    """P(y | x) = softmax(h W + b) (GPT-1, equation 3), with dropout on h; W is drawn from N(0, .02), b is 0.

    `pooling` says what h is: "extract", the state of the token that the framing reads, the last one or [CLS]; "mean",
    of all real tokens; "concat", last, largest and mean (ULMFiT); "pooler", tanh(V x + c) of the extracted one (BERT).
    With `orders` 2, the rows are those of all examples in one order and then in the other, and h is the sum of both.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        pooling: Pooling,
        dropout: float = 0.0,
        seed: int = 0,
        *,
        at_first: bool = False,
        orders: int = 1,
    ) -> None:
        super().__init__()
        self.pooling: Pooling = pooling
        self.at_first, self.orders = at_first, orders
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(3 * width if pooling == "concat" else width, outputs)
        self.pooler = nn.Linear(width, width) if pooling == "pooler" else None
        _initialise(self, seed)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """[rows, time, width] -> [rows / orders, outputs]; `lengths`: int64 [rows]."""
        pooled = self.pooled(hidden, lengths)
        if self.orders > 1:
            pooled = pooled.unflatten(0, (self.orders, -1)).sum(0)
        scores: Tensor = self.linear(self.dropout(pooled))
        return scores

    def pooled(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """One vector for each row."""
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        if self.pooling == "concat":
            return concat_pooling(hidden, positions < lengths[:, None])
        if self.pooling == "mean":
            weights = (positions < lengths[:, None]).to(hidden.dtype) / lengths[:, None]
        else:
            place = torch.zeros_like(lengths) if self.at_first else lengths - 1
            weights = (positions == place[:, None]).to(hidden.dtype)
        pooled = (hidden * weights[..., None]).sum(dim=1)
        return pooled if self.pooler is None else torch.tanh(self.pooler(pooled))


class TokenHead(nn.Module):
    """The same on every state: tags (BERT, figure 4 d), or start and end of an answer (figure 4 c)."""

    def __init__(self, width: int, outputs: int, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)
        _initialise(self, seed)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """[rows, time, width] -> [rows, time, outputs]."""
        scores: Tensor = self.linear(self.dropout(hidden))
        return scores


@torch.no_grad()
def _initialise(head: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, 0.02, generator=generator)
            module.bias.zero_()


Head = SequenceHead | TokenHead | FeatureHead


class TaskModel(nn.Module):
    """A backbone, which has the new tokens already, and a head."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.constant: frozenset[str] = frozenset()
        """Tensors that training leaves as they are, by name: checkpoints are without them (`lm.train.trained`)."""
        self.probe = False
        """Whether nothing of the backbone ever learns: then it gives features, which no dropout changes."""

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The head's outputs and the hidden states, [rows, time, width], of features [depth, rows, time, width], for a
        batch as `Framing.batch` makes it."""
        tokens, lengths = batch["tokens"], batch["lengths"]
        real = None
        if not self.backbone.kind.causal:
            real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        hidden = self.backbone(tokens, batch.get("segments"), real)
        return self.head(hidden, lengths), hidden

    def train(self, mode: bool = True) -> "TaskModel":
        """As usual, but for the backbone under a probe."""
        super().train(mode)
        if self.probe:
            self.backbone.eval()
        return self


@torch.no_grad()
def use_pretrained_pooler(head: Head, backbone: Backbone) -> None:
    """Begin with the pooler of pretraining, where head and backbone have one."""
    model = backbone.model
    if isinstance(head, SequenceHead) and head.pooler is not None and isinstance(model, Bert) and model.pair_head:
        head.pooler.load_state_dict(model.pair_head.pooler.state_dict())
