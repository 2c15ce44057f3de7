"""Fine-tuning: the input form, the head, L3 by hand, and runs that are killed and resumed."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from lm.artifact import load_model, save_model
from lm.config import GPTConfig
from lm.finetune.artifact import load_classifier
from lm.finetune.config import FinetuneConfig
from lm.finetune.heads import ClassificationModel, with_special_tokens
from lm.finetune.inputs import ClassificationExamples, class_names, classification_input, read_labelled
from lm.finetune.objective import ClassificationObjective
from lm.finetune.predictions import read_predictions
from lm.finetune.train import build_classifier, finetune, predict
from lm.models.gpt import GPT
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from lm.train.hooks import Hooks
from lm.train.objective import combine, step_totals

CLASSES = ["apples", "boats", "clouds"]
WORDS = {
    "apples": ["red", "sweet", "round"],
    "boats": ["sail", "mast", "keel"],
    "clouds": ["grey", "rain", "high"],
}
COMMON = ["the", "a", "of", "with", "under", "over", "and", "then", "some", "very"]


def _rows(n: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        name = CLASSES[i % 3]
        text = " ".join(draw.choice(COMMON + WORDS[name]) for _ in range(draw.randint(5, 30)))
        rows.append({"id": f"{seed}-{i}", "text": text, "label": i % 3, "label_name": name})
    return rows


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained GPT as a model artifact."""
    tokenizer, directory = (tmp_path_factory.mktemp(name) for name in ("tokenizer", "backbone"))
    train_tokenizer((r["text"] for r in _rows(200, 9)), ByteBPEConfig(vocab_size=290), tokenizer)
    vocab = load_tokenizer(tokenizer).get_vocab_size()
    config = GPTConfig(layers=2, width=32, heads=2, context=24, vocab=vocab)
    save_model(GPT(config, seed=7), tokenizer, directory)
    return directory


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("labelled")
    sizes = {"train": 32, "valid": 13, "test": 14}
    return [_write(directory / f"{s}.parquet", _rows(n, i)) for i, (s, n) in enumerate(sizes.items())]


def _model(backbone: Path, **values: Any) -> ClassificationModel:
    """In float64, so that equal means equal to 12 digits; without dropout."""
    config = FinetuneConfig(dropout=0, head_dropout=0, **values)
    return build_classifier(load_model(backbone)[0], 3, config).double()


def _examples(backbone: Path, file: Path, max_tokens: int = 24) -> ClassificationExamples:
    tokenizer = load_tokenizer(backbone)
    return ClassificationExamples(read_labelled(file), tokenizer, tokenizer.get_vocab_size(), max_tokens)


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_input_is_start_text_extract() -> None:
    assert classification_input([5, 6, 7], 100, 5).tolist() == [100, 5, 6, 7, 101]
    assert classification_input([5, 6, 7], 100, 4).tolist() == [100, 5, 6, 101]
    assert classification_input([], 100, 4).tolist() == [100, 101]


def test_batch_is_padded_on_the_right(backbone: Path, files: list[Path]) -> None:
    examples = _examples(backbone, files[0])
    batch = examples.batch(np.array([4, 0, 9]))
    assert batch["tokens"].shape == (3, int(batch["lengths"].max()))
    for row, index in enumerate((4, 0, 9)):
        length = batch["lengths"][row]
        assert batch["tokens"][row, :length].tolist() == examples.inputs[index].tolist()
        assert not batch["tokens"][row, length:].any()
    assert batch["labels"].tolist() == [1, 0, 0]
    assert examples.lengths.max() == 24


def test_fingerprint_follows_texts_and_labels(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    rows = _rows(32, 0)
    assert (
        _examples(backbone, _write(tmp_path / "a.parquet", rows)).fingerprint
        == _examples(backbone, files[0]).fingerprint
    )
    seen = {_examples(backbone, files[0]).fingerprint, _examples(backbone, files[0], 12).fingerprint}
    for field, value in (("text", "the keel"), ("label", 2)):
        changed = [dict(r) for r in rows]
        changed[3][field] = value
        changed[3]["label_name"] = CLASSES[changed[3]["label"]]
        seen.add(_examples(backbone, _write(tmp_path / f"{field}.parquet", changed)).fingerprint)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{k: v for k, v in r.items() if k != "label"} for r in rows], "no column label"),
        (lambda rows: rows[:0], "no column id|no examples"),
        (lambda rows: [{**rows[0], "label": 1}, *rows], "label 1 is called both 'apples' and 'boats'"),
    ],
)
def test_bad_labelled_files_are_named(tmp_path: Path, change: Any, message: str) -> None:
    path = _write(tmp_path / "bad.parquet", change(_rows(6, 0)))
    with pytest.raises(ValueError, match=message) as error:
        read_labelled(path)
    assert str(path) in str(error.value)


