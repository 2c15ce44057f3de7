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
    """C15: the variance of q'k is d_k, of q'k / sqrt(d_k) 1; unscaled, softmax is nearly one-hot and passes on hardly
    any gradient."""
    generator = torch.Generator().manual_seed(0)
    d, keys = 64, 32
    q, k = torch.randn(4000, 1, d, generator=generator), torch.randn(4000, keys, d, generator=generator)
    raw = (q * k).sum(-1)
    assert raw.var() == pytest.approx(d, rel=0.05)
    assert (raw / math.sqrt(d)).var() == pytest.approx(1, rel=0.05)
    measured = {}
    for name, scores in (("raw", raw), ("scaled", raw / math.sqrt(d))):
        p = scores.softmax(-1)
        entropy = -(p * p.clamp_min(1e-30).log()).sum(-1).mean()
        jacobian = torch.diag_embed(p) - p[..., None] * p[..., None, :]
        measured[name] = (float(entropy), float(jacobian.flatten(1).norm(dim=1).mean()))
    assert measured["scaled"][0] > 0.8 * math.log(keys)
    assert measured["raw"][0] < 0.25 * math.log(keys)
    # Of the raw scores' gradient most rows have next to nothing: the median, as the mean lives from near ties.
    p = raw.softmax(-1)
    small = (p * (1 - p)).sum(-1).median()
    p = (raw / math.sqrt(d)).softmax(-1)
    assert small < 0.4 * (p * (1 - p)).sum(-1).median()


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
