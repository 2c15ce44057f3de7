"""Muon: momentum, orthogonalised (Jordan et al. 2024, kellerjordan.github.io/posts/muon; github.com/KellerJordan/Muon).

m_t = beta m_{t-1} + (1 - beta) g_t
u_t = (1 - beta) g_t + beta m_t                         Nesterov
w_t = w_{t-1} - rate sqrt(max(1, rows / columns)) U V'  where u_t = U S V'

A matrix moves equally far in all of its directions, where a gradient is dominated by few. U V' is found by
Newton-Schulz steps: products only, for all matrices of a shape in one batch. The gradient's size cancels out: clipping
it does nothing.
"""

from collections import defaultdict
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.adamw import adamw

POLYNOMIALS = ((8.014, -23.3074, 17.1973), (3.5395, -2.6514, 0.5285), (2.3332, -1.7228, 0.4062))
"""a s + b s^3 + c s^5 of step 1, 2, 3. Each brings the singular values s that the one before left within 1 - e .. 1 + e
as close to 1 as a quintic can, beginning with .012 .. 1 (Amsel et al. 2025, "The Polar Express"); the last is scaled by
.92. They end within .72 .. 1.12; after five equal steps (3.4445, -4.775, 2.0315), as in the reference, .68 .. 1.13."""
MARGIN = 1.02  # against rounding to bf16: above 1 the polynomials explode
MOMENTUM = "momentum"


def orthogonalise(matrices: Tensor) -> Tensor:
    """About U V' of each matrix U S V' in [count, rows, columns], in the dtype given.

    Singular values come out within .72 .. 1.12 unless they were below .012 of the root of the Frobenius norm of X X',
    by which the matrix is divided first: it is above the largest singular value, but closer to it than the Frobenius
    norm of X that the reference divides by, and X X' is needed anyway.
    """
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    gram = x @ x.mT
    size = MARGIN * torch.linalg.matrix_norm(gram.to(torch.promote_types(x.dtype, torch.float32)))[:, None, None]
    size = size.clamp(min=torch.finfo(size.dtype).tiny)  # a matrix of zeros stays one
    gram, x = (gram / size).to(x.dtype), (x / size.sqrt()).to(x.dtype)
    for step, (a, b, c) in enumerate(POLYNOMIALS):
        gram = gram if step == 0 else x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


class Muon(torch.optim.Optimizer):
    """Muon for the groups with `muon: True`, fused AdamW for the others.

    A parameter of more than two dimensions is a stack of matrices, each orthogonalised by itself. `precision`: of the
    products for that; in bf16, as in the reference, the steps correct their own rounding. Matrices of fp64 ignore it.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": 0.0, "muon": False}
        defaults["fused"] = (
            True  # torch then keeps a loaded "step" where the fused kernel reads it: beside its parameter
        )
        super().__init__(groups, defaults)
        self._bf16 = precision == "bf16"
        # The momenta of a shape are one tensor, and `state` has views of it: nothing is put together at each step.
        # Beside it, of which parameters: layers may be frozen and woken between steps.
        self._stacks: dict[tuple[int, tuple[int, ...]], tuple[list[int], Tensor]] = {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._stacks.clear()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every group."""
        for number, group in enumerate(self.param_groups):
            params = [p for p in group["params"] if p.grad is not None]
            if not group["muon"]:
                self._adamw(group, params)
                continue
            by_shape = defaultdict(list)
            for p in params:
                by_shape[p.shape[-2:]].append(p)
            for shape, same in by_shape.items():
                self._orthogonal(group, same, self._momentum((number, tuple(shape)), same))

    def _momentum(self, key: tuple[int, tuple[int, ...]], params: list[Tensor]) -> Tensor:
        """The momenta of `params`, [count, rows, columns]."""
        members = [id(p) for p in params]
        if key in self._stacks and self._stacks[key][0] == members:
            return self._stacks[key][1]
        stack = _stacked([self.state[p].get(MOMENTUM, torch.zeros_like(p)) for p in params])
        for p, part in zip(params, _unstacked(stack, params), strict=True):
            self.state[p][MOMENTUM] = part
        self._stacks[key] = members, stack
        return stack

    def _orthogonal(self, group: dict[str, Any], params: list[Tensor], momentum: Tensor) -> None:
        beta, rate = group["momentum"], group["lr"]
        gradient = _stacked([p.grad for p in params if p.grad is not None])
        momentum.lerp_(gradient, 1 - beta)
        dtype = torch.bfloat16 if self._bf16 and gradient.dtype != torch.float64 else gradient.dtype
        update = orthogonalise(gradient.lerp_(momentum, beta).to(dtype)).to(gradient.dtype)
        rows, columns = update.shape[1:]
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - rate * group["weight_decay"])
        torch._foreach_add_(params, _unstacked(update, params), alpha=-rate * max(1.0, rows / columns) ** 0.5)

    def _adamw(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p] = {
                    "step": torch.zeros((), dtype=torch.float32, device=p.device),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        state = [self.state[p] for p in params]
        adamw(
            params,
            [p.grad for p in params if p.grad is not None],
            [s["exp_avg"] for s in state],
            [s["exp_avg_sq"] for s in state],
            [],
            [s["step"] for s in state],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _stacked(tensors: list[Tensor]) -> Tensor:
    """Matrices and stacks of matrices as one stack, copied."""
    return torch.cat([t.reshape(-1, *t.shape[-2:]) for t in tensors])


def _unstacked(stack: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The parts of a stack in the shapes of `like`: views."""
    counts = [p.numel() // (p.shape[-1] * p.shape[-2]) for p in like]
    return [part.view(p.shape) for part, p in zip(stack.split(counts), like, strict=True)]