def test_classes_must_agree_between_files(files: list[Path], tmp_path: Path) -> None:
    train = read_labelled(files[0])
    assert class_names(train, read_labelled(files[1])) == CLASSES
    with pytest.raises(ValueError, match=r"label 2 \('clouds'\) is None in .*train.parquet"):
        class_names(replace(train, names={0: "apples", 1: "boats"}), read_labelled(files[1]))
    with pytest.raises(ValueError, match=r"0..C-1 with none missing, got \[0, 2\]"):
        class_names(replace(train, names={0: "apples", 2: "clouds"}))


# --- model -----------------------------------------------------------------------------------------------------------


def test_only_the_special_rows_are_new(backbone: Path) -> None:
    plain, _ = load_model(backbone)
    extended = with_special_tokens(plain, seed=1, dropout=0.1)
    assert extended.config == plain.config.model_copy(update={"vocab": plain.config.vocab + 2, "dropout": 0.1})
    assert extended.config.parameter_count() == plain.config.parameter_count() + 2 * plain.config.width
    old, new = plain.state_dict(), extended.state_dict()
    assert list(old) == list(new)
    for name, tensor in old.items():
        assert torch.equal(new[name][: len(tensor)], tensor)
    tokens = torch.arange(20)[None]
    assert torch.equal(extended.eval()(tokens)[..., :-2], plain.eval()(tokens))


def test_new_weights_come_from_the_paper_and_the_seed(backbone: Path) -> None:
    wide = GPT(GPTConfig(layers=1, width=1024, heads=1, context=4, vocab=4))
    rows = with_special_tokens(wide, seed=1).token_embedding.weight[-2:]
    head = ClassificationModel(wide, 9, seed=1).head
    for weight in (rows, head.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert abs(weight.mean().item()) < 0.002
    assert not head.bias.any()
    assert not torch.equal(head.weight, ClassificationModel(wide, 9, seed=2).head.weight)


@pytest.mark.parametrize("initialisation", ["pretrained", "random"])
def test_initialisation_decides_the_backbone(backbone: Path, initialisation: Any) -> None:
    weights = load_file(backbone / "model.safetensors")
    pretrained, _ = load_model(backbone)
    configs = [FinetuneConfig(initialisation=initialisation, seed=seed) for seed in (0, 0, 1)]
    models = [build_classifier(pretrained, 3, config) for config in configs]
    blocks = [m.backbone.blocks[0].expand.weight for m in models]
    is_pretrained = [torch.equal(b, weights["blocks.0.expand.weight"]) for b in blocks]
    assert is_pretrained == [initialisation == "pretrained"] * 3
    assert torch.equal(blocks[0], blocks[1])
    assert torch.equal(blocks[0], blocks[2]) == (initialisation == "pretrained")


@pytest.mark.parametrize("pooling", ["extract", "mean"])
def test_padding_changes_no_logit(backbone: Path, files: list[Path], pooling: str) -> None:
    model, examples = _model(backbone, pooling=pooling).eval(), _examples(backbone, files[0])
    batch = examples.batch(np.arange(32))
    together, _ = model(batch["tokens"], batch["lengths"])
    for index in range(32):
        alone = examples.batch(np.array([index]))
        assert alone["tokens"].shape[1] == alone["lengths"][0]
        torch.testing.assert_close(model(alone["tokens"], alone["lengths"])[0][0], together[index], atol=1e-12, rtol=0)
    padding = torch.arange(batch["tokens"].shape[1]) >= batch["lengths"][:, None]
    assert padding.any()
    other = batch["tokens"].masked_fill(padding, 77)
    assert torch.equal(model(other, batch["lengths"])[0], together)


# --- objective -------------------------------------------------------------------------------------------------------


def _by_hand(model: ClassificationModel, examples: ClassificationExamples, weight: float) -> torch.Tensor:
    """L3 = mean over examples of -ln P(y|x) + weight * mean over tokens of -ln P(x_t|x_<t), one example at a time."""
    label_nats, token_nats, tokens = torch.zeros(()).double(), torch.zeros(()).double(), 0
    for ids, label in zip(examples.inputs, examples.labels, strict=True):
        x = torch.from_numpy(ids)[None]
        hidden = model.backbone.hidden_states(x)[0]
        pooled = hidden[-1] if model.pooling == "extract" else hidden.mean(0)
        scores = model.head.weight @ pooled + model.head.bias
        label_nats = label_nats - scores.log_softmax(0)[label]
        log_p = (hidden @ model.backbone.token_embedding.weight.T).log_softmax(-1)
        for t in range(1, len(ids)):
            token_nats, tokens = token_nats - log_p[t - 1, ids[t]], tokens + 1
    return label_nats / len(examples) + weight * token_nats / tokens


def _gradients(model: ClassificationModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def _step(
    model: ClassificationModel, examples: ClassificationExamples, weight: float, micro_batch: int
) -> torch.Tensor:
    objective = ClassificationObjective(weight)
    n = len(examples)
    batches = [examples.batch(np.arange(i, min(i + micro_batch, n))) for i in range(0, n, micro_batch)]
    totals = step_totals(objective, batches)
    return torch.stack([combine(objective.losses(model, b), totals) for b in batches]).sum()


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("micro_batch", "pooling"), [(1, "extract"), (5, "extract"), (32, "extract"), (5, "mean")])
def test_l3_equals_the_hand_computation_under_any_accumulation(
    backbone: Path, files: list[Path], weight: float, micro_batch: int, pooling: str
) -> None:
    model, examples = _model(backbone, pooling=pooling), _examples(backbone, files[0])
    loss, expected = _step(model, examples, weight, micro_batch), _by_hand(model, examples, weight)
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=0)
    found, wanted = _gradients(model, loss), _gradients(model, expected)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-12, rtol=0)


