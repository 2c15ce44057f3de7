"""Bad steps: stopped at, skipped or rolled back from, against a loop written out here; the same whatever kills come."""

import copy
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lm.train.checkpoint
from lm.config import GuardConfig, OptimizerConfig, TrainConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.objectives.causal import CausalObjective
from lm.order import draw_seed, examples_at
from lm.stop import Interrupted
from lm.train.checkpoint import list_checkpoints
from lm.train.checkpoint_files import FILES, entry
from lm.train.guard import judge, spike_limit
from lm.train.hooks import Hooks
from lm.train.identity import train_identity
from lm.train.non_finite import NonFiniteError
from lm.train.objective import Losses
from lm.train.optim import clip_gradients, make_optimizer
from lm.train.ranks import Alone
from lm.train.schedule import learning_rate_factor
from lm.train.state import RunState
from lm.train.trainer import Trainer

MODEL = GPTConfig(layers=1, width=16, heads=2, context=8, vocab=40, dropout=0.1)
STEPS, BATCH = 24, 6
NAN = float("nan")


class Copies:
    """Sequences that repeat one token, the example's number."""

    fingerprint = "copies"

    def __len__(self) -> int:
        return 29

    def batch(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        return {"tokens": torch.from_numpy(indices)[:, None].expand(-1, 9).contiguous()}


def read_at(step: int) -> np.ndarray:
    return examples_at(step * BATCH, BATCH, 29, 0)


class Bad(CausalObjective):
    """Multiplies the loss of given steps, which it knows by their examples."""

    def __init__(self, factors: dict[int, float]) -> None:
        super().__init__(np.ones(40, dtype=np.int64))
        self.factors = {tuple(read_at(step)): factor for step, factor in factors.items()}

    def losses(self, model: Any, batch: Any) -> Losses:
        losses = super().losses(model, batch)
        for term in losses.terms.values():
            object.__setattr__(term, "total", term.total * self.factors.get(tuple(batch["tokens"][:, 0].tolist()), 1.0))
        return losses


def settings(**guard: Any) -> TrainConfig:
    config = TrainConfig.model_validate(
        {
            **{"steps": STEPS, "batch": BATCH, "micro_batch": BATCH, "eval_interval": 0, "sample_interval": 0},
            **{"checkpoint_seconds": 0, "precision": "fp32", "optimizer": OptimizerConfig(learning_rate=0.01)},
            "guard": {"snapshot_interval": 4, "window": 8, **guard},
        }
    )
    return config.resolve(MODEL).resolve_steps(STEPS)


def trainer(folder: Path, factors: dict[int, float], told: list[Any] | None = None, **guard: Any) -> Trainer:
    told = [] if told is None else told
    hooks = Hooks(on_mishap=lambda step, record: told.append((step, record)))
    model = GPT(MODEL, seed=0)
    config = settings(**guard)
    return Trainer(model, Bad(factors), Copies(), config, STEPS, folder, hooks=hooks)


def by_hand(factors: dict[int, float], back: bool) -> tuple[list[torch.Tensor], int]:
    """The weights, and the tokens learned from, of a loop that leaves the bad steps out, or goes back as well."""
    config = settings()
    model, objective = GPT(MODEL, seed=0), CausalObjective(np.ones(40, dtype=np.int64))
    optimizer = make_optimizer(model, config.optimizer, "fp32", None)
    snapshots: dict[int, Any] = {}
    tokens = 0
    for step in range(STEPS):
        if step % 4 == 0:
            snapshots[step] = copy.deepcopy((model.state_dict(), optimizer.state_dict(), tokens))
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * learning_rate_factor(step, STEPS, config.schedule) * group.get("scale", 1.0)
        model.train()
        torch.manual_seed(draw_seed(0, step, "dropout"))
        batch = Copies().batch(read_at(step))
        losses = objective.losses(model, batch)
        (next(iter(losses.terms.values())).total / (BATCH * 8)).backward()
        clip_gradients(model, optimizer, config.clip)
        if step not in factors:
            optimizer.step()
            tokens += BATCH * 8
        elif back:
            weights, moments, tokens = copy.deepcopy(snapshots[max(at for at in snapshots if at <= max(0, step - 2))])
            model.load_state_dict(weights)
            optimizer.load_state_dict(moments)
        optimizer.zero_grad(set_to_none=True)
    return [p.detach() for p in model.parameters()], tokens


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


CASES = [
    ({9: NAN}, {"non_finite": "skip"}),
    ({1: NAN, 9: float("inf"), 10: NAN}, {"non_finite": "skip"}),
    ({1: NAN, 9: NAN, 19: NAN}, {"non_finite": "roll_back"}),
    ({13: 400.0}, {"spike": "skip"}),
    ({13: 400.0, 15: NAN}, {"spike": "roll_back", "non_finite": "skip"}),
]


@pytest.mark.parametrize(("factors", "guard"), CASES[:-1])
def test_what_is_put_right_equals_a_loop_by_hand(
    tmp_path: Path, factors: dict[int, float], guard: dict[str, Any]
) -> None:
    told: list[Any] = []
    run = trainer(tmp_path, factors, told, **guard)
    result = run.run()
    action = next(iter(guard.values()))
    weights, tokens = by_hand(factors, back=action == "roll_back")
    assert same(list(run.model.parameters()), weights)
    assert result.tokens == tokens
    assert [(record["step"], record["action"]) for record in result.mishaps] == [(step, action) for step in factors]
    assert [step for step, _ in told] == list(factors)
    assert result.figures()["mishaps"] == result.mishaps


@pytest.mark.parametrize(("factors", "guard"), CASES)
def test_stopped_and_resumed_on_the_way_it_decides_the_same(
    tmp_path: Path, factors: dict[int, float], guard: dict[str, Any]
) -> None:
    once = trainer(tmp_path / "once", factors, **guard)
    whole = once.run()
    polls = 0

    def a_few_steps() -> bool:
        nonlocal polls
        polls += 1
        return polls > 3

    while True:
        again, polls = trainer(tmp_path / "again", factors, **guard), 0
        again.should_stop = a_few_steps
        try:
            ended = again.run()
            break
        except Interrupted:
            continue
    assert same(list(again.model.parameters()), list(once.model.parameters()))
    assert (ended.mishaps, ended.tokens) == (whole.mishaps, whole.tokens)


def test_a_rollback_killed_before_its_checkpoint_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factors, guard = {9: NAN}, {"non_finite": "roll_back"}
    once = trainer(tmp_path / "once", factors, **guard)
    once.run()
    saving = Trainer._save

    def dying(self: Trainer) -> None:
        if self.rolled_back:
            raise KeyboardInterrupt
        saving(self)

    monkeypatch.setattr(Trainer, "_save", dying)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "again", factors, **guard).run()
    monkeypatch.setattr(Trainer, "_save", saving)
    again = trainer(tmp_path / "again", factors, **guard)
    assert again.run().mishaps[0]["to"] == 4
    assert same(list(again.model.parameters()), list(once.model.parameters()))


