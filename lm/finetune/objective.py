"""GPT-1's fine-tuning objective L3 = L2 + lambda * L1 (Radford et al. 2018, equations 4 and 5)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.finetune.heads import ClassificationModel
from lm.train.objective import Batch, Losses, Term


class ClassificationObjective:
    """L2, the cross-entropy of the label, per example; L1, that of each token after the first, per token.

    A batch is that of `ClassificationExamples`. L1 counts the extract token among the targets, as
    openai/finetune-transformer-lm does, and never the padding. With `auxiliary_weight` 0 it is not computed.
    """

    def __init__(self, auxiliary_weight: float = 0.5) -> None:
        self.auxiliary_weight = auxiliary_weight

    def counts(self, batch: Batch) -> dict[str, float]:
        counts = {"classification": float(len(batch["labels"]))}
        if self.auxiliary_weight:
            counts["language"] = float((batch["lengths"] - 1).sum())
        return counts

    def tokens(self, batch: Batch) -> int:
        return int(batch["lengths"].sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        assert isinstance(model, ClassificationModel)
        tokens, lengths, labels = batch["tokens"], batch["lengths"], batch["labels"]
        logits, hidden = model(tokens, lengths)
        label_nats = F.cross_entropy(_full_precision(logits), labels, reduction="sum")
        terms = {"classification": Term(label_nats, float(len(labels)))}
        if self.auxiliary_weight:
            predicting = torch.arange(1, tokens.shape[1], device=tokens.device) < lengths[:, None]
            token_logits = model.backbone.logits(hidden[:, :-1][predicting])
            nats = F.cross_entropy(_full_precision(token_logits), tokens[:, 1:][predicting], reduction="sum")
            terms["language"] = Term(nats, float((lengths - 1).sum()), self.auxiliary_weight)
        return Losses(terms)


def _full_precision(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
