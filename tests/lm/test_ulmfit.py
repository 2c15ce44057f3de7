"""ULMFiT's schedule, rates, freezing and pooling against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.finetune.schedule import GradualUnfreezing, concat_pooling, discriminative_groups, layer_scales
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order
from lm.stop import Interrupted
from lm.streams import ArrayPieces, Lanes
from lm.train.optim import make_optimizer
from lm.train.schedule import learning_rate_factor
from lm.train.trainer import Trainer


def test_the_slanted_triangle_by_hand() -> None:
    """T = 100, cut_frac = .1, ratio = 32: cut = 10; lr_t = lr_max (1 + 31 p) / 32."""
    config = ScheduleConfig(shape="stlr")
    got = [learning_rate_factor(t, 100, config) for t in range(100)]
    assert got[0] == pytest.approx(1 / 32)
    assert got[5] == pytest.approx((1 + 31 * 0.5) / 32)
    assert got[10] == 1.0
    assert got[55] == pytest.approx((1 + 31 * 0.5) / 32)
    assert got[99] == pytest.approx((1 + 31 / 90) / 32)
    for t in range(100):  # equation 3, as printed
        p = t / 10 if t < 10 else 1 - (t - 10) / (10 * (1 / 0.1 - 1))
        assert got[t] == pytest.approx((1 + p * 31) / 32)


@pytest.mark.parametrize("steps", [1, 2, 9, 15, 29, 101])
def test_it_never_falls_below_its_floor(steps: int) -> None:
    """As printed it would, at 15 steps down to -0.4, where cut_frac * T is no integer."""
    got = [learning_rate_factor(t, steps, ScheduleConfig(shape="stlr")) for t in range(steps)]
    assert min(got) >= 1 / 32
    assert max(got) <= 1.0
    half = [
        learning_rate_factor(t, steps, ScheduleConfig(shape="stlr", cut_fraction=0.5, ratio=4)) for t in range(steps)
    ]
    assert min(half) >= 1 / 4


def test_each_layer_down_learns_at_a_rate_2_6_times_smaller() -> None:
    assert layer_scales(4) == pytest.approx([1 / 17.576, 1 / 6.76, 1 / 2.6, 1.0])
    assert layer_scales(3, factor=2.0) == [0.25, 0.5, 1.0]


def layers_of(model: RNNLM) -> list[list[nn.Parameter]]:
    assert model.head is not None
    stack = [[*cells.parameters()] for layer in model.recurrent.layers() for cells in layer.values()]
    return [[model.token_embedding.weight], *stack, [model.head.weight, model.head_bias]]


def small() -> RNNLM:
    return RNNLM(RNNConfig(cell="gru", embedding=4, width=5, layers=2, vocab=11), seed=0)


def test_groups_cover_every_parameter_once() -> None:
    model = small()
    layers = layers_of(model)
    groups = discriminative_groups(layers, weight_decay=0.3)
    params = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
    assert {id(p) for p in params} == {id(p) for p in model.parameters()}
    assert len(params) == len(list(model.parameters()))
    assert all((p.dim() >= 2) == (g["weight_decay"] > 0) for g in groups for p in g["params"])  # type: ignore[attr-defined, operator]
    scales = {id(p): g["scale"] for g in groups for p in g["params"]}  # type: ignore[attr-defined]
    for layer, expected in zip(layers, [1 / 17.576, 1 / 6.76, 1 / 2.6, 1.0], strict=True):
        assert [scales[id(p)] for p in layer] == pytest.approx([expected] * len(layer))
    frozen = layers[0][0].requires_grad_(False)
    groups = discriminative_groups(layers, 0.0)
    assert all(p is not frozen for g in groups for p in g["params"])  # type: ignore[attr-defined]


def test_one_step_moves_each_layer_by_its_own_rate() -> None:
    """SGD with equal gradients: the rate a group's `scale` gives."""
    layers = [[nn.Parameter(torch.zeros(2, 2))] for _ in range(3)]
    groups = discriminative_groups(layers, 0.0)
    optimizer = torch.optim.SGD(groups, lr=1.0)
    for group in optimizer.param_groups:  # as the trainer does
        group["lr"] = 0.26 * group.get("scale", 1.0)
    for layer in layers:
        layer[0].grad = torch.ones(2, 2)
    optimizer.step()
    assert [float(layer[0].detach()[0, 0]) for layer in layers] == pytest.approx([-0.26 / 6.76, -0.1, -0.26])


def one_step(directory: Path, method: str, discriminative: bool) -> list[list[torch.Tensor]]:
    """How far the parameters of each layer move in one step of the trainer."""
    model = small()
    config = TrainConfig(
        steps=1,
        batch=4,
        precision="fp32",
        optimizer=OptimizerConfig.model_validate({"method": method, "learning_rate": 0.1, "weight_decay": 0}),
        schedule=ScheduleConfig(warmup_steps=0),
        eval_interval=0,
        sample_interval=0,
    ).resolve_for(5, 11, 5)
    lanes = Lanes(ArrayPieces(np.random.default_rng(0).integers(0, 11, 200), 5), 4)
    groups = (lambda m: discriminative_groups(layers_of(m), 0.0)) if discriminative else None
    Trainer(model, RecurrentObjective(5), lanes, config, 1, directory, order=in_order, groups=groups).run()
    return [
        [p.detach() - q.detach() for p, q in zip(layer, before, strict=True)]
        for layer, before in zip(layers_of(model), layers_of(small()), strict=True)
    ]


