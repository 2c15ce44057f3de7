"""What the Transformer's parts are for, as claims that can be measured: positions, the root of d_k, W_Q and W_K."""

import math

import pytest
import torch

from lm.nn.attention import SelfAttention
from lm.nn.positions import frequencies, sinusoidal
from tests.lm.small_transformer import SHAPES, sharp


@pytest.mark.parametrize("positions", ["none", "sinusoidal"])
def test_without_positions_the_order_of_the_source_is_unknown(positions: str) -> None:
    """C17: the encoder permutes with its input, and the decoder cannot tell; with positions neither holds."""
    model = sharp(**SHAPES[1], positions=positions)
    x, y = torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([[1, 2, 3]])
    length, order = torch.tensor([6]), torch.tensor([3, 0, 5, 1, 4, 2])
    blind = torch.allclose(model.encode(x[:, order], length), model.encode(x, length)[:, order], atol=1e-12)
    same = torch.allclose(model(x[:, order], length, y), model(x, length, y), atol=1e-12)
    assert blind == same == (positions == "none")


def test_positions_are_the_papers_and_turn_by_a_fixed_angle() -> None:
    """C18: PE(pos + k) is PE(pos) turned by an angle that depends on k alone, for any position."""
    table = sinusoidal(2000, 64)
    for pos, i in ((0, 0), (7, 3), (1999, 31)):
        assert table[pos, 2 * i] == pytest.approx(math.sin(pos / 10000 ** (2 * i / 64)), abs=1e-9)
        assert table[pos, 2 * i + 1] == pytest.approx(math.cos(pos / 10000 ** (2 * i / 64)), abs=1e-9)
    for k in (1, 5, 300):
        angle = k * frequencies(64)
        turn = torch.zeros(64, 64, dtype=torch.float64)
        for i, a in enumerate(angle.tolist()):
            turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
                [[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]
            )
        assert (table[k:] - table[:-k] @ turn.T).abs().max() <= 1e-6
    with pytest.raises(ValueError, match="width 7 is odd"):
        sinusoidal(3, 7)


def test_what_the_root_of_dk_is_for() -> None:
    """C15: q'k has the variance d_k, divided by sqrt(d_k) 1. Undivided, softmax is nearly one-hot whatever is looked at
    and its gradient (the Jacobian's norm, median over queries) dies as d_k grows; divided, neither depends on d_k."""
    generator, keys = torch.Generator().manual_seed(0), 32
    entropy: dict[tuple[str, int], float] = {}
    gradient: dict[tuple[str, int], float] = {}
    for d in (64, 512):
        q, k = torch.randn(1000, 1, d, generator=generator), torch.randn(1000, keys, d, generator=generator)
        raw = (q * k).sum(-1)
        assert float(raw.var()) == pytest.approx(d, rel=0.05)
        assert float((raw / math.sqrt(d)).var()) == pytest.approx(1, rel=0.05)
        for name, scores in (("raw", raw), ("divided", raw / math.sqrt(d))):
            p = scores.softmax(-1)
            entropy[name, d] = float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean()) / math.log(keys)
            jacobian = torch.diag_embed(p) - p[..., None] * p[..., None, :]
            gradient[name, d] = float(jacobian.flatten(1).norm(dim=1).median())
    assert entropy["raw", 512] < entropy["raw", 64] < 0.2
    assert entropy["divided", 64] == pytest.approx(entropy["divided", 512], rel=0.05)
    assert entropy["divided", 64] > 0.8
    assert gradient["raw", 512] < 0.02 * gradient["divided", 512]
    assert gradient["divided", 64] == pytest.approx(gradient["divided", 512], rel=0.05)


@pytest.mark.parametrize("equal", [True, False])
def test_with_one_matrix_for_queries_and_keys_looking_is_mutual(equal: bool) -> None:
    """C16: W_Q = W_K makes the scores a symmetric matrix: i looks at j as j at i. Two matrices make it free."""
    torch.manual_seed(0)
    attention = SelfAttention(8, 1, 0.0).double()
    w_q, w_k, _ = attention.qkv.weight.split(8)
    b_q, b_k, _ = attention.qkv.bias.split(8)
    if equal:
        w_k, b_k = w_q, b_q
    x = torch.randn(6, 8).double()
    scores = (x @ w_q.T + b_q) @ (x @ w_k.T + b_k).T
    assert torch.allclose(scores, scores.T, atol=1e-12) == equal
