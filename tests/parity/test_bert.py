"""BERT, RoBERTa and ALBERT against transformers: random sizes, random weights, both ways of padding, values, loss and
every gradient."""

import random

import pytest
import torch
from torch.nn import functional as F

from lm.interop.bert import config_to_hugging_face, rows
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.nn.masks import Padding
from tests.lm.small_bert import KIN, PAD, jittered, random_config

CLASSES = {"bert": "BertForPreTraining", "roberta": "RobertaForMaskedLM", "albert": "AlbertForPreTraining"}
CASES = [(kind, seed) for kind in KIN for seed in range(20)]


def hugging_face(model: Bert, kind: str) -> torch.nn.Module:
    """Theirs with our weights, in our dtype."""
    transformers = pytest.importorskip("transformers")
    settings = config_to_hugging_face(model.config, PAD[kind])
    theirs_class = getattr(transformers, CLASSES[kind])
    theirs = theirs_class(theirs_class.config_class(**settings)).to(model.bias.dtype).eval()
    named, ours = dict(theirs.named_parameters(remove_duplicate=False)), model.state_dict()
    with torch.no_grad():
        for row in rows(model.config):
            for name, part in zip(row.theirs, ours[row.ours].chunk(len(row.theirs)), strict=True):
                named[name].copy_(part)
    return theirs


def inputs(config: BertConfig, kind: str, seed: int) -> dict[str, torch.Tensor]:
    """Rows of different lengths, every second config padded on the left, and what to predict in them."""
    generator = torch.Generator().manual_seed(seed)
    draw, time = random.Random(seed), min(config.context, 4 + seed)
    lengths = torch.tensor([time, draw.randint(1, time), draw.randint(1, time)])
    real = torch.arange(time)[None] < lengths[:, None]
    real = real.flip(1) if seed % 2 else real
    tokens = torch.randint(2, config.vocab, (3, time), generator=generator).where(real, torch.tensor(PAD[kind]))
    segments = torch.randint(0, config.segments, (3, time), generator=generator)
    wanted = (torch.rand(3, time, generator=generator) < 0.4) & real
    wanted[0, 0] = True
    labels = torch.randint(0, config.vocab, (3, time), generator=generator).where(wanted, torch.tensor(-100))
    return {"tokens": tokens, "segments": segments, "real": real, "labels": labels, "pair": torch.tensor([0, 1, 1])}


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_logits_loss_and_gradients_equal_transformers(kind: str, seed: int) -> None:
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        model = jittered(random_config(kind, seed), seed).to(dtype)
        theirs, x = hugging_face(model, kind), inputs(model.config, kind, seed)
        labels = {
            "roberta": {},
            "bert": {"next_sentence_label": x["pair"]},
            "albert": {"sentence_order_label": x["pair"]},
        }
        expected = theirs(
            x["tokens"],
            attention_mask=x["real"].long(),
            token_type_ids=x["segments"],
            labels=x["labels"],
            **labels[kind],
        )
        hidden = model.hidden_states(x["tokens"], x["segments"], Padding(x["real"]))
        logits, wanted = model.masked_logits(hidden), x["labels"] >= 0
        theirs_logits = expected.logits if kind == "roberta" else expected.prediction_logits
        assert torch.allclose(logits[x["real"]], theirs_logits[x["real"]], atol=tolerance, rtol=0)
        assert logits.isfinite().all()

        loss = F.cross_entropy(model.masked_logits(hidden[wanted]), x["labels"][wanted])
        if model.config.pair_head:
            pair = model.pair_logits(hidden)
            theirs_pair = expected.seq_relationship_logits if kind == "bert" else expected.sop_logits
            assert torch.allclose(pair, theirs_pair, atol=tolerance, rtol=0)
            loss = loss + F.cross_entropy(pair, x["pair"])
        assert abs(loss - expected.loss) < tolerance
        loss.backward()
        expected.loss.backward()
        ours, named = dict(model.named_parameters()), dict(theirs.named_parameters(remove_duplicate=False))
        for row in rows(model.config):
            got = ours[row.ours].grad
            assert got is not None
            for name, part in zip(row.theirs, got.chunk(len(row.theirs)), strict=True):
                reference = named[name].grad
                reference = torch.zeros_like(part) if reference is None else reference
                if row.ours == "token_embedding.weight":  # theirs gives the padding token's input no gradient
                    others = torch.arange(len(part)) != PAD[kind]
                    part, reference = part[others], reference[others]
                assert torch.allclose(part, reference, atol=tolerance, rtol=0), name
