"""The Transformer: masked in three places, blind without positions; its claims."""

import math

import pytest
import torch
from torch import nn

from lm.models.encoder_decoder import real_positions
from lm.models.transformer import Transformer
from lm.models.transformer_config import TRANSFORMER_PRESETS, TransformerConfig, transformer_preset
from lm.nn.attention import CrossAttention, SelfAttention
from lm.nn.masks import compile_mask
from lm.nn.positions import sinusoidal
from tests.lm.small_transformer import SHAPES, drawn, sharp


def embedded(model: Transformer) -> list[torch.Tensor]:
    """What the embeddings gave in the last forward, with gradients kept: source, then target."""
    seen: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    model.source_embedding.register_forward_hook(keep)
    model.target_embedding.register_forward_hook(keep)
    return seen


def test_no_position_sees_the_future_or_padding() -> None:
    """Gradients of a step's logits: exactly zero for later targets and padding of the source, for nothing else."""
    model = sharp(**SHAPES[1])
    seen = embedded(model)
    x, lengths, y = drawn()
    for t in range(5):
        seen.clear()
        model.zero_grad()
        (model(x, lengths, y)[:, t] * torch.arange(13)).sum().backward()
        source, target = (s.grad for s in seen)
        assert source is not None
        assert target is not None
        assert (target[:, t + 1 :] == 0).all()
        assert (target[:, : t + 1] != 0).any(-1).all()
        real = real_positions(lengths, 7)
        assert (source[~real] == 0).all()
        assert (source[real] != 0).any(-1).all()


def test_padding_changes_nothing() -> None:
    model = sharp(**SHAPES[2])
    x, lengths, y = drawn()
    together = model(x, lengths, y)
    alone = [model(x[i : i + 1, :n], lengths[i : i + 1], y[i : i + 1]) for i, n in enumerate(lengths.tolist())]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12)
    other = torch.where(real_positions(lengths, 7), x, torch.ones_like(x))
    assert torch.allclose(model(other, lengths, y), together, atol=1e-12)
    looked = model.alignments(x, lengths, y)
    assert torch.allclose(looked.sum(-1), torch.ones(3, 5), atol=1e-6)
    assert (looked[1, :, 3:] == 0).all()


def test_step_by_step_equals_the_whole_target_at_once() -> None:
    """Beyond the first size of the cache, and for rows chosen anew."""
    model = sharp(**SHAPES[1])
    x, lengths, _ = drawn()
    y = torch.randint(0, 13, (3, 70), generator=torch.Generator().manual_seed(2))
    whole, state = model(x, lengths, y), model.start(x, lengths)
    rows = torch.tensor([2, 0, 0])
    for t in range(70):
        if t in (3, 40):
            branch, _ = model.step(y[rows, t], state.select(rows))
            assert torch.allclose(branch, whole[rows, t], atol=1e-9)
        logits, state = model.step(y[:, t], state)
        assert torch.allclose(logits, whole[:, t], atol=1e-9)


def test_cross_attention_asks_with_the_decoder() -> None:
    """Queries come from the target, keys and values from the source (C: not the other way round)."""
    torch.manual_seed(0)
    attention = CrossAttention(8, 2, 0.0).double()
    y, memory = torch.randn(2, 3, 8).double(), torch.randn(2, 5, 8).double()
    q, (k, v) = attention.q(y), attention.keys_values(memory)
    q = q.view(2, 3, 2, 4).transpose(1, 2)
    expected = ((q @ k.transpose(2, 3)) / 2).softmax(-1) @ v
    got = attention(y, (k, v), compile_mask(None, 3, 5, y.device))
    assert torch.allclose(got, attention.out(expected.transpose(1, 2).reshape(2, 3, 8)), atol=1e-12)
    assert got.shape[1] == y.shape[1]


def test_vectors_and_positions_are_of_one_size_at_the_start() -> None:
    model = Transformer(TransformerConfig(layers=1, width=128, source_vocab=500, target_vocab=500))
    vectors = model.target_embedding.weight * math.sqrt(128)
    assert float(vectors.detach().var()) == pytest.approx(1, rel=0.05)
    assert float(sinusoidal(100, 128).square().mean()) == pytest.approx(0.5, rel=1e-6)
    assert model.source_embedding is model.target_embedding
    assert model.head is None


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_parameter_count(shape: dict[str, int], shared: bool) -> None:
    config = TransformerConfig(**shape, source_vocab=13, target_vocab=13, shared_embedding=shared)  # type: ignore[arg-type]
    assert config.parameter_count() == sum(p.numel() for p in Transformer(config).parameters())


def test_presets_as_printed() -> None:
    """Table 3: base 65 and big 213 million parameters."""
    assert TRANSFORMER_PRESETS["base"].parameter_count() / 1e6 == pytest.approx(65, abs=3)
    assert TRANSFORMER_PRESETS["big"].parameter_count() / 1e6 == pytest.approx(213, abs=3)
    big = TRANSFORMER_PRESETS["big"]
    assert (big.layers, big.width, big.feed_forward, big.heads, big.dropout) == (6, 1024, 4096, 16, 0.3)


def test_seed_alone_decides_the_weights_and_dropout_is_off_when_evaluating() -> None:
    config = TransformerConfig(**SHAPES[1], dropout=0.5, source_vocab=13, target_vocab=13)  # type: ignore[arg-type]
    torch.manual_seed(1)
    first = Transformer(config, seed=4).state_dict()
    torch.manual_seed(2)
    model = Transformer(config, seed=4)
    assert all(torch.equal(v, first[k]) for k, v in model.state_dict().items())
    assert not torch.equal(Transformer(config, seed=5).target_embedding.weight, first["target_embedding.weight"])
    x, lengths, y = drawn()

    def once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model(x, lengths, y)

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    model.eval()
    assert torch.equal(once(1), once(2))


def test_dropout_is_where_the_paper_has_it() -> None:
    """On sub-layers' outputs and on the sums of vectors and positions: not on attention weights."""
    model = Transformer(TransformerConfig(**SHAPES[1], dropout=0.3, source_vocab=13, target_vocab=13))  # type: ignore[arg-type]
    rates = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout) and m.p}
    assert set(rates) == {"dropout", *(f"{side}.{n}.dropout" for side in ("encoder", "decoder") for n in range(2))}
    assert all(m.dropout == 0 for m in model.modules() if isinstance(m, SelfAttention | CrossAttention))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 10, "heads": 4}, "width 10 is not a multiple of heads 4"),
        ({"width": 9, "heads": 3}, "width 9 is odd"),
        ({"source_vocab": 5}, "one vocabulary on both sides, not 5 and 37000"),
    ],
)
def test_what_does_not_fit_together_is_said(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown model preset 'bas'; did you mean 'base'"):
        transformer_preset("bas")


def test_it_runs_under_autocast() -> None:
    model = Transformer(TransformerConfig(**SHAPES[1], source_vocab=13, target_vocab=13))  # type: ignore[arg-type]
    x, lengths, y = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        state = model.start(x, lengths)
        for t in range(5):
            logits, state = model.step(y[:, t], state)
        assert model(x, lengths, y).isfinite().all()
    assert logits.isfinite().all()
