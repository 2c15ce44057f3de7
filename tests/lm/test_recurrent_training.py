"""Truncated BPTT through the trainer: carried state, its resume, micro-batches, AWD-LSTM's regularisers, NT-ASGD."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lm.artifact import load_torch
from lm.config import OptimizerConfig, ScheduleConfig, TrainConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig, StreamConfig, rnn_preset
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order
from lm.pretrain import pretrain
from lm.pretraining import RNNPretraining
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.streams import ArrayPieces, Lanes, RandomLanes
from lm.tokens import build_index
from lm.train.averaging import non_monotone
from lm.train.checkpoint import latest_checkpoint
from lm.train.identity import ResumeError
from lm.train.trainer import Trainer

MODEL = RNNConfig(cell="gru", embedding=6, width=8, layers=2, vocab=20)
AWD = rnn_preset("awd-lstm", vocab=20, embedding=6, width=9)
TEXT = np.random.default_rng(0).integers(0, 20, 301)
SGD = OptimizerConfig(method="sgd", learning_rate=1.0, weight_decay=0.0)


def trainer(directory: Path, model: RNNLM, **changes: Any) -> Trainer:
    lanes = changes.pop("examples", None) or Lanes(ArrayPieces(TEXT, 5), 6)
    fields = {
        "batch": 6,
        "eval_interval": 0,
        "sample_interval": 0,
        "checkpoint_seconds": 0,
        "precision": "fp32",
        "clip": 0.0,
        "optimizer": SGD,
        "schedule": ScheduleConfig(shape="constant", warmup_steps=0),
        **changes.pop("config", {}),
    }
    steps = changes.pop("steps", 12)
    parts = {
        "objective": RecurrentObjective(model.config.widths[-1]),
        "order": in_order,
        "rate_scale": lanes.rate_scale,
        **changes,
    }
    config = TrainConfig(steps=steps, **fields).resolve_for(9, 20, 5)
    return Trainer(model=model, examples=lanes, config=config, steps=steps, directory=directory, **parts)


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


def test_training_equals_a_plain_loop_over_torchs_gru(tmp_path: Path) -> None:
    """State carried and detached between segments, zero at each epoch's start (10 steps), SGD: by hand."""
    t = trainer(tmp_path, RNNLM(MODEL, seed=1).double())
    gru = torch.nn.GRU(6, 8, 2).double()
    theirs = RNNLM(MODEL, seed=1).double()
    with torch.no_grad():
        for p, q in zip(gru.parameters(), theirs.recurrent.parameters(), strict=True):
            p.copy_(q)
    t.run()
    assert theirs.head is not None
    parameters = [theirs.token_embedding.weight, theirs.head.weight, theirs.head_bias, *gru.parameters()]
    state = None
    text = torch.as_tensor(TEXT[1:].reshape(6, 50))
    before = torch.as_tensor(TEXT[:-1].reshape(6, 50))
    for step in range(12):
        here = slice(5 * (step % 10), 5 * (step % 10) + 5)
        state = None if step == 10 else state
        out, state = gru(theirs.token_embedding(before[:, here].T), state)
        state = state.detach()
        loss = F.cross_entropy(theirs.logits(out).flatten(0, 1), text[:, here].T.flatten())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, gradient in zip(parameters, gradients, strict=True):
                p -= gradient
    assert t.model.head is not None
    ours = [t.model.token_embedding.weight, t.model.head.weight, t.model.head_bias, *t.model.recurrent.parameters()]
    for a, b in zip(ours, parameters, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_gradients_stop_at_the_segment_and_the_state_does_not() -> None:
    objective, model = RecurrentObjective(8), RNNLM(MODEL)
    batch = {"tokens": torch.arange(12).view(2, 6), "reset": torch.tensor([False, True])}
    first = objective.losses(model, batch)
    assert set(first.carry) == {"0.forward.h", "1.forward.h"}
    assert not any(state.requires_grad for state in first.carry.values())
    carried = {f"carry.{name}": state.clone().requires_grad_() for name, state in first.carry.items()}
    second = objective.losses(model, {**batch, **carried})
    assert not torch.equal(second.terms["causal"].total, first.terms["causal"].total)
    second.terms["causal"].total.backward()
    for state in carried.values():
        assert (state.grad[0] != 0).any()
        assert (state.grad[1] == 0).all()  # that lane began anew


@pytest.mark.parametrize("micro_batch", [1, 2, 4, 5])
def test_micro_batches_equal_the_large_batch(tmp_path: Path, micro_batch: int) -> None:
    runs = []
    for size in (6, micro_batch):
        config = {"micro_batch": size}
        model = RNNLM(AWD.model_copy(update=dict.fromkeys(DROPOUTS, 0.0)), seed=0).double()
        objective = RecurrentObjective(6, alpha=2.0, beta=1.0)
        runs.append(trainer(tmp_path / str(size), model, objective=objective, config=config))
        runs[-1].run()
    for a, b in zip(weights(runs[0]), weights(runs[1]), strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    for name, state in runs[0].carry.items():
        assert torch.allclose(state, runs[1].carry[name], atol=1e-10)


DROPOUTS = ("input_dropout", "hidden_dropout", "output_dropout", "embedding_dropout", "weight_dropout")


def awd_trainer(directory: Path, **changes: Any) -> Trainer:
    """Everything at once: random lengths, all dropouts, AR and TAR, and averaging from the second evaluation on."""
    values = lambda m: {"bits_per_byte": float(m.token_embedding.weight.abs().sum())}  # noqa: E731
    return trainer(
        directory,
        RNNLM(AWD, seed=0),
        examples=RandomLanes(ArrayPieces(TEXT, 1), 6, bptt=8, seed=0),
        objective=RecurrentObjective(6, alpha=2.0, beta=1.0),
        evaluate=values,
        **{
            "config": {
                "optimizer": SGD.model_copy(update={"average_after": 0, "learning_rate": 5.0}),
                "clip": 0.25,
                "eval_interval": 3,
                "micro_batch": 4,
            },
            **changes,
        },
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stops", [[1], [5], [8], [12], [3, 2, 1, 4]])
def test_stopped_and_resumed_gives_the_same_bits(tmp_path: Path, stops: list[int], precision: str) -> None:
    def fresh(name: str, **changes: Any) -> Trainer:
        t = awd_trainer(tmp_path / name, **changes)
        t.config = t.config.model_copy(update={"precision": precision})
        return t

    whole = fresh("a")
    whole.run()
    for poll in stops:
        torch.manual_seed(poll)  # the surroundings' random state must not matter
        with pytest.raises(Interrupted):
            fresh("b", should_stop=StopAt(poll)).run()
    last = fresh("b")
    last.run()
    assert all(w.isfinite().all() for w in weights(last))
    assert equal(weights(whole), weights(last))
    for name in ("model.safetensors", "optim.safetensors", "state.json"):
        files = [(tmp_path / run / "step-00000012" / name).read_bytes() for run in "ab"]
        assert files[0] == files[1], name


def test_the_checkpoint_holds_the_carried_state(tmp_path: Path) -> None:
    t = trainer(tmp_path, RNNLM(MODEL))
    t.run()
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    for name, state in t.carry.items():
        assert state.shape == (6, 8)
        assert torch.equal(checkpoint.optimizer[name], state)
    wrong = Lanes(ArrayPieces(TEXT, 6), 6)
    with pytest.raises(ResumeError, match="data was"):
        trainer(tmp_path, RNNLM(MODEL), examples=wrong).run()


def test_a_checkpoint_of_another_configuration_names_the_difference(tmp_path: Path) -> None:
    trainer(tmp_path, RNNLM(MODEL)).run()
    other = MODEL.model_copy(update={"output_dropout": 0.5})
    with pytest.raises(ResumeError, match=r"model\.output_dropout was 0\.0, is 0\.5"):
        trainer(tmp_path, RNNLM(other)).run()
    slower = trainer(
        tmp_path, RNNLM(MODEL), config={"optimizer": SGD.model_copy(update={"learning_rate": 0.5}), "clip": 1.0}
    )
    with pytest.raises(ResumeError, match=r"clip was 0\.0, is 1\.0; optimizer\.learning_rate was 1\.0, is 0\.5"):
        slower.run()


@pytest.mark.parametrize("first", ["adamw", "sgd"])
def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path: Path, first: str) -> None:
    kinds = {"adamw": OptimizerConfig(learning_rate=0.01), "sgd": SGD}
    trainer(tmp_path, RNNLM(MODEL), config={"optimizer": kinds.pop(first)}).run()
    with pytest.raises(ResumeError, match=r"optimizer\.method was '(sgd|adamw)', is '(sgd|adamw)'"):
        trainer(tmp_path, RNNLM(MODEL), config={"optimizer": kinds.popitem()[1]}).run()


def test_the_regularisers_by_hand() -> None:
    model = RNNLM(MODEL).double().eval()
    batch = {"tokens": torch.arange(12).view(2, 6)}
    objective = RecurrentObjective(8, alpha=2.0, beta=1.0)
    with torch.no_grad():
        losses, counts = objective.losses(model, batch), objective.counts(batch)
        h = model.hidden_states(batch["tokens"][:, :-1])
    ar, tar = losses.terms["ar"], losses.terms["tar"]
    assert float(ar.total) / counts["ar"] == pytest.approx(float((h**2).mean()), rel=1e-6)
    assert float(tar.total) / counts["tar"] == pytest.approx(float(((h[:, 1:] - h[:, :-1]) ** 2).mean()), rel=1e-6)
    assert (ar.weight, tar.weight) == (2.0, 1.0)
    assert {name: term.count for name, term in losses.terms.items()} == counts
    assert set(RecurrentObjective(8).losses(model, batch).terms) == {"causal"}


def test_the_rate_follows_the_length(tmp_path: Path) -> None:
    """One plain step: weights move by rate * length / bptt * gradient."""
    lanes = RandomLanes(ArrayPieces(TEXT, 1), 6, bptt=8, seed=0)
    model = RNNLM(MODEL, seed=0).double()
    before = model.head_bias.detach().clone()
    objective = RecurrentObjective(8)
    batch = lanes.batch(np.arange(6))
    loss = objective.losses(model, batch).terms["causal"]
    (gradient,) = torch.autograd.grad(loss.total / loss.count, model.head_bias)
    trainer(tmp_path, model, examples=lanes, steps=1, config={"optimizer": SGD}).run()
    length = batch["tokens"].shape[1] - 1
    assert length != 8
    assert torch.allclose(model.head_bias, before - gradient * length / 8, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "interval", "expected"),
    [
        ([5.0], 0, False),
        ([5.0, 5.1], 0, True),
        ([5.0, 4.9], 0, False),
        ([5.0, 5.1], 1, False),
        ([5.0, 5.2, 5.1], 1, True),
        ([5.0, 4.0, 4.5], 1, False),
        ([5.0, 4.0, 4.5, 4.6], 1, True),
        ([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 4.1], 5, False),
        ([5.0, 6.0, 6.0, 6.0, 6.0, 6.0, 5.1], 5, True),
    ],
)
def test_when_averaging_begins(values: list[float], interval: int, expected: bool) -> None:
    """The rule of awd-lstm-lm's main.py: len(logs) > n and value > min(logs[:-n]), logs without the value."""
    assert non_monotone(values, interval) == expected
    logs, value = values[:-1], values[-1]
    if interval:
        assert expected == (len(logs) > interval and value > min(logs[:-interval]))


def test_the_average_is_the_mean_of_the_weights_since(tmp_path: Path) -> None:
    """It begins after step 6 (the second evaluation is worse); steps 7 .. 12 are averaged, evaluated and returned."""
    seen: list[list[torch.Tensor]] = []
    given = iter([9.0, 3.0, 4.0, 1.0, 5.0])  # at steps 0, 3, 6, 9, 12
    evaluated: list[torch.Tensor] = []

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        evaluated.append(model.head_bias.detach().clone())
        return {"bits_per_byte": next(given)}

    from lm.train.hooks import Hooks

    def run(directory: Path, **config: Any) -> Trainer:
        t = awd_trainer(directory)
        t.evaluate = evaluate
        t.config = t.config.model_copy(update=config)
        t.hooks = Hooks(on_progress=lambda *_: seen.append(weights(t)))
        t.run()
        return t

    t = run(tmp_path / "last")
    bias = [name for name, _ in t.model.named_parameters()].index("head_bias")
    assert torch.equal(evaluated[2], seen[5][bias])
    assert torch.allclose(evaluated[3], torch.stack([w[bias] for w in seen[6:9]]).mean(0), atol=1e-6)
    for n, result in enumerate(weights(t)):
        assert torch.allclose(result, torch.stack([w[n] for w in seen[6:]]).mean(0), atol=1e-6)
    checkpoint = latest_checkpoint(tmp_path / "last")
    assert checkpoint is not None
    assert torch.equal(checkpoint.model["head_bias"], seen[-1][bias])
    assert checkpoint.state["observed"] == [3.0, 4.0]
    given = iter([9.0, 3.0, 4.0, 1.0, 5.0])
    best = run(tmp_path / "best", select="best")
    assert torch.equal(best.model.head_bias, evaluated[3])


def test_sgd_by_hand() -> None:
    from lm.train.optim import make_optimizer

    model = torch.nn.Linear(3, 2).double()
    optimizer = make_optimizer(model, OptimizerConfig(method="sgd", learning_rate=0.5, weight_decay=0.1))
    theirs = torch.nn.Linear(3, 2).double()
    theirs.load_state_dict(model.state_dict())
    reference = torch.optim.SGD(theirs.parameters(), lr=0.5, weight_decay=0.1)
    for step in range(4):
        x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        for m, o in ((model, optimizer), (theirs, reference)):
            o.zero_grad()
            m(x).pow(2).sum().backward()
            o.step()
    assert torch.allclose(model.weight, theirs.weight, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "sgd"}, "sgd needs a learning_rate"),
        ({"average_after": 5}, "average_after is for method sgd"),
    ],
)
def test_optimizer_configurations_that_make_no_sense(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**fields)


