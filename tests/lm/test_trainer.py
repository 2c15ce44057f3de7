"""The trainer: resumes to the same bits, reports once, stops when asked and before harm."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.config import OptimizerConfig, TrainConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.objectives.causal import CausalObjective
from lm.order import examples_at
from lm.stop import Interrupted
from lm.train.checkpoint import CorruptCheckpoint, list_checkpoints
from lm.train.hooks import Hooks
from lm.train.non_finite import NonFiniteError
from lm.train.objective import Batch, Losses
from lm.train.trainer import Trainer

MODEL = GPTConfig(layers=2, width=16, heads=2, context=8, vocab=40, dropout=0.1)
STEPS = 12


@dataclass
class Copies:
    """Sequences that repeat one token: quickly learned."""

    fingerprint: str = "copies"
    seen: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return 29

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        self.seen.append(indices)
        return {"tokens": torch.from_numpy(indices)[:, None].expand(-1, 9).contiguous()}


@dataclass
class Journal:
    """Everything the hooks were told."""

    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    evaluations: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    samples: list[tuple[int, str, str]] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)

    def hooks(self) -> Hooks:
        return Hooks(
            on_metrics=lambda s, f: self.metrics.append((s, f)),
            on_evaluate=lambda s, f: self.evaluations.append((s, f)),
            on_sample=lambda s, p, t: self.samples.append((s, p, t)),
            on_progress=lambda s, n: self.progress.append((s, n)),
            on_checkpoint=lambda s, _: self.checkpoints.append(s),
        )


def trainer(directory: Path, journal: Journal | None = None, **changes: Any) -> Trainer:
    fields = {
        "batch": 6,
        "metrics_interval": 2,
        "eval_interval": 3,
        "sample_interval": 4,
        "checkpoint_seconds": 0,
        "precision": "fp32",
        "optimizer": OptimizerConfig(learning_rate=0.01),
        **changes.pop("config", {}),
    }
    model = changes.pop("model", None) or GPT(MODEL, seed=0)
    parts: dict[str, Any] = {
        "objective": CausalObjective(np.ones(40, dtype=np.int64)),
        "examples": Copies(),
        "steps": STEPS,
        "evaluate": lambda m: {"bits_per_byte": float(m.token_embedding.weight.abs().sum())},
        "sample": lambda m, prompt, seed: f"{prompt}{seed % 7}",
        **changes,
    }
    config = TrainConfig(steps=parts["steps"], **fields).resolve(MODEL)
    hooks = journal.hooks() if journal else Hooks()
    return Trainer(model=model, config=config, directory=directory, hooks=hooks, **parts)


def weights(t: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in t.model.parameters()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class StopAt:
    """Asks to stop at the n-th poll."""

    def __init__(self, poll: int) -> None:
        self.left = poll

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_it_learns(tmp_path: Path) -> None:
    journal = Journal()
    t = trainer(tmp_path, journal, steps=150, config={"metrics_interval": 1})
    result = t.run()
    assert journal.metrics[-1][1]["loss"] < 0.4 * journal.metrics[0][1]["loss"]
    assert result.step == 150
    assert result.tokens == 150 * 6 * 8
    assert result.resumed_from is None
    assert result.checkpoint.is_dir()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stops", [[1], [2], [7], [12], [3, 2, 1, 4]])
def test_stopped_and_resumed_gives_the_same_bits_and_the_same_journal(
    tmp_path: Path, stops: list[int], precision: str
) -> None:
    config = {"precision": precision}
    straight, whole = Journal(), trainer(tmp_path / "a", config=config)
    whole.hooks = straight.hooks()
    whole.run()
    broken = Journal()
    for poll in stops:
        torch.manual_seed(poll)  # the surroundings' random state must not matter
        with pytest.raises(Interrupted, match="asked to stop while training"):
            trainer(tmp_path / "b", broken, config=config, should_stop=StopAt(poll)).run()
    last = trainer(tmp_path / "b", broken, config=config)
    result = last.run()
    assert equal(weights(whole), weights(last))
    assert result.tokens == STEPS * 6 * 8

    def comparable(journal: Journal) -> Any:
        metrics = [(s, {k: v for k, v in f.items() if k != "tokens_per_second"}) for s, f in journal.metrics]
        return metrics, journal.evaluations, journal.samples, journal.progress

    assert comparable(broken) == comparable(straight)
    final = f"step-{STEPS:08d}"
    for name in ("model.safetensors", "optim.safetensors", "state.json"):
        assert (tmp_path / "a" / final / name).read_bytes() == (tmp_path / "b" / final / name).read_bytes()


def test_a_finished_run_only_hands_back_its_weights(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.run()
    journal = Journal()
    again = trainer(tmp_path, journal)
    result = again.run()
    assert equal(weights(first), weights(again))
    assert journal == Journal()
    assert result.resumed_from == STEPS


def test_being_stopped_inside_an_evaluation_repeats_just_that_evaluation(tmp_path: Path) -> None:
    calls = []

    def evaluate(_model: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted("asked to stop while evaluating")
        return {"bits_per_byte": 1.0}

    journal = Journal()
    with pytest.raises(Interrupted, match="evaluating"):
        trainer(tmp_path, journal, evaluate=evaluate).run()
    assert [s for s, _ in list_checkpoints(tmp_path)][-1] == 6
    trainer(tmp_path, journal, evaluate=evaluate).run()
    assert [s for s, _ in journal.evaluations] == [0, 3, 6, 9, 12]


def test_what_is_reported_and_when(tmp_path: Path) -> None:
    journal = Journal()
    trainer(tmp_path, journal, config={"sample_prompts": ("a", "b"), "metrics_interval": 5}).run()
    assert [s for s, _ in journal.metrics] == [5, 10, 12]
    assert [s for s, _ in journal.evaluations] == [0, 3, 6, 9, 12]
    assert [(s, p) for s, p, _ in journal.samples] == [(s, p) for s in (0, 4, 8, 12) for p in "ab"]
    assert journal.progress == [(s, STEPS) for s in range(1, STEPS + 1)]
    assert set(journal.metrics[0][1]) == {
        "loss",
        "bits_per_byte",
        "learning_rate",
        "grad_norm",
        "tokens",
        "tokens_per_second",
    }
    assert journal.metrics[0][1]["tokens"] == 5 * 6 * 8
    # one byte a token here
    assert journal.metrics[0][1]["bits_per_byte"] == pytest.approx(journal.metrics[0][1]["loss"] / np.log(2))


@pytest.mark.parametrize("micro_batch", [1, 2, 4, 5])
def test_micro_batches_change_neither_data_order_nor_result(tmp_path: Path, micro_batch: int) -> None:
    def run(size: int) -> Trainer:
        plain = GPT(MODEL.model_copy(update={"dropout": 0.0}), seed=0).double()
        t = trainer(tmp_path / str(size), model=plain, config={"micro_batch": size})
        t.run()
        return t

    large, small = run(6), run(micro_batch)
    assert np.array_equal(np.concatenate(large.examples.seen), np.concatenate(small.examples.seen))
    for a, b in zip(weights(large), weights(small), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_examples_come_in_the_order_of_the_seed(tmp_path: Path) -> None:
    t = trainer(tmp_path, config={"seed": 5})
    t.run()
    assert np.array_equal(np.concatenate(t.examples.seen), examples_at(0, STEPS * 6, 29, 5))


def test_the_seed_changes_dropout(tmp_path: Path) -> None:
    class Same(Copies):
        def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
            return {"tokens": torch.arange(9).expand(len(indices), 9).contiguous()}

    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        t = trainer(tmp_path / name, examples=Same(), config={"seed": seed})
        t.run()
        runs.append(weights(t))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


def test_clipping_bounds_the_update_not_the_report(tmp_path: Path) -> None:
    norms = {}
    for clip in (0.0, 1e-3):
        journal = Journal()
        trainer(tmp_path / str(clip), journal, steps=1, config={"clip": clip}).run()
        norms[clip] = journal.metrics[0][1]["grad_norm"]
    assert norms[0.0] == norms[1e-3] > 1e-3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_stops_before_the_update(tmp_path: Path, bad: float, where: str) -> None:
    class Breaks(CausalObjective):
        calls = 0

        def losses(self, model: torch.nn.Module, batch: Batch) -> Losses:
            losses = super().losses(model, batch)
            Breaks.calls += 1
            if Breaks.calls == 8:
                total = losses.terms["causal"].total
                if where == "loss":
                    losses.terms["causal"] = type(losses.terms["causal"])(total * bad, 1.0)
                else:
                    total.register_hook(lambda gradient: gradient * bad)
            return losses

    t = trainer(tmp_path, objective=Breaks(), evaluate=None, config={"checkpoint_interval": 1})
    with pytest.raises(NonFiniteError, match=r"step 7: .* is not finite; nothing was updated") as error:
        t.run()
    assert str(examples_at(42, 6, 29, 0)[0]) in str(error.value)
    assert all(w.isfinite().all() for w in weights(t))
    assert [s for s, _ in list_checkpoints(tmp_path)][-1] == 7


def test_checkpoints_by_step_and_retention_of_the_best(tmp_path: Path) -> None:
    values = iter([5.0, 3.0, 4.0, 4.5, 9.0])
    journal = Journal()
    t = trainer(
        tmp_path,
        journal,
        evaluate=lambda _: {"bits_per_byte": next(values)},
        config={"checkpoint_interval": 5, "keep_last": 1, "select": "best"},
    )
    result = t.run()
    assert journal.checkpoints == [3, 5, 10, 12]
    assert [s for s, _ in list_checkpoints(tmp_path)] == [3, 12]
    assert (result.best_step, result.best_value) == (3, 3.0)
    short = trainer(tmp_path / "short", evaluate=None, should_stop=StopAt(4))
    with pytest.raises(Interrupted):
        short.run()
    assert equal(weights(t), weights(short))  # the weights of step 3 were handed back


def test_best_weights_that_were_damaged_are_not_handed_back(tmp_path: Path) -> None:
    values = iter([5.0, 3.0, 4.0, 4.5, 9.0])

    def looked(_: Any) -> dict[str, float]:
        if (value := next(values)) == 9.0:
            weights_file = tmp_path / "step-00000003" / "model.safetensors"
            weights_file.write_bytes(weights_file.read_bytes()[:-1] + b"\x01")
        return {"bits_per_byte": value}

    with pytest.raises(CorruptCheckpoint, match=r"step-00000003/model.safetensors: size or sha256 differs"):
        trainer(tmp_path, evaluate=looked, config={"select": "best"}).run()


def test_checkpoints_by_time(tmp_path: Path) -> None:
    journal = Journal()
    trainer(tmp_path, journal, evaluate=None, config={"checkpoint_seconds": 1e-9}).run()
    assert journal.checkpoints == list(range(1, STEPS + 1))


def test_another_thread_count_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Interrupted):
        trainer(tmp_path, should_stop=StopAt(2)).run()
    with caplog.at_level(logging.WARNING):
        trainer(tmp_path, config={"micro_batch": 3}).run()
    assert "the last bits may differ: micro_batch was 6, is 3" in caplog.text


def test_lower_rates_for_some_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm.train import trainer as module

    original = module.make_optimizer

    def frozen_matrices(model: torch.nn.Module, *rest: Any) -> torch.optim.AdamW:
        optimizer = original(model, *rest)
        optimizer.param_groups[0]["scale"] = 0.0
        return optimizer

    monkeypatch.setattr(module, "make_optimizer", frozen_matrices)
    t = trainer(tmp_path)
    before = dict(zip([n for n, _ in t.model.named_parameters()], weights(t), strict=True))
    t.run()
    for name, p in t.model.named_parameters():
        assert torch.equal(p, before[name]) == (p.dim() >= 2), name


def test_the_optimiser_multiplies_in_the_precision_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm.train import muon

    seen: set[torch.dtype] = set()
    original = muon.orthogonalise
    monkeypatch.setattr(muon, "orthogonalise", lambda x: seen.add(x.dtype) or original(x))
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        seen.clear()
        optimizer = OptimizerConfig(method="muon", learning_rate=0.01)
        trainer(tmp_path / precision, config={"precision": precision, "optimizer": optimizer}, steps=1).run()
        assert seen == {dtype}


def test_unusable_requests_are_refused(tmp_path: Path) -> None:
    class Nothing(Copies):
        def __len__(self) -> int:
            return 0

    with pytest.raises(ValueError, match="no examples"):
        trainer(tmp_path, examples=Nothing()).run()
    t = trainer(tmp_path)
    t.config = TrainConfig(steps=3)
    with pytest.raises(ValueError, match="resolve the configuration first"):
        t.run()
    with pytest.raises(ValueError, match="nothing was evaluated"):
        trainer(tmp_path, evaluate=None, config={"select": "best"}).run()
