"""AdamW: which parameters decay (and which are Muon's), the update by hand, and its state as flat tensors."""

from typing import Any

import pytest
import torch

from lm.artifact import CONFIGS
from lm.config import OptimizerConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPT_PRESETS
from lm.train.optim import load_optimizer_tensors, make_optimizer, muon_groups, optimizer_tensors, parameter_groups


def test_matrices_decay_and_vectors_do_not() -> None:
    model = GPT(GPT_PRESETS["pico"])
    decayed, plain = parameter_groups(model, 0.1)
    names = {id(p): n for n, p in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert all(names[id(p)].endswith("weight") and "ln_" not in names[id(p)] for p in decayed["params"])
    assert all("ln_" in names[id(p)] or names[id(p)].endswith("bias") for p in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


def test_frozen_parameters_are_left_out() -> None:
    model = torch.nn.Linear(3, 3)
    model.bias.requires_grad_(False)
    (group,) = parameter_groups(model, 0.1)
    assert group["params"] == [model.weight]


def test_first_updates_by_hand() -> None:
    """Algorithm 2 of Loshchilov & Hutter (2019), in fp64."""
    model = torch.nn.Linear(3, 2).double()
    config = OptimizerConfig(learning_rate=0.01, weight_decay=0.1)
    optimizer = make_optimizer(model, config)
    theta = model.weight.detach().clone()
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(1, 4):
        gradient = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(t))
        model.weight.grad, model.bias.grad = gradient.clone(), torch.zeros(2, dtype=torch.float64)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.95 * v + 0.05 * gradient**2
        step = (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
        theta = theta - 0.01 * (step + 0.1 * theta)
        assert torch.allclose(model.weight, theta, atol=1e-12)


def test_state_round_trips_bit_for_bit() -> None:
    def trained(steps: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
        optimizer = make_optimizer(model, OptimizerConfig(learning_rate=0.1))
        return advance(model, optimizer, 0, steps)

    def advance(model, optimizer, start, end):  # type: ignore[no-untyped-def]
        for s in range(start, end):
            optimizer.zero_grad()
            model(torch.randn(5, 4, generator=torch.Generator().manual_seed(s))).pow(2).sum().backward()
            optimizer.step()
        return model, optimizer

    straight, _ = trained(6)
    first, optimizer = trained(3)
    saved = {k: v.clone() for k, v in optimizer_tensors(first, optimizer).items()}
    again, fresh = trained(0)
    again.load_state_dict(first.state_dict())
    load_optimizer_tensors(again, fresh, saved)
    advance(again, fresh, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), again.parameters(), strict=True))


def test_foreign_state_is_refused() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=0.1))
    with pytest.raises(ValueError, match=r"'head\.weight', which the model does not train"):
        load_optimizer_tensors(model, optimizer, {"head.weight/exp_avg": torch.zeros(2, 2)})


def test_auto_learning_rate_is_resolved_first() -> None:
    with pytest.raises(ValueError, match="learning_rate is still 'auto'"):
        make_optimizer(torch.nn.Linear(2, 2), OptimizerConfig())


TINY: dict[str, dict[str, Any]] = {
    "gpt": {"layers": 1, "width": 8, "heads": 2, "context": 4},
    "rnn": {"embedding": 4, "width": 5, "layers": 1},
    "nnlm": {"order": 3, "embedding": 4, "hidden": 5},
    "elmo": {"characters": 6, "filters": ((1, 4), (2, 4)), "highways": 1, "width": 4, "layers": 1, "cell_width": 6},
    "transformer_xl": {"layers": 1, "width": 8, "heads": 2, "inner": 12, "memory": 3},
    "xlnet": {"layers": 1, "width": 8, "heads": 2, "inner": 12, "context": 4},
    "bert": {"layers": 1, "width": 8, "heads": 2, "context": 8, "boundary_head": True, "boundary_width": 3},
    "modern": {"layers": 1, "width": 8, "heads": 2, "context": 4},
}
TABLES = {  # what has two dimensions and more, and is no hidden matrix
    "gpt": {"token_embedding.weight", "position_embedding.weight"},
    "rnn": {"token_embedding.weight", "head.weight"},
    "nnlm": {"C", "U", "W"},
    "elmo": {
        "words.embedding.weight",
        "words.convolutions.0.weight",
        "words.convolutions.1.weight",
        "softmax.weight",
    },
    "transformer_xl": {"token_embedding.weight"},
    "xlnet": {"token_embedding.weight", "layers.0.attention.segments"},
    "bert": {
        "token_embedding.weight",
        "position_embedding.weight",
        "segment_embedding.weight",
        "boundary_head.place_embedding.weight",
    },
    "modern": {"token_embedding.weight", "head.weight"},
}
HEAD_BIASES = {
    "transformer_xl": {"u", "v"},
    "xlnet": {f"layers.0.attention.{name}_bias" for name in ("content", "position", "segment")},
}


@pytest.mark.parametrize("of", CONFIGS, ids=lambda of: of.__name__)
def test_groups_of_every_kind_of_model(of: type[torch.nn.Module]) -> None:
    settings = CONFIGS[of]
    kind = settings.model_fields["kind"].default
    model = of(settings(**TINY[kind], vocab=11))
    names = {id(p): name for name, p in model.named_parameters()}

    def named(group: dict[str, Any]) -> set[str]:
        return {names[id(p)] for p in group["params"]}

    biases = HEAD_BIASES.get(kind, set()) | {name for name, p in model.named_parameters() if p.dim() < 2}
    groups = parameter_groups(model, 0.1)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0][: len(groups)]
    assert named(groups[0]) == set(names.values()) - biases
    assert set().union(*map(named, groups[1:])) == biases

    matrices, tables, *rest = muon_groups(model, OptimizerConfig(method="muon", learning_rate=0.1, weight_decay=0.1))
    assert named(matrices) == set(names.values()) - biases - TABLES[kind]
    assert named(tables) == TABLES[kind]
    assert set().union(*map(named, rest)) == biases
    assert [g["weight_decay"] for g in (matrices, tables, *rest)] == [0.1, 0.1, 0.0][: 2 + len(rest)]
