"""Fine-tuning: L3 by hand, what is new in a model, and runs that are killed and resumed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from lm.config import GPTConfig
from lm.finetune.artifact import load_finetuned
from lm.finetune.backbone import Backbone, open_backbone, with_new_tokens
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.text import ClassificationForm, TextItems
from lm.finetune.heads import SequenceHead, TaskModel
from lm.finetune.objective import FinetuneObjective
from lm.finetune.predictions import read_predictions
from lm.finetune.presets import FINETUNE_PRESETS, finetune_preset
from lm.finetune.run import answer
from lm.finetune.train import Built, build, finetune
from lm.labelled.folder import LabelledSet
from lm.models.bert_config import BertConfig
from lm.models.gpt import GPT
from lm.stop import Interrupted
from lm.train.hooks import Hooks
from lm.train.objective import combine, step_totals
from lm.train.trainer import ResumeError
from tests.lm.finetune_cases import ASKS, CLASSES, CONTEXT, backbone_folder, examples, write_set


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained GPT as a model artifact."""
    return backbone_folder(tmp_path_factory.mktemp("gpt"), "gpt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("single"), "single")


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


# --- runs ------------------------------------------------------------------------------------------------------------

OUTPUTS = ["config.json", "metrics.json", "model.safetensors", "predictions.parquet"]
QUICK = FinetuneConfig(
    epochs=3, batch=8, learning_rate=3e-3, evaluations=3, device="cpu", precision="fp32", max_tokens=24
)


def _outputs(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in OUTPUTS}


def test_outputs_describe_the_run(backbone: Path, data: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    hooks = Hooks(on_evaluate=lambda step, figures: seen.append((step, figures)))
    result = finetune(data, backbone, QUICK, tmp_path, hooks)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert (result["classes"], result["metric"], result["examples"]) == (list(CLASSES), "accuracy", 32)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*OUTPUTS, "tokenizer.json", "tokenizer_config.json"])
    assert [step for step, _ in seen] == [0, 4, 8, 12]
    # the first of the best on dev is what is kept and predicted with; the untrained model does not count
    best = min(seen[1:], key=lambda s: s[1]["error"])
    assert (result["best_step"], result["valid"]["accuracy"]) == (best[0], best[1]["accuracy"])
    model, form, task, _, pairs = load_finetuned(tmp_path)
    assert not pairs
    assert task == LabelledSet(data).task
    for split in ("valid", "test"):
        rows = LabelledSet(data).read(split).to_pylist()  # type: ignore[arg-type]
        predictions = read_predictions(tmp_path / "predictions.parquet", split)
        assert predictions.ids == [row["id"] for row in rows]
        assert predictions.scores() == result[split]
        again = answer(model, form, form.items(rows))
        assert [a["probabilities"] for a in again] == [r["probabilities"] for r in predictions.rows]
        np.testing.assert_allclose([sum(r["probabilities"]) for r in predictions.rows], 1, atol=1e-6)


