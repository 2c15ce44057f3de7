"""How good targets are: BLEU and chrF as sacrebleu counts them, and bits per byte of the true ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lm.evaluate.perplexity import figures, target_bytes
from lm.evaluating import evaluating
from lm.objectives.causal import IGNORE, token_nats
from lm.pair_examples import PairExamples
from lm.stop import ShouldStop, check, never


def corpus_scores(hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = "13a") -> dict[str, Any]:
    """{bleu, chrf} in percent of a corpus with one reference each, and the signature of how BLEU was counted.

    BLEU: Papineni et al. 2002, as Post 2018 made it comparable; chrF2: Popović 2015. Raises ValueError if there are
    not equally many, or none.
    """
    from sacrebleu.metrics import BLEU, CHRF

    if len(hypotheses) != len(references) or not references:
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references: one each is needed")
    bleu, chrf = BLEU(tokenize=tokenizer, force=True), CHRF()  # force: says nothing about ends of lines
    score = bleu.corpus_score(list(hypotheses), [list(references)])
    return {
        "bleu": float(score.score),
        "chrf": float(chrf.corpus_score(list(hypotheses), [list(references)]).score),
        "signature": str(bleu.get_signature()),
    }


def pair_bits_per_byte(
    model: nn.Module,
    examples: PairExamples,
    token_bytes: np.ndarray,
    limit: int | None = None,
    batch: int = 64,
    should_stop: ShouldStop = never,
) -> dict[str, float]:
    """What the true targets of the first `limit` examples cost a model, each token behind the true ones before it.

    Returns what `lm.evaluate.perplexity.bits_per_byte` does, of the target's bytes, and `accuracy`: the share of
    targets (the end included) that were the likeliest token. Sums are float64 in a fixed order. The model is left in
    the mode it was in. Raises ValueError if there is no example, Interrupted if asked to stop.
    """
    count = len(examples) if limit is None else min(limit, len(examples))
    if not count:
        raise ValueError("there is no validation pair within the limits")
    lengths = torch.as_tensor(token_bytes)
    by_length = np.lexsort((examples.target_lengths[:count], examples.source_lengths[:count]))
    device = next(model.parameters()).device
    nats = loss = spelling = 0.0
    size = tokens = seen = right = 0
    with evaluating(model):
        for start in range(0, count, batch):
            check(should_stop, "evaluating")
            rows = examples.batch(by_length[start : start + batch])
            moved = {name: rows[name].to(device) for name in ("source", "source_lengths", "tokens", "targets")}
            logits = model(moved["source"], moved["source_lengths"], moved["tokens"][:, :-1])
            scores = token_nats(logits, moved["targets"]).double().cpu()
            real = rows["targets"] != IGNORE
            text = real & (lengths[rows["targets"].clamp(min=0)] > 0)
            nats += float(scores[text].sum())
            loss += float(scores[real].sum())
            written, spelled = target_bytes(rows, lengths)
            size, spelling = size + written, spelling + spelled
            seen += int(real.sum())
            tokens += int(text.sum())
            right += int((logits.argmax(-1).cpu() == rows["targets"])[real].sum())
    return {**figures(nats, size, tokens, spelling), "loss": loss / seen, "accuracy": right / seen}