def test_counts_are_announced_and_padding_is_not_counted(backbone: Path, files: list[Path]) -> None:
    model, examples = _model(backbone), _examples(backbone, files[0])
    batch, objective = examples.batch(np.arange(7)), ClassificationObjective(0.5)
    losses = objective.losses(model, batch)
    assert {name: term.count for name, term in losses.terms.items()} == objective.counts(batch)
    assert objective.counts(batch) == {"classification": 7, "language": sum(len(i) - 1 for i in examples.inputs[:7])}
    assert {name: term.weight for name, term in losses.terms.items()} == {"classification": 1, "language": 0.5}
    assert objective.tokens(batch) == sum(len(i) for i in examples.inputs[:7])
    padding = torch.arange(batch["tokens"].shape[1]) >= batch["lengths"][:, None]
    other = {**batch, "tokens": batch["tokens"].masked_fill(padding, 77)}
    for name, term in objective.losses(model, other).terms.items():
        assert torch.equal(term.total, losses.terms[name].total)


def test_weight_zero_is_l2_alone(backbone: Path, files: list[Path]) -> None:
    model, batch = _model(backbone), _examples(backbone, files[0]).batch(np.arange(9))
    alone, joint = (ClassificationObjective(w).losses(model, batch).terms for w in (0.0, 0.5))
    assert list(alone) == ["classification"]
    assert ClassificationObjective(0.0).counts(batch) == {"classification": 9}
    assert torch.equal(alone["classification"].total, joint["classification"].total)


# --- runs ------------------------------------------------------------------------------------------------------------

OUTPUTS = ["config.json", "metrics.json", "model.safetensors", "predictions.parquet"]
QUICK = FinetuneConfig(epochs=3, batch=8, learning_rate=3e-3, evaluations=3, device="cpu", precision="fp32")


def _outputs(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in OUTPUTS}


def test_a_run_overfits_32_examples(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"epochs": 15, "dropout": 0.0, "head_dropout": 0.0})
    result = finetune(files[0], files[0], files[2], backbone, config, tmp_path)
    assert result["valid"]["accuracy"] == 1.0
    assert result["test"]["accuracy"] > 0.6
    assert result["classes"] == CLASSES


