"""The loss of answers: -ln p of each token of the assistant's, behind everything said before it in its conversation."""

from typing import cast

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from lm.chat.packing import NO_CONVERSATION, PackedConversations
from lm.evaluate.perplexity import figures
from lm.evaluating import evaluating
from lm.generate import Decoder
from lm.nn.masks import Document
from lm.nn.precision import full_precision
from lm.objectives.causal import IGNORE
from lm.stop import ShouldStop, check, never
from lm.train.objective import Batch, Losses, Term


class ConversationObjective:
    """Predict the assistant's tokens. A batch is what `PackedConversations` makes; the model is a decoder.

    Bits per byte are those of the answers' text: what ends a turn is learned, but stands for no bytes, and is in the
    loss alone.
    """

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"answers": float((batch["targets"] != IGNORE).sum())}

    def tokens(self, batch: Batch) -> int:
        return int((batch["conversations"] != NO_CONVERSATION).sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        nats, learned = answer_nats(model, batch)
        text = batch["bytes"][learned] > 0
        total = (nats.detach() * text).sum() + batch["spelling_nats"][learned].sum()
        return Losses({"answers": Term(nats.sum(), float(len(nats)))}, total, int(batch["bytes"].sum()))


def answer_nats(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """-ln p of each learned token, fp32 [learned], and where they stand, bool [batch, time].

    Scores over the vocabulary are computed where something is learned, and nowhere else.
    """
    decoder = cast(Decoder, model)
    hidden = decoder.hidden_states(batch["tokens"], Document(batch["conversations"]), positions=batch["positions"])
    learned = batch["targets"] != IGNORE
    logits = decoder.logits(hidden[learned])
    logits = full_precision(logits)
    return F.cross_entropy(logits, batch["targets"][learned], reduction="none"), learned


def answers_bits_per_byte(
    model: nn.Module,
    examples: PackedConversations,
    limit: int | None = None,
    batch: int = 16,
    should_stop: ShouldStop = never,
) -> dict[str, float]:
    """What the true answers in the first `limit` sequences (all, if None) cost a model.

    Returns what `lm.evaluate.perplexity.bits_per_byte` does, of the answers' bytes; `loss` is the mean over all that is
    learned, ends of turns included. Sums are float64 in a fixed order. The model is left in the mode it was in. Raises
    Interrupted if asked to stop.
    """
    count = len(examples) if limit is None else min(limit, len(examples))
    device = next(model.parameters()).device
    nats = loss = spelling = 0.0
    size = tokens = seen = 0
    with evaluating(model):
        for start in range(0, count, batch):
            check(should_stop, "evaluating")
            rows = examples.batch(np.arange(start, min(start + batch, count)))
            found, where = answer_nats(model, {name: tensor.to(device) for name, tensor in rows.items()})
            scores, learned = found.double().cpu(), where.cpu()
            text = rows["bytes"][learned] > 0
            nats += float(scores[text].sum())
            loss += float(scores.sum())
            size, spelling = size + int(rows["bytes"].sum()), spelling + float(rows["spelling_nats"].sum())
            tokens, seen = tokens + int(text.sum()), seen + len(scores)
    return {**figures(nats, size, tokens, spelling), "loss": loss / seen}
