"""Muon: orthogonal up to a bounded error, batched as one by one, and its state as flat tensors."""

from typing import Literal

import pytest
import torch
from torch import nn

from lm.config import OptimizerConfig
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.train import muon
from lm.train.checkpoint import load_checkpoint, save_checkpoint
from lm.train.muon import Muon, orthogonalise
from lm.train.optim import clip_gradients, load_optimizer_tensors, make_optimizer, muon_groups, optimizer_tensors

CONFIG = OptimizerConfig(method="muon", learning_rate=0.01, muon_rate=0.05, weight_decay=0.1)
MODERN = ModernConfig(layers=2, width=16, heads=2, context=8, vocab=30)


def with_spectrum(count: int, rows: int, columns: int, smallest: float) -> torch.Tensor:
    """Matrices in fp64 whose singular values fall from 1 to `smallest`, each by the same factor."""
    generator = torch.Generator().manual_seed(rows)
    u, _, v = torch.linalg.svd(
        torch.randn(count, rows, columns, generator=generator, dtype=torch.float64), full_matrices=False
    )
    s = torch.logspace(0, torch.log10(torch.tensor(smallest)).item(), min(rows, columns), dtype=torch.float64)
    return u * s @ v


@pytest.mark.parametrize("shape", [(3, 16, 64), (2, 64, 16), (4, 48, 48), (1, 5, 7), (2, 128, 512)])
@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 0.0), (torch.float32, 1e-4), (torch.bfloat16, 0.08)])
def test_singular_values_are_near_one_and_vectors_are_kept(
    shape: tuple[int, int, int], dtype: torch.dtype, slack: float
) -> None:
    matrices = with_spectrum(*shape, smallest=0.03)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    got = orthogonalise(matrices.to(dtype)).double()
    assert got.shape == shape
    s = torch.linalg.svdvals(got)
    assert s.min() >= 0.68 - slack
    assert s.max() <= 1.13 + slack
    in_basis = u.mT @ got @ v.mT  # U V' up to the spread of the singular values: diagonal
    off = in_basis - torch.diag_embed(torch.diagonal(in_basis, dim1=1, dim2=2))
    assert off.abs().max() <= 1e-9 if dtype == torch.float64 else off.abs().max() < 0.1


def test_batched_equals_one_by_one() -> None:
    matrices = with_spectrum(5, 24, 40, smallest=0.01).float()
    together = orthogonalise(matrices)
    assert torch.allclose(together, torch.cat([orthogonalise(each[None]) for each in matrices]), atol=1e-5)


def test_size_cancels_out_and_zero_stays_zero() -> None:
    matrices = with_spectrum(2, 8, 12, smallest=0.1)
    assert torch.allclose(orthogonalise(matrices), orthogonalise(1e6 * matrices), atol=1e-9)
    assert not orthogonalise(torch.zeros(1, 4, 4)).any()


