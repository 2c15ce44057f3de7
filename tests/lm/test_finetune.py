"""Fine-tuning: what is new in a model, and L3 by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lm.finetune.backbone import Backbone, open_backbone, with_new_tokens
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.text import ClassificationForm, TextItems
from lm.finetune.heads import SequenceHead, TaskModel
from lm.finetune.objective import FinetuneObjective
from lm.finetune.train import Built, build
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.train.objective import combine, step_totals
from tests.lm.finetune_cases import ASKS, backbone_folder, examples


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained GPT as a model artifact."""
    return backbone_folder(tmp_path_factory.mktemp("gpt"), "gpt")


def _built(backbone: Path, name: str = "single", **values: Any) -> Built:
    """In float64, so that equal means equal to 12 digits; without dropout."""
    pretrained, tokenizer = open_backbone(backbone)
    config = FinetuneConfig(dropout=0, head_dropout=0, max_tokens=24, **values).resolve(pretrained.settings)
    found = build(ASKS[name][0], name != "single", pretrained, tokenizer, config)
    found.model.double()
    return found


def _items(built: Built, n: int = 32, name: str = "single") -> TextItems:
    items: TextItems = built.form.items(examples(name, n))
    return items


# --- model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3])
def test_only_the_rows_of_new_tokens_are_new(backbone: Path, rows: int) -> None:
    plain, _ = open_backbone(backbone)
    extended = with_new_tokens(plain, rows, seed=1, dropout=0.1)
    old_config, new_config = plain.settings, extended.settings
    assert isinstance(old_config, GPTConfig)
    assert new_config == old_config.model_copy(update={"vocab": old_config.vocab + rows, "dropout": 0.1})
    count = sum(p.numel() for p in extended.parameters())
    assert count == old_config.parameter_count() + rows * old_config.width
    old, new = plain.state_dict(), extended.state_dict()
    assert list(old) == list(new)
    for name, tensor in old.items():
        assert torch.equal(new[name][: len(tensor)], tensor)
    tokens = torch.arange(20)[None]
    assert torch.equal(extended.eval().logits(extended(tokens))[..., :-rows], plain.eval().logits(plain(tokens)))


