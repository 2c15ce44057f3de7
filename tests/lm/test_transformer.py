"""The Transformer: equal to torch.nn.Transformer, masked in three places, blind without positions; its claims."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lm.models.encoder_decoder import real_positions
from lm.models.transformer import Transformer
from lm.models.transformer_config import TRANSFORMER_PRESETS, TransformerConfig, transformer_preset
from lm.nn.attention import CrossAttention, SelfAttention
from lm.nn.masks import compile_mask
from lm.nn.positions import sinusoidal
from tests.lm.small_transformer import SHAPES, sharp

MORE = [
    {"layers": 4, "width": 6, "heads": 1, "feed_forward": 5},
    {"layers": 1, "width": 14, "heads": 7, "feed_forward": 9},
    {"layers": 2, "width": 18, "heads": 2, "feed_forward": 33},
    {"layers": 2, "width": 30, "heads": 6, "feed_forward": 11},
    {"layers": 3, "width": 20, "heads": 5, "feed_forward": 40},
]


def drawn(batch: int = 3, source: int = 7, target: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 11, (batch, source), generator=generator)
    return x, torch.tensor([source, 3, 5][:batch]), torch.randint(0, 13, (batch, target), generator=generator)


def torchs(model: Transformer, dtype: torch.dtype) -> tuple[nn.Transformer, list[tuple[nn.Parameter, nn.Parameter]]]:
    """torch.nn.Transformer of the same weights, without the norms behind its stacks, which the paper does not have; and
    pairs of corresponding parameters."""
    c = model.config
    options = {"dropout": 0.0, "batch_first": True, "layer_norm_eps": c.norm_epsilon}
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(c.width, c.heads, c.feed_forward, **options),  # type: ignore[arg-type]
        c.layers,
        enable_nested_tensor=False,
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(c.width, c.heads, c.feed_forward, **options), c.layers)  # type: ignore[arg-type]
    theirs = nn.Transformer(c.width, c.heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
    theirs = theirs.to(dtype)
    pairs = []
    for ours, stack in ((model.encoder, encoder.layers), (model.decoder, decoder.layers)):
        for mine, other in zip(ours, stack, strict=True):
            pairs += [(mine.attention.qkv.weight, other.self_attn.in_proj_weight)]
            pairs += [(mine.attention.qkv.bias, other.self_attn.in_proj_bias)]
            pairs += both(mine.attention.out, other.self_attn.out_proj)
            pairs += both(mine.feed_forward.expand, other.linear1) + both(mine.feed_forward.contract, other.linear2)
            for number, norm in enumerate(mine.norms, 1):
                pairs += both(norm, getattr(other, f"norm{number}"))
            if ours is model.decoder:
                pairs += both(mine.cross_attention.out, other.multihead_attn.out_proj)
                joined, bias = other.multihead_attn.in_proj_weight, other.multihead_attn.in_proj_bias
                with torch.no_grad():
                    joined.copy_(torch.cat([mine.cross_attention.q.weight, mine.cross_attention.kv.weight]))
                    bias.copy_(torch.cat([mine.cross_attention.q.bias, mine.cross_attention.kv.bias]))
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(mine)
    return theirs, pairs


def both(mine: nn.Module, other: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    return [(mine.weight, other.weight), (mine.bias, other.bias)]  # type: ignore[list-item]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("shape", [*SHAPES, *MORE])
def test_it_equals_torch_with_the_same_weights(shape: dict[str, int], dtype: torch.dtype, tolerance: float) -> None:
    """Values and gradients, padded sources and targets, all three masks."""
    model = sharp(dtype=dtype, **shape)
    theirs, pairs = torchs(model, dtype)
    x, lengths, y = drawn()
    target_lengths = torch.tensor([5, 4, 2])
    hidden_source, hidden_target = ~real_positions(lengths, 7), ~real_positions(target_lengths, 5)
    scale, width = math.sqrt(model.config.width), model.config.width
    read = theirs(
        model.source_embedding(x) * scale + sinusoidal(7, width).to(dtype),
        model.target_embedding(y) * scale + sinusoidal(5, width).to(dtype),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(5, dtype=dtype),
        src_key_padding_mask=torch.zeros_like(hidden_source, dtype=dtype).masked_fill(hidden_source, float("-inf")),
        tgt_key_padding_mask=torch.zeros_like(hidden_target, dtype=dtype).masked_fill(hidden_target, float("-inf")),
        memory_key_padding_mask=torch.zeros_like(hidden_source, dtype=dtype).masked_fill(hidden_source, float("-inf")),
    )
    assert model.head is not None
    real = ~hidden_target
    expected = F.linear(read, model.head.weight)[real]
    got = model(x, lengths, y, target_lengths)[real]
    assert torch.allclose(got, expected, atol=tolerance)
    assert torch.allclose(model(x, lengths, y)[real], expected, atol=tolerance)  # nothing real sees what is behind
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(1)).to(dtype) / 10
    mine = torch.autograd.grad((got * weights).sum(), [a for a, _ in pairs])
    other = torch.autograd.grad((expected * weights).sum(), [b for _, b in pairs])
    assert all(torch.allclose(a, b, atol=tolerance) for a, b in zip(mine, other, strict=True))


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


def test_the_exported_alignment_is_the_last_layers() -> None:
    """Attention of torch.nn.MultiheadAttention with the same weights, read from the same queries."""
    model = sharp(layers=1, width=12, heads=3, feed_forward=8)
    theirs, _ = torchs(model, torch.float64)
    x, lengths, y = drawn()
    layer = theirs.decoder.layers[0]
    memory = model.encode(x, lengths)
    below = model.target_embedding(y) * math.sqrt(12) + sinusoidal(5, 12)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    queries = layer.norm1(below + layer.self_attn(below, below, below, attn_mask=future)[0])  # type: ignore[operator,union-attr]
    _, weights = layer.multihead_attn(queries, memory, memory, key_padding_mask=~real_positions(lengths, 7))  # type: ignore[operator,union-attr]
    assert torch.allclose(model.alignments(x, lengths, y), weights.float(), atol=1e-6)


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