@pytest.mark.parametrize("random", [False, True])
def test_pretraining_from_documents(tmp_path: Path, shards: list[Path], tokenizer_dir: Path, random: bool) -> None:
    """From token shards to a model folder: it beats the unigram baseline, and says what it watched."""
    index = build_index(shards)
    model = RNNConfig(cell="gru", embedding=32, width=48, vocab=300)
    config = TrainConfig(
        steps=120,
        batch=8,
        eval_sequences=64,
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=0.01),
        sample_tokens=8,
    )
    settings = RNNPretraining(model=model, stream=StreamConfig(bptt=16, random=random, reset=True))
    given = Given(settings, settings.resolve(config), index, index, tokenizer_dir)
    result = pretrain(given, tmp_path / "checkpoints", tmp_path / "model")
    assert result["valid"]["bits_per_byte"] < 0.9 * result["unigram"]["bits_per_byte"]
    assert result["unigram"]["bits_per_byte"] < result["untrained"]["bits_per_byte"]
    assert result["valid"]["bytes"] == result["unigram"]["bytes"]
    assert result["parameters"] == model.parameter_count()
    trained = load_torch(tmp_path / "model", RNNLM)[0].config
    assert trained == model.model_copy(update={"reset_token": index.end_of_text})
    assert math.isfinite(result["valid"]["loss"])