def test_a_spike_stops_a_run_that_is_to_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    with pytest.raises(NonFiniteError, match=r"step 13: loss .* is a spike: 6 standard deviations above .* 8 good"):
        trainer(tmp_path, {13: 400.0}, told, spike="stop").run()
    assert told[0][0] == 13
    assert told[0][1]["action"] == "stop"
    assert "step 13: loss" in caplog.text


def test_after_so_many_bad_steps_it_stops(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"step 7: .*after 2 bad steps \(train.guard.limit\)"):
        trainer(tmp_path, {3: NAN, 5: NAN, 7: NAN}, non_finite="skip", limit=2).run()


def test_without_a_snapshot_there_is_nothing_to_roll_back_to(tmp_path: Path) -> None:
    run = trainer(tmp_path, {1: NAN}, non_finite="roll_back")
    run.hooks = Hooks(on_mishap=lambda step, _: [p.rename(tmp_path / "gone") for _, p in list_checkpoints(tmp_path)])
    with pytest.raises(NonFiniteError, match="no good checkpoint to roll back to"):
        run.run()


def test_a_damaged_snapshot_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    run = trainer(tmp_path, {13: NAN}, non_finite="roll_back")

    def damage(step: int, _: Any) -> None:
        (tmp_path / "step-00000008" / "model.safetensors").write_bytes(b"x")

    run.hooks = Hooks(on_mishap=damage)
    assert run.run().mishaps[0]["to"] == 12
    assert "passed over on the way back" in caplog.text