@pytest.mark.parametrize("method", ["adamw", "sgd"])
def test_the_trainer_moves_each_layer_by_its_own_rate(tmp_path: Path, method: str) -> None:
    own, equal = one_step(tmp_path / "own", method, True), one_step(tmp_path / "equal", method, False)
    for scale, ours, theirs in zip([1 / 17.576, 1 / 6.76, 1 / 2.6, 1.0], own, equal, strict=True):
        for moved, at_the_full_rate in zip(ours, theirs, strict=True):
            assert at_the_full_rate.norm() > 0
            assert torch.allclose(moved, scale * at_the_full_rate, atol=1e-6)


def test_muon_refuses_groups() -> None:
    model = small()
    config = OptimizerConfig(method="muon", learning_rate=0.1)
    with pytest.raises(ValueError, match="muon makes its own parameter groups: use adamw or sgd"):
        make_optimizer(model, config, groups=discriminative_groups(layers_of(model), 0.0))


def test_layers_wake_from_the_top() -> None:
    unfreezing = GradualUnfreezing(layers_of(small()), every=10)
    assert unfreezing.trains(0) == unfreezing.trains(9) == [False, False, False, True]
    assert unfreezing.trains(10) == [False, False, True, True]
    assert unfreezing.trains(29) == [False, True, True, True]
    assert unfreezing.trains(30) == unfreezing.trains(10_000) == [True] * 4


class StopAt:
    """Asks to stop at the n-th poll."""

    def __init__(self, poll: int) -> None:
        self.left = poll

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_frozen_layers_stay_and_a_resumed_run_goes_on_alike(tmp_path: Path) -> None:
    """Through the trainer: after 3 steps the head alone has moved, after 6 the upper layer too; killed or not."""
    text = np.random.default_rng(0).integers(0, 11, 200)

    def run(name: str, steps: int, polls: int | None = None) -> RNNLM:
        model = small()
        config = TrainConfig(
            steps=9,
            batch=4,
            precision="fp32",
            optimizer=OptimizerConfig(learning_rate=0.01),
            schedule=ScheduleConfig(shape="stlr"),
            eval_interval=0,
            sample_interval=0,
            checkpoint_seconds=0,
        ).resolve_for(5, 11, 5)
        trainer = Trainer(
            model,
            RecurrentObjective(5),
            Lanes(ArrayPieces(text, 5), 4),
            config,
            9,
            tmp_path / name,
            order=in_order,
            rate_scale=GradualUnfreezing(layers_of(model), every=3),
            should_stop=(lambda: False) if polls is None else StopAt(polls),
        )
        try:
            trainer.run()
        except Interrupted:
            assert trainer.state.step == steps
        return model

    before = layers_of(small())
    for steps, moved in (
        (3, [False, False, False, True]),
        (6, [False, False, True, True]),
        (9, [False, True, True, True]),
    ):
        after = layers_of(run("run", steps, None if steps == 9 else 4))
        changed = [
            any(not torch.equal(p, q) for p, q in zip(a, b, strict=True)) for a, b in zip(before, after, strict=True)
        ]
        assert changed == moved
    whole = layers_of(run("whole", 9))
    assert all(torch.equal(p, q) for a, b in zip(after, whole, strict=True) for p, q in zip(a, b, strict=True))


def test_pooling_by_hand() -> None:
    states = torch.tensor([[[1.0, -2.0], [3.0, 0.0], [2.0, 8.0]], [[9.0, 9.0], [4.0, -1.0], [0.0, -3.0]]])
    got = concat_pooling(states)
    assert got[0].tolist() == pytest.approx([2.0, 8.0, 3.0, 8.0, 2.0, 2.0])
    right = concat_pooling(states, torch.tensor([[True, True, False], [True, True, True]]))
    assert right[0].tolist() == [3.0, 0.0, 3.0, 0.0, 2.0, -1.0]
    left = concat_pooling(states, torch.tensor([[True, True, True], [False, True, True]]))
    assert left[1].tolist() == [0.0, -3.0, 4.0, -1.0, 2.0, -2.0]


def test_bad_requests_are_refused() -> None:
    shared = nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) is in two layers"):
        discriminative_groups([[shared], [shared]], 0.0)
    with pytest.raises(ValueError, match="every 0 steps is no schedule"):
        GradualUnfreezing([], every=0)
    with pytest.raises(ValueError, match="no real position"):
        concat_pooling(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="less than 1"):
        ScheduleConfig(shape="stlr", cut_fraction=1.0)