def test_outputs_describe_the_run(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    hooks = Hooks(on_evaluate=lambda step, figures: seen.append((step, figures)))
    result = finetune(*files, backbone, QUICK.model_copy(update={"pooling": "mean"}), tmp_path, hooks)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*OUTPUTS, "tokenizer.json", "tokenizer_config.json"])
    assert [step for step, _ in seen] == [0, 4, 8, 12]
    # the first of the best on dev is what is kept and predicted with; the untrained model does not count
    best = min(seen[1:], key=lambda s: s[1]["error_rate"])
    assert (result["best_step"], result["valid"]["accuracy"]) == (best[0], best[1]["accuracy"])
    model, _, names = load_classifier(tmp_path)
    assert names == CLASSES
    for split, file in (("valid", files[1]), ("test", files[2])):
        predictions = read_predictions(tmp_path / "predictions.parquet", split)
        assert predictions.ids == read_labelled(file).ids
        assert predictions.scores() == result[split]
        again = predict(model, _examples(backbone, file))
        np.testing.assert_array_equal(again, predictions.probabilities)
        np.testing.assert_allclose(predictions.probabilities.sum(1), 1, atol=1e-6)


def test_seed_decides_everything(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = QUICK.model_copy(update={"epochs": 1, "initialisation": "random", "seed": seed})
        finetune(*files, backbone, config, tmp_path / name)
        runs.append(_outputs(tmp_path / name))
    assert runs[0] == runs[1]
    assert runs[0]["model.safetensors"] != runs[2]["model.safetensors"]


def test_stopped_and_resumed_ends_in_the_same_bits(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    finetune(*files, backbone, QUICK, tmp_path / "undisturbed")
    polls = stops = 0

    def every_fifth_time() -> bool:
        nonlocal polls
        polls += 1
        return polls % 5 == 0

    while True:
        try:
            finetune(*files, backbone, QUICK, tmp_path / "stopped", should_stop=every_fifth_time)
            break
        except Interrupted:
            stops += 1
    assert stops >= 3
    assert _outputs(tmp_path / "stopped") == _outputs(tmp_path / "undisturbed")


class _Killed(Exception):
    pass


def test_killed_without_warning_ends_in_the_same_bits(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"checkpoint_interval": 2})
    finetune(*files, backbone, config, tmp_path / "undisturbed")
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
            finetune(*files, backbone, config, tmp_path / "killed", kill_at(moment))
    finetune(*files, backbone, config, tmp_path / "killed", kill_at(-1))
    # each run goes on from the last even step that was completed before the kill
    assert steps == [1, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12, 11, 12]
    assert _outputs(tmp_path / "killed") == _outputs(tmp_path / "undisturbed")


def test_other_kinds_of_model_are_refused(backbone: Path, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a 'gpt_classifier' model: 'gpt'"):
        load_classifier(backbone)
    finetune(*files, backbone, QUICK.model_copy(update={"epochs": 0.5}), tmp_path / "classifier")
    with pytest.raises(ValueError, match="gpt_classifier"):
        finetune(*files, tmp_path / "classifier", QUICK, tmp_path / "again")


# --- configuration ---------------------------------------------------------------------------------------------------


def test_config_resolves_and_plans() -> None:
    model = GPTConfig(layers=1, width=8, heads=1, context=8, vocab=16)
    config = FinetuneConfig(batch=4, warmup=0.2, evaluations=5, precision="auto")
    resolved = config.resolve(model)
    assert "auto" not in json.loads(resolved.model_dump_json()).values()
    assert resolved.resolve(model) == resolved
    plan = resolved.train_config(model, 100)
    assert (plan.schedule.warmup_steps, plan.eval_interval, plan.select) == (20, 20, "best")
    assert FinetuneConfig(warmup=0).train_config(model, 10).schedule.warmup_steps == 0
    assert FinetuneConfig(warmup=1).train_config(model, 10).schedule.warmup_steps == 10
    with pytest.raises(ValidationError, match="Extra inputs"):
        FinetuneConfig(lamda=1)  # type: ignore[call-arg]


def test_config_is_importable_without_heavy_libraries() -> None:
    code = "import sys, lm.finetune.config; print([m for m in ('torch', 'sklearn', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