def test_a_run_that_had_no_guard_may_go_on_with_one(tmp_path: Path) -> None:
    plain = trainer(tmp_path, {9: NAN})
    plain.config = plain.config.model_copy(update={"guard": GuardConfig(), "checkpoint_interval": 5})
    with pytest.raises(NonFiniteError, match=r"step 9: .* train\.guard can skip such a step or roll back"):
        plain.run()
    assert trainer(tmp_path, {9: NAN}, non_finite="roll_back").run().mishaps[0]["to"] == 5


class Later(Alone):
    """Begins to write a checkpoint when the next one is due, or all are to be durable: as late as a slow disk."""

    under_way: Callable[[], None] | None = None

    def save(self, *checkpoint: Any) -> None:
        self.finish()
        self.under_way = partial(super().save, *checkpoint)

    def finish(self) -> None:
        begin, self.under_way = self.under_way, None
        if begin is not None:
            begin()
        super().finish()


@pytest.mark.parametrize("action", ["stop", "roll_back"])
def test_the_checkpoint_that_is_being_written_is_waited_for(tmp_path: Path, action: str) -> None:
    run = trainer(tmp_path, {5: NAN}, non_finite=action)
    run.config, run.ranks = run.config.model_copy(update={"checkpoint_interval": 5}), Later()
    if action == "stop":
        with pytest.raises(NonFiniteError, match="step 5"):
            run.run()
        assert [step for step, _ in list_checkpoints(tmp_path)] == [5]
    else:
        assert run.run().mishaps[0]["to"] == 0


def test_a_bad_step_is_named_though_the_last_checkpoint_failed_too(tmp_path: Path) -> None:
    class Full(Alone):
        def finish(self) -> None:
            raise OSError("the disk is full")

    run = trainer(tmp_path, {5: NAN}, non_finite="stop")
    run.ranks = Full()
    with pytest.raises(NonFiniteError, match="step 5") as caught:
        run.run()
    assert str(caught.value.__cause__) == "the disk is full"


def test_each_file_of_a_snapshot_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, hashed = trainer(tmp_path, {13: NAN}, non_finite="roll_back"), list[Path]()

    def counted(path: Path) -> dict[str, Any]:
        if "tmp" not in path.parent.name:
            hashed.append(path)
        return entry(path)

    monkeypatch.setattr(lm.train.checkpoint, "entry", counted)
    [mishap] = run.run().mishaps
    assert sorted(path.name for path in hashed) == sorted(FILES)
    assert {path.parent.name for path in hashed} == {f"step-{mishap['to']:08d}"}


def test_the_limit_is_mean_and_sample_deviation() -> None:
    values = np.random.default_rng(0).normal(3.0, 0.5, 100)
    limit = spike_limit(list(values), GuardConfig(window=128, sigmas=4.5))
    assert limit == pytest.approx(values.mean() + 4.5 * values.std(ddof=1), rel=1e-12)
    assert spike_limit(list(values[:63]), GuardConfig(window=128)) is None


def test_the_window_holds_good_steps_only() -> None:
    config, state = GuardConfig(spike="skip", non_finite="skip", window=4), RunState()
    for loss in (5.0, 1.0, 1.2, NAN, 1.1, 50.0, 1.0):
        judge(config, state, loss, 1.0)
    assert state.losses == [1.0, 1.2, 1.1, 1.0]


def test_a_guard_left_as_it_is_changes_no_key() -> None:
    config = TrainConfig(steps=1)
    assert "guard" not in config.model_dump(mode="json")
    assert "guard" not in train_identity(config)
    guarded = TrainConfig.model_validate({"steps": 1, "guard": {"non_finite": "skip"}})
    assert guarded.model_dump(mode="json")["guard"]["non_finite"] == "skip"
    assert "guard" in train_identity(guarded)
