"""GPT-1's objective of fine-tuning, L3 = L2 + lambda * L1 (Radford et al. 2018, equations 4 and 5), for any form."""

import torch
from torch import nn
from torch.nn import functional as F

from lm.finetune.forms.base import TaskForm
from lm.finetune.heads import TaskModel
from lm.nn.precision import full_precision
from lm.train.objective import Batch, Losses, Term


class FinetuneObjective:
    """L2, the form's own loss, per example; L1, the cross-entropy of each token after the first, per token.

    L1 counts the extract token among the targets, as openai/finetune-transformer-lm does, and never the padding. With
    `auxiliary_weight` 0 it is not computed.
    """

    def __init__(self, form: TaskForm, auxiliary_weight: float = 0.0) -> None:
        self.form, self.auxiliary_weight = form, auxiliary_weight

    def counts(self, batch: Batch) -> dict[str, float]:
        counts = {self.form.name: self.form.count(batch)}
        if self.auxiliary_weight:
            counts["language"] = float((batch["lengths"] - 1).sum())
        return counts

    def tokens(self, batch: Batch) -> int:
        return int(batch["lengths"].sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, TaskModel)
        outputs, hidden = model(batch)
        total = self.form.loss(full_precision(outputs), batch)
        terms = {self.form.name: Term(total, self.form.count(batch))}
        if self.auxiliary_weight:
            tokens, lengths = batch["tokens"], batch["lengths"]
            predicting = torch.arange(1, tokens.shape[1], device=tokens.device) < lengths[:, None]
            token_logits = model.backbone.logits(hidden[:, :-1][predicting])
            nats = F.cross_entropy(full_precision(token_logits), tokens[:, 1:][predicting], reduction="sum")
            terms["language"] = Term(nats, float((lengths - 1).sum()), self.auxiliary_weight)
        return Losses(terms)