def test_seed_decides_everything(backbone: Path, data: Path, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = QUICK.model_copy(update={"epochs": 1, "initialisation": "random", "seed": seed})
        finetune(data, backbone, config, tmp_path / name)
        runs.append(_outputs(tmp_path / name))
    assert runs[0] == runs[1]
    assert runs[0]["model.safetensors"] != runs[2]["model.safetensors"]


def test_stopped_and_resumed_ends_in_the_same_bits(backbone: Path, data: Path, tmp_path: Path) -> None:
    finetune(data, backbone, QUICK, tmp_path / "undisturbed")
    polls = stops = 0

    def every_fifth_time() -> bool:
        nonlocal polls
        polls += 1
        return polls % 5 == 0

    while True:
        try:
            finetune(data, backbone, QUICK, tmp_path / "stopped", should_stop=every_fifth_time)
            break
        except Interrupted:
            stops += 1
    assert stops >= 3
    assert _outputs(tmp_path / "stopped") == _outputs(tmp_path / "undisturbed")


def test_a_checkpoint_of_other_settings_is_refused(backbone: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        finetune(data, backbone, QUICK, tmp_path, should_stop=iter([False] * 3 + [True]).__next__)
    other = QUICK.model_copy(update={"auxiliary_weight": 0.0})
    with pytest.raises(ResumeError, match=r"model.auxiliary_weight was 0.5, is 0.0"):
        finetune(data, backbone, other, tmp_path)


class _Killed(Exception):
    pass


def test_killed_without_warning_ends_in_the_same_bits(backbone: Path, data: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"checkpoint_interval": 2})
    finetune(data, backbone, config, tmp_path / "undisturbed")
    steps: list[int] = []

    def kill_at(moment: int) -> Hooks:
        """A hook that breaks off after a step, with no chance to leave a checkpoint."""

        def progress(step: int, _: int) -> None:
            steps.append(step)
            if step == moment:
                raise _Killed

        return Hooks(on_progress=progress)

    for moment in (1, 3, 7, 12):
        with pytest.raises(_Killed):
            finetune(data, backbone, config, tmp_path / "killed", kill_at(moment))
    finetune(data, backbone, config, tmp_path / "killed", kill_at(-1))
    # each run goes on from the last even step that was completed before the kill
    assert steps == [1, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12, 11, 12]
    assert _outputs(tmp_path / "killed") == _outputs(tmp_path / "undisturbed")


def test_patience_ends_a_run_early_killed_or_not(backbone: Path, data: Path, tmp_path: Path) -> None:
    """At a learning rate of nothing no evaluation is better than the first one after a step."""
    config = QUICK.model_copy(update={"learning_rate": 1e-12, "evaluations": 6, "patience": 2, "epochs": 6})
    steps: list[int] = []
    result = finetune(data, backbone, config, tmp_path / "whole", Hooks(on_progress=lambda step, _: steps.append(step)))
    assert (result["steps"], result["best_step"], steps[-1]) == (12, 4, 12)

    def kill(step: int, figures: dict[str, float]) -> None:
        if step == 12:
            raise _Killed

    with pytest.raises(_Killed):
        finetune(data, backbone, config, tmp_path / "killed", Hooks(on_evaluate=kill))
    finetune(data, backbone, config, tmp_path / "killed")
    assert _outputs(tmp_path / "killed") == _outputs(tmp_path / "whole")


def test_other_models_are_refused(backbone: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a 'finetuned' model: 'gpt'; fine-tune it first"):
        load_finetuned(backbone)
    finetune(data, backbone, QUICK.model_copy(update={"epochs": 0.5}), tmp_path / "classifier")
    with pytest.raises(ValueError, match="'finetuned' cannot be fine-tuned \\(it is fine-tuned already"):
        finetune(data, tmp_path / "classifier", QUICK, tmp_path / "again")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ValueError, match=r"of type 't5' is none of ours; gpt2, .*albert"):
        open_backbone(tmp_path / "theirs")


def test_a_set_without_its_splits_is_refused(backbone: Path, data: Path, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", "single", test=0)
    result = finetune(folder, backbone, QUICK.model_copy(update={"epochs": 0.5}), tmp_path / "out")
    assert "test" not in result
    (folder / "valid.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"valid.parquet: the set has no valid split"):
        finetune(folder, backbone, QUICK, tmp_path / "again")


# --- configuration ---------------------------------------------------------------------------------------------------


def test_config_resolves_and_plans() -> None:
    model = GPTConfig(layers=1, width=8, heads=1, context=8, vocab=16)
    config = FinetuneConfig(batch=4, warmup=0.2, evaluations=5, precision="auto")
    resolved = config.resolve(model)
    assert "auto" not in json.loads(resolved.model_dump_json()).values()
    assert (resolved.pooling, resolved.auxiliary_weight, resolved.scored_piece) == ("mean", 0.5, "last")
    assert resolved.resolve(model) == resolved
    encoder = config.resolve(BertConfig(layers=1, width=8, heads=1, vocab=16))
    assert (encoder.pooling, encoder.auxiliary_weight, encoder.scored_piece) == ("pooler", 0.0, "first")
    plan = resolved.train_config(model, 100)
    assert (plan.schedule.warmup_steps, plan.eval_interval, plan.select) == (20, 20, "best")
    assert FinetuneConfig(warmup=0).train_config(model, 10).schedule.warmup_steps == 0
    assert FinetuneConfig(warmup=1).train_config(model, 10).schedule.warmup_steps == 10
    assert FinetuneConfig(schedule="stlr").train_config(model, 10).schedule.shape == "stlr"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lamda": 1}, "Extra inputs"),
        ({"auxiliary_weight": -0.5}, "auxiliary_weight must not be below 0"),
        ({"freeze": -1}, "freeze must be `all` or a number of layers"),
        ({"freeze": 2, "lora": {}}, "lora freezes the whole backbone"),
        ({"unfreeze_epochs": 1, "freeze": "all"}, "unfreeze_epochs needs layers that may learn"),
        ({"class_weights": [1, -1]}, "class_weights must not be below 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FinetuneConfig.model_validate(values)


def test_an_encoder_has_no_auxiliary_loss() -> None:
    with pytest.raises(ValueError, match=r"auxiliary_weight is 0.5, but a model of kind 'bert' does not predict"):
        FinetuneConfig(auxiliary_weight=0.5).resolve(BertConfig())


def test_presets_by_name() -> None:
    gpt1, bert = finetune_preset("gpt1"), finetune_preset("bert", learning_rate=5e-5)
    assert (gpt1.learning_rate, gpt1.batch, gpt1.epochs, gpt1.auxiliary_weight) == (6.25e-5, 32, 3, 0.5)
    assert (bert.learning_rate, bert.batch, bert.pooling) == (5e-5, 32, "pooler")
    with pytest.raises(ValueError, match="did you mean 'gpt1'"):
        finetune_preset("gpt-1")
    for name, preset in FINETUNE_PRESETS.items():
        model = BertConfig() if "bert" in name else GPTConfig()
        assert preset.resolve(model).train_config(model, 50).steps == 50


def test_config_is_importable_without_heavy_libraries() -> None:
    code = "import sys, lm.finetune.presets; print([m for m in ('torch', 'sklearn', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_limit_is_the_context_at_most(backbone: Path) -> None:
    pretrained, tokenizer = open_backbone(backbone)
    config = FinetuneConfig(max_tokens=500).resolve(pretrained.settings)
    form = build(ASKS["single"][0], False, pretrained, tokenizer, config).form
    assert form.reader.limit == CONTEXT  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="max_tokens is 5: a sequence of this task needs at least 8"):
        build(ASKS["choice"][0], True, pretrained, tokenizer, config.model_copy(update={"max_tokens": 5}))
