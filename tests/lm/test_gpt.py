"""The GPTs: what a causal model may not see, how it begins, how large it is."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lm.models.gpt import GPT
from lm.models.gpt_config import GPT_PRESETS, GPTConfig, gpt_preset
from lm.nn.attention import causal_attention
from lm.nn.masks import Document, Padding

CONFIGS = [
    GPTConfig(layers=1, width=8, heads=1, context=5, vocab=11),
    GPTConfig(layers=2, width=12, heads=3, context=17, vocab=101),
    GPTConfig(layers=3, width=20, heads=5, context=33, vocab=64, norm_epsilon=1e-4),
    GPTConfig(layers=4, width=64, heads=4, context=16, vocab=257),
]


def jittered(config: GPTConfig, seed: int = 1) -> GPT:
    """A model whose biases and layer norms are not the trivial ones of initialisation."""
    model = GPT(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return model.eval()


def test_right_padding_needs_no_mask() -> None:
    model = jittered(CONFIGS[1]).double()
    tokens = torch.randint(0, 101, (2, 17), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(tokens)[:, :6], model(tokens[:, :6]), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_no_position_sees_the_future(dtype: torch.dtype) -> None:
    """The gradient of position t's logits with respect to the embeddings after t is exactly zero."""
    model = jittered(CONFIGS[2]).to(dtype)
    tokens = torch.randint(0, 64, (1, 12), generator=torch.Generator().manual_seed(0))
    states: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        states.append(output)

    model.token_embedding.register_forward_hook(keep)
    for t in range(12):
        states.clear()
        model(tokens)[0, t].sum().backward()
        gradient = states[0].grad
        assert gradient is not None
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1] != 0).any(-1).all()


@pytest.mark.parametrize("time", [1, 2, 33, 512, 513])
def test_short_bf16_attention_equals_sdpa(time: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v, upstream = (torch.randn(2, 3, time, 8, generator=generator) for _ in range(4))

    def run(attend: Any, dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
        out = attend(*leaves)
        out.backward(upstream.to(dtype))
        return [out.detach(), *(x.grad for x in leaves if x.grad is not None)]

    exact = run(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), torch.float32)
    for a, b in zip(run(causal_attention, torch.bfloat16), exact, strict=True):
        assert torch.allclose(a.float(), b, atol=0.06, rtol=0.06)


def test_attention_dropout_thins_and_rescales() -> None:
    torch.manual_seed(0)
    q, v = torch.zeros(1, 1, 400, 2, dtype=torch.bfloat16), torch.ones(1, 1, 400, 2, dtype=torch.bfloat16)
    dropped = causal_attention(q, q, v, dropout=0.5).float()
    assert dropped[0, 0, 200:].mean().item() == pytest.approx(1.0, abs=0.05)
    assert dropped[0, 0, 200:].std() > 0.01


def test_cache_gives_the_same_logits_in_any_cut() -> None:
    model = jittered(CONFIGS[2]).double()
    tokens = torch.randint(0, 64, (3, 20), generator=torch.Generator().manual_seed(0))
    expected = model(tokens)
    for cuts in ([20], [1] * 20, [7, 1, 1, 5, 6]):
        cache = model.new_cache(3)
        parts = [model(part, cache=cache) for part in tokens.split(cuts, dim=1)]
        assert torch.allclose(torch.cat(parts, 1), expected, atol=1e-12)


def test_cache_and_mask_give_the_same_logits_in_any_cut() -> None:
    model = jittered(CONFIGS[2]).double()
    tokens = torch.randint(0, 64, (2, 12), generator=torch.Generator().manual_seed(0))
    real = torch.arange(12)[None] >= torch.tensor([0, 5])[:, None]
    expected = model(tokens, Padding(real))
    cache, parts, done = model.new_cache(2), [], 0
    for part in tokens.split([6, 1, 2, 3], dim=1):
        done += part.shape[1]
        parts.append(model(part, Padding(real[:, :done]), cache))
    assert torch.allclose(torch.cat(parts, 1)[real], expected[real], atol=1e-12)


def test_a_packed_neighbour_is_not_seen_through_a_document_mask() -> None:
    model = jittered(CONFIGS[2]).double()
    tokens = torch.randint(0, 64, (1, 12), generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0] * 5 + [1] * 7])
    other = tokens.clone()
    other[:, :5] = (other[:, :5] + 1) % 64
    assert torch.equal(model(tokens, Document(ids))[:, 5:], model(other, Document(ids))[:, 5:])
    assert not torch.allclose(model(tokens)[:, 5:], model(other)[:, 5:])


