"""The Transformer against torch.nn.Transformer: random sizes and weights, sources and targets of any length, padded;
values and every gradient."""

import math
import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.encoder_decoder import real_positions
from lm.models.transformer import Transformer
from lm.nn.positions import sinusoidal
from tests.lm.small_transformer import drawn, sharp


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


def random_sizes(number: int) -> dict[str, int]:
    """Of a model: odd feed-forwards, any number of heads; the width is even."""
    draw = random.Random(f"size {number}")
    heads = draw.randint(1, 6)
    return {
        "layers": draw.randint(1, 4),
        "heads": heads,
        "width": 2 * heads * draw.randint(1, 4),
        "feed_forward": draw.randint(3, 40),
        "source_vocab": draw.randint(3, 60),
        "target_vocab": draw.randint(3, 60),
    }


def random_batch(sizes: dict[str, int], number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sources, their lengths, targets, their lengths; in each one is as long as the batch, the others may be padded."""
    draw, generator = random.Random(f"batch {number}"), torch.Generator().manual_seed(number)
    batch = draw.randint(1, 6)
    made: list[Tensor] = []
    for side in ("source", "target"):
        time = draw.randint(1, 12)
        lengths = [time, *(draw.randint(1, time) for _ in range(batch - 1))]
        draw.shuffle(lengths)
        made += [torch.randint(0, sizes[f"{side}_vocab"], (batch, time), generator=generator), torch.tensor(lengths)]
    source, source_lengths, target, target_lengths = made
    return source, source_lengths, target, target_lengths


def hidden(lengths: Tensor, time: int, dtype: torch.dtype) -> Tensor:
    """-inf where there is padding, as torch's module adds it to its scores."""
    return torch.zeros(len(lengths), time, dtype=dtype).masked_fill(~real_positions(lengths, time), float("-inf"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("number", range(20))
def test_it_equals_torch_with_the_same_weights(number: int, dtype: torch.dtype, tolerance: float) -> None:
    """Values and gradients, padded sources and targets, all three masks."""
    sizes = random_sizes(number)
    model = sharp(dtype=dtype, **sizes)
    theirs, pairs = torchs(model, dtype)
    x, lengths, y, target_lengths = random_batch(sizes, number)
    source, target, width = x.shape[1], y.shape[1], sizes["width"]
    scale = math.sqrt(width)
    read = theirs(
        model.source_embedding(x) * scale + sinusoidal(source, width).to(dtype),
        model.target_embedding(y) * scale + sinusoidal(target, width).to(dtype),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(target, dtype=dtype),
        src_key_padding_mask=hidden(lengths, source, dtype),
        tgt_key_padding_mask=hidden(target_lengths, target, dtype),
        memory_key_padding_mask=hidden(lengths, source, dtype),
    )
    assert model.head is not None
    real = real_positions(target_lengths, target)
    expected = F.linear(read, model.head.weight)[real]
    got = model(x, lengths, y, target_lengths)[real]
    assert torch.allclose(got, expected, atol=tolerance)
    assert torch.allclose(model(x, lengths, y)[real], expected, atol=tolerance)  # nothing real sees what is behind
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(1)).to(dtype) / 10
    mine = torch.autograd.grad((got * weights).sum(), [a for a, _ in pairs])
    other = torch.autograd.grad((expected * weights).sum(), [b for _, b in pairs])
    assert all(torch.allclose(a, b, atol=tolerance) for a, b in zip(mine, other, strict=True))


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