def test_new_weights_come_from_the_paper_and_the_seed() -> None:
    wide = Backbone(GPT(GPTConfig(layers=1, width=1024, heads=1, context=4, vocab=4)))
    rows = with_new_tokens(wide, 2, seed=1).model.token_embedding.weight[-2:]  # type: ignore[union-attr, index]
    head = SequenceHead(1024, 9, "extract", seed=1)
    for weight in (rows, head.linear.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert abs(weight.mean().item()) < 0.002
    assert not head.linear.bias.any()
    assert not torch.equal(head.linear.weight, SequenceHead(1024, 9, "extract", seed=2).linear.weight)


@pytest.mark.parametrize("initialisation", ["pretrained", "random"])
def test_initialisation_decides_the_backbone(backbone: Path, initialisation: Any) -> None:
    weights = load_file(backbone / "model.safetensors")["blocks.0.expand.weight"].double()
    models = [_built(backbone, initialisation=initialisation, seed=seed).model for seed in (0, 0, 1)]
    blocks = [m.state_dict()["backbone.model.blocks.0.expand.weight"] for m in models]
    assert [torch.equal(b, weights) for b in blocks] == [initialisation == "pretrained"] * 3
    assert torch.equal(blocks[0], blocks[1])
    assert torch.equal(blocks[0], blocks[2]) == (initialisation == "pretrained")


@pytest.mark.parametrize("pooling", ["extract", "mean", "concat", "pooler"])
def test_padding_changes_no_logit(backbone: Path, pooling: str) -> None:
    built = _built(backbone, pooling=pooling)
    model, items = built.model.eval(), _items(built)
    batch = items.batch(np.arange(32))
    together, _ = model(batch)
    for index in range(32):
        alone = items.batch(np.array([index]))
        assert alone["tokens"].shape[1] == alone["lengths"][0]
        torch.testing.assert_close(model(alone)[0][0], together[index], atol=1e-12, rtol=0)
    padding = torch.arange(batch["tokens"].shape[1]) >= batch["lengths"][:, None]
    assert padding.any()
    other = {**batch, "tokens": batch["tokens"].masked_fill(padding, 77)}
    assert torch.equal(model(other)[0], together)


# --- objective -------------------------------------------------------------------------------------------------------


def _by_hand(model: TaskModel, items: TextItems, weight: float) -> torch.Tensor:
    """L3 = mean over examples of -ln P(y|x) + weight * mean over tokens of -ln P(x_t|x_<t), one example at a time."""
    label_nats, token_nats, tokens = torch.zeros(()).double(), torch.zeros(()).double(), 0
    gpt, head = model.backbone.model, model.head
    assert isinstance(gpt, GPT)
    assert isinstance(head, SequenceHead)
    for (row,), label in zip(items.rows, items.labels, strict=True):
        ids = row.tokens
        hidden = gpt.hidden_states(torch.from_numpy(ids)[None])[0]
        pooled = hidden[-1] if head.pooling == "extract" else hidden.mean(0)
        scores = head.linear.weight @ pooled + head.linear.bias
        label_nats = label_nats - scores.log_softmax(0)[label]
        log_p = (hidden @ gpt.token_embedding.weight.T).log_softmax(-1)
        for t in range(1, len(ids)):
            token_nats, tokens = token_nats - log_p[t - 1, ids[t]], tokens + 1
    return label_nats / len(items) + weight * token_nats / tokens


def _gradients(model: TaskModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def _step(built: Built, items: TextItems, weight: float, micro_batch: int) -> torch.Tensor:
    objective, n = FinetuneObjective(built.form, weight), len(items)
    batches = [items.batch(np.arange(i, min(i + micro_batch, n))) for i in range(0, n, micro_batch)]
    totals = step_totals(objective, batches)
    return torch.stack([combine(objective.losses(built.model, b), totals) for b in batches]).sum()


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("micro_batch", "pooling"), [(1, "extract"), (5, "extract"), (32, "extract"), (5, "mean")])
def test_l3_equals_the_hand_computation_under_any_accumulation(
    backbone: Path, weight: float, micro_batch: int, pooling: str
) -> None:
    built = _built(backbone, pooling=pooling)
    items = _items(built)
    loss, expected = _step(built, items, weight, micro_batch), _by_hand(built.model, items, weight)
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=0)
    found, wanted = _gradients(built.model, loss), _gradients(built.model, expected)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-12, rtol=0)


def test_counts_are_announced_and_padding_is_not_counted(backbone: Path) -> None:
    built = _built(backbone)
    items, objective = _items(built), FinetuneObjective(built.form, 0.5)
    batch = items.batch(np.arange(7))
    losses = objective.losses(built.model, batch)
    lengths = [len(row.tokens) for (row,) in items.rows[:7]]
    assert {name: term.count for name, term in losses.terms.items()} == objective.counts(batch)
    assert objective.counts(batch) == {"classification": 7, "language": sum(lengths) - 7}
    assert {name: term.weight for name, term in losses.terms.items()} == {"classification": 1, "language": 0.5}
    assert objective.tokens(batch) == sum(lengths)
    padding = torch.arange(batch["tokens"].shape[1]) >= batch["lengths"][:, None]
    other = {**batch, "tokens": batch["tokens"].masked_fill(padding, 77)}
    for name, term in objective.losses(built.model, other).terms.items():
        assert torch.equal(term.total, losses.terms[name].total)


def test_weight_zero_is_l2_alone(backbone: Path) -> None:
    built = _built(backbone)
    batch = _items(built).batch(np.arange(9))
    alone, joint = (FinetuneObjective(built.form, w).losses(built.model, batch).terms for w in (0.0, 0.5))
    assert list(alone) == ["classification"]
    assert FinetuneObjective(built.form, 0.0).counts(batch) == {"classification": 9}
    assert torch.equal(alone["classification"].total, joint["classification"].total)


def test_class_weights_are_torchs_weighted_mean(backbone: Path) -> None:
    built = _built(backbone)
    assert isinstance(built.form, ClassificationForm)
    weights = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    form = ClassificationForm(ASKS["single"][0], built.form.reader, True, weights.tolist())  # type: ignore[arg-type]
    batch = form.items(examples("single", 9)).batch(np.arange(7))
    outputs, _ = built.model(batch)
    expected = torch.nn.functional.cross_entropy(outputs, batch["labels"], weight=weights)
    torch.testing.assert_close(form.loss(outputs, batch) / form.count(batch), expected, atol=1e-7, rtol=0)