@pytest.mark.parametrize("band", [1, 3])
def test_banded_layers_see_the_band_and_dense_layers_all(band: int) -> None:
    """By the gradient of a layer's output with respect to its input, each layer by itself."""
    config = CONFIGS[2].model_copy(update={"band": band, "layers": 4})
    model = jittered(config).double()
    tokens = torch.randint(0, 64, (1, 12), generator=torch.Generator().manual_seed(0))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def apart(_module: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        seen.append((inputs[0], output))
        return output.detach().requires_grad_()

    for block in model.blocks:
        block.register_forward_hook(apart)
    model(tokens)
    for layer, (x, out) in enumerate(seen):
        for t in range(12):
            (gradient,) = torch.autograd.grad(out[0, t].sum(), x, retain_graph=True)
            visible = (gradient[0] != 0).any(-1)
            first = max(0, t - band + 1) if layer % 2 else 0
            assert visible.tolist() == [first <= s <= t for s in range(12)], (layer, t)


def test_cache_and_padding_with_bands_give_the_same_logits_in_any_cut() -> None:
    model = jittered(CONFIGS[2].model_copy(update={"band": 3, "layers": 4})).double()
    tokens = torch.randint(0, 64, (2, 12), generator=torch.Generator().manual_seed(0))
    real = torch.arange(12)[None] >= torch.tensor([0, 5])[:, None]
    positions = (real.cumsum(1) - 1).clamp(min=0)
    expected = model.logits(model.hidden_states(tokens, Padding(real), positions=positions))
    assert torch.allclose(expected[1, 5:], model(tokens[1:, 5:])[0], atol=1e-12)
    for cuts in ([12], [1] * 12, [6, 1, 2, 3]):
        cache, parts, done = model.new_cache(2), [], 0
        for part, where in zip(tokens.split(cuts, 1), positions.split(cuts, 1), strict=True):
            done += part.shape[1]
            parts.append(model.logits(model.hidden_states(part, Padding(real[:, :done]), cache, where)))
        assert torch.allclose(torch.cat(parts, 1)[real], expected[real], atol=1e-12)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_residual_stream_is_flat_in_depth_at_initialisation(norm: str) -> None:
    """Pre-LN with 1/sqrt(2 L): the stream does not grow with the number of layers. Post-LN makes it 1."""
    ends = {}
    for layers in (2, 24):
        config = GPTConfig(layers=layers, width=64, heads=4, context=32, vocab=200, norm=norm)
        model = GPT(config, seed=0)
        sizes: list[float] = []
        for block in model.blocks:
            block.register_forward_hook(lambda _m, _i, output, sizes=sizes: sizes.append(output.std().item()))
        with torch.no_grad():
            model(torch.randint(0, 200, (4, 32), generator=torch.Generator().manual_seed(0)))
        ends[layers] = sizes[-1]
        if norm == "post":
            assert sizes == pytest.approx([1.0] * layers, abs=1e-2)
    assert ends[24] == pytest.approx(ends[2], rel=0.05)


def test_gpt1_has_no_scaled_projections_and_no_final_norm() -> None:
    model = GPT(GPTConfig(layers=8, width=256, heads=8, context=256, vocab=2000, norm="post"), seed=0)
    std = {name: p.std().item() for name, p in model.named_parameters()}
    for name in ("position_embedding.weight", "blocks.3.attention.out.weight", "blocks.3.contract.weight"):
        assert std[name] == pytest.approx(0.02, rel=0.02)
    assert "ln_f.weight" not in std


def test_initialisation_follows_the_paper() -> None:
    config = GPTConfig(layers=8, width=256, heads=8, context=256, vocab=2000)
    model = GPT(config, seed=0)
    std = {name: p.std().item() for name, p in model.named_parameters()}
    assert std["token_embedding.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["position_embedding.weight"] == pytest.approx(0.01, rel=0.02)
    assert std["blocks.3.attention.qkv.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["blocks.3.attention.out.weight"] == pytest.approx(0.02 / math.sqrt(16), rel=0.02)
    assert std["blocks.3.contract.weight"] == pytest.approx(0.02 / math.sqrt(16), rel=0.02)
    assert not model.blocks[0].expand.bias.any()
    assert "lm_head.weight" not in model.state_dict()


def test_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = GPT(CONFIGS[1], seed=4).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(v, first[k]) for k, v in GPT(CONFIGS[1], seed=4).state_dict().items())
    assert not torch.equal(GPT(CONFIGS[1], seed=5).token_embedding.weight, first["token_embedding.weight"])


@pytest.mark.parametrize(
    "config",
    [
        *CONFIGS,
        CONFIGS[1].model_copy(update={"norm": "post"}),
        CONFIGS[1].model_copy(update={"head_width": 5, "band": 3}),
    ],
)
def test_parameter_count(config: GPTConfig) -> None:
    assert config.parameter_count() == sum(p.numel() for p in GPT(config).parameters())


def test_published_sizes() -> None:
    sizes = {name: GPT_PRESETS[name].parameter_count() for name in GPT_PRESETS if name.startswith("gpt2")}
    assert sizes == {
        "gpt2": 124_439_808,
        "gpt2-medium": 354_823_168,
        "gpt2-large": 774_030_080,
        "gpt2-xl": 1_557_611_200,
    }


def test_sizes_of_gpt1_and_gpt3() -> None:
    """Within 5 % of the names of table 2.1, with the two rows that do not add up as printed."""
    assert GPT_PRESETS["gpt1"].parameter_count() == 116_534_784
    billions = {name: GPT_PRESETS[f"gpt3-{name}"].parameter_count() / 1e9 for name in (
        "small", "medium", "large", "xl-fixed", "2.7b", "6.7b", "13b", "13b-fixed", "175b"
    )}  # fmt: skip
    named = [0.125, 0.355, 0.760, 1.3, 2.7, 6.7, 13, 13, 175]
    assert list(billions.values()) == [pytest.approx(b, rel=0.05) for b in named]
    printed = GPT_PRESETS["gpt3-xl"]
    assert printed.inner_width() == 24 * 128 != printed.width
    assert printed.parameter_count() / 1e9 == pytest.approx(1.52, abs=0.01)  # 17 % more than its name says
    assert GPT_PRESETS["gpt3-13b"].inner_width() == 5120 != GPT_PRESETS["gpt3-13b"].width == 5140
    assert {GPT_PRESETS[name].context for name in GPT_PRESETS if name.startswith("gpt3")} == {2048}


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 3"):
        GPTConfig(width=10, heads=3)
    with pytest.raises(ValueError, match="did you mean 'nano'"):
        gpt_preset("nanno")
    model = GPT(CONFIGS[0])
    with pytest.raises(ValueError, match="6 tokens do not fit the context of 5"):
        model(torch.zeros(1, 6, dtype=torch.int64))


def test_preset_with_another_vocabulary() -> None:
    assert gpt_preset("nano", vocab=300, dropout=0.1) == GPT_PRESETS["nano"].model_copy(
        update={"vocab": 300, "dropout": 0.1}
    )