def test_updates_by_hand() -> None:
    """Momentum, Nesterov and the factor for tall matrices, in fp64; the rest is AdamW."""
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 12)).double()
    optimizer = make_optimizer(model, CONFIG.model_copy(update={"weight_decay": 0.0}))
    matrix, momentum = model[1].weight.detach().clone(), torch.zeros(12, 3, dtype=torch.float64)
    twin = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 12)).double()
    twin.load_state_dict(model.state_dict())
    adamw = torch.optim.AdamW([twin[0].weight, twin[1].bias], lr=0.01, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            q.grad = p.grad.clone()
        gradient = twin[1].weight.grad
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * group.get("scale", 1.0)
        optimizer.step()
        adamw.step()
        momentum = 0.95 * momentum + 0.05 * gradient
        update = orthogonalise((0.05 * gradient + 0.95 * momentum)[None])[0]
        matrix = matrix - 0.05 * 2 * update  # 12 / 3 rows to columns: a factor of 2
        assert torch.allclose(model[1].weight, matrix, atol=1e-12)
        assert torch.equal(model[0].weight, twin[0].weight)
        assert torch.equal(model[1].bias, twin[1].bias)


def test_a_stack_of_matrices_is_as_many_matrices() -> None:
    together, apart = nn.Parameter(torch.zeros(3, 4, 8)), [nn.Parameter(torch.zeros(4, 8)) for _ in range(3)]
    together.grad = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    for p, gradient in zip(apart, together.grad, strict=True):
        p.grad = gradient.clone()
    for params in ([together], apart):
        Muon([{"params": params, "muon": True}], lr=0.1).step()
    assert torch.equal(together.detach(), torch.stack(apart).detach())


def test_which_parameters_are_matrices() -> None:
    for model, rest in (
        (Modern(MODERN), {"token_embedding", "head"}),
        (GPT(GPTConfig(layers=1, width=8, heads=2, context=4, vocab=9)), {"token_embedding", "position_embedding"}),
    ):
        matrices, *others = muon_groups(model, CONFIG)
        names = {id(p): name for name, p in model.named_parameters()}
        assert all(names[id(p)].startswith("blocks.") and p.dim() >= 2 for p in matrices["params"])
        assert {names[id(p)].split(".")[0] for g in others for p in g["params"] if p.dim() > 1} == rest
        assert sum(len(g["params"]) for g in (matrices, *others)) == len(names)
    with pytest.raises(ValueError, match="no matrices but embeddings"):
        make_optimizer(nn.Embedding(3, 3), CONFIG)


def test_clipping_leaves_matrices_alone_and_the_norm_counts_all() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.grad, model[0].bias.grad = torch.full((4, 4), 3.0), torch.full((4,), 8.0)
    norm = clip_gradients(model, make_optimizer(model, CONFIG), 1.0)
    assert norm == pytest.approx((12**2 + 16**2) ** 0.5)
    assert torch.equal(model[0].weight.grad, torch.full((4, 4), 3.0))
    assert model[0].bias.grad.norm() == pytest.approx(1.0, abs=1e-4)


def test_state_round_trips_bit_for_bit_through_a_checkpoint(tmp_path) -> None:  # type: ignore[no-untyped-def]
    def advance(model: nn.Module, optimizer: torch.optim.Optimizer, start: int, end: int) -> None:
        for step in range(start, end):
            optimizer.zero_grad()
            tokens = torch.randint(0, 30, (3, 8), generator=torch.Generator().manual_seed(step))
            model(tokens).square().sum().add(model(tokens)[..., 0].sum()).backward()
            optimizer.step()

    straight = Modern(MODERN)
    advance(straight, make_optimizer(straight, CONFIG), 0, 6)
    first = Modern(MODERN)
    optimizer = make_optimizer(first, CONFIG)
    advance(first, optimizer, 0, 3)
    path = save_checkpoint(tmp_path, 3, first.state_dict(), optimizer_tensors(first, optimizer), {})
    saved, again = load_checkpoint(path), Modern(MODERN, seed=9)
    again.load_state_dict(saved.model)
    fresh = make_optimizer(again, CONFIG)
    advance(again, fresh, 7, 8)  # what it had before is put aside by loading
    again.load_state_dict(saved.model)
    load_optimizer_tensors(again, fresh, saved.optimizer)
    advance(again, fresh, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), again.parameters(), strict=True))


def test_steps_are_counted_where_the_parameter_is() -> None:
    """The fused kernel refuses a count on another device; `meta` stands for one that is not the CPU."""
    model = nn.Linear(3, 2, device="meta")
    optimizer = Muon([{"params": list(model.parameters())}], lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert {s["step"].device.type for s in optimizer.state.values()} == {"meta"}
    read = {name: torch.zeros(t.shape) for name, t in optimizer_tensors(model, optimizer).items()}
    load_optimizer_tensors(model, optimizer, read)
    assert {s["step"].device.type for s in optimizer.state.values()} == {"meta"}
    optimizer.step()


def test_layers_may_sleep_and_wake_between_steps() -> None:
    """Together in a stack, whoever has a gradient, as each alone; one that sleeps keeps its momentum."""
    together, alone = ([nn.Parameter(torch.zeros(4, 6)) for _ in range(3)] for _ in range(2))
    optimizer = Muon([{"params": together, "muon": True}], lr=0.1)
    single = [Muon([{"params": [p], "muon": True}], lr=0.1) for p in alone]
    generator = torch.Generator().manual_seed(0)
    for awake in ([2], [1, 2], [0, 1], [0, 2], [0, 1, 2], [0, 1, 2]):
        for n, (p, q) in enumerate(zip(together, alone, strict=True)):
            gradient = torch.randn(4, 6, generator=generator)
            p.grad, q.grad = (gradient, gradient.clone()) if n in awake else (None, None)
        optimizer.step()
        for each in single:
            each.step()
        for p, q in zip(together, alone, strict=True):
            assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "precision", "products"),
    [
        (torch.float32, "fp32", torch.float32),
        (torch.float32, "bf16", torch.bfloat16),
        (torch.float64, "bf16", torch.float64),
    ],
)
def test_products_are_in_the_precision_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    weights: torch.dtype,
    precision: Literal["fp32", "bf16"],
    products: torch.dtype,
) -> None:
    """Whatever the machine could do."""
    seen = []
    monkeypatch.setattr(muon, "orthogonalise", lambda x: seen.append(x.dtype) or orthogonalise(x))
    model = nn.Linear(3, 2, dtype=weights)
    optimizer = make_optimizer(model, CONFIG, precision)
    model(torch.ones(1, 3, dtype=weights)).sum().backward()
    optimizer.step()
    assert seen == [products]
