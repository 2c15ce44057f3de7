"""A linear head on the hidden state of the extract token (GPT-1, equation 3), or on the mean of all states."""

from typing import Literal

import torch
from torch import Tensor, nn

from lm.finetune.inputs import SPECIAL_TOKENS
from lm.models.gpt import GPT


@torch.no_grad()
def with_special_tokens(backbone: GPT, seed: int, dropout: float | None = None) -> GPT:
    """A copy of `backbone` whose vocabulary has the special tokens at its end; nothing else is new.

    The new embedding rows are drawn from N(0, .02) (openai/finetune-transformer-lm `train.py`). `dropout`
    replaces that of the backbone.
    """
    old = backbone.config
    update = {"vocab": old.vocab + len(SPECIAL_TOKENS)} | ({} if dropout is None else {"dropout": dropout})
    larger = GPT(old.model_copy(update=update))
    weights = dict(backbone.state_dict())
    embedding = weights["token_embedding.weight"]
    generator = torch.Generator().manual_seed(seed)
    rows = torch.empty(len(SPECIAL_TOKENS), old.width).normal_(0, 0.02, generator=generator)
    weights["token_embedding.weight"] = torch.cat([embedding, rows.to(embedding)])
    larger.load_state_dict(weights)
    return larger


class ClassificationModel(nn.Module):
    """A backbone, dropout and one linear layer: P(y | x) = softmax(h W + b).

    `pooling` says what h is: "extract", the hidden state of the extract token (GPT-1), or "mean", the mean of the
    hidden states of all tokens, start and extract included. `backbone` has the special tokens already. W is drawn
    from N(0, .02), b is 0.
    """

    def __init__(
        self,
        backbone: GPT,
        classes: int,
        head_dropout: float = 0.0,
        seed: int = 0,
        pooling: Literal["extract", "mean"] = "extract",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(backbone.config.width, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.normal_(0, 0.02, generator=generator)
            self.head.bias.zero_()

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [batch, classes] and the backbone's hidden states [batch, time, width].

        `tokens`: int64 [batch, time], padded on the right; `lengths`: int64 [batch], the extract token being
        the last of each length. The padding needs no mask in the backbone: nothing that is read can see it.
        """
        hidden = self.backbone.hidden_states(tokens)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        if self.pooling == "extract":
            weights = (positions == lengths[:, None] - 1).to(hidden.dtype)
        else:
            weights = (positions < lengths[:, None]).to(hidden.dtype) / lengths[:, None]
        pooled = (hidden * weights[..., None]).sum(dim=1)
        return self.head(self.dropout(pooled)), hidden
