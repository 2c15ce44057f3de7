"""The modern decoder: each of its parts against its definition, and what a causal model may not see."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lm.config import TrainConfig
from lm.models.modern import Modern
from lm.models.modern_config import MODERN_OPTIMIZER, MODERN_PRESETS, ModernConfig, modern_preset
from lm.nn.masks import Document, Padding
from lm.nn.norms import rms_norm
from lm.nn.rotary import rotate, rotation_table
from lm.pretrain import pretrain
from lm.pretraining import ModernPretraining
from lm.recipes.recipe import Given
from lm.text_model import open_model
from lm.tokens import build_index

CONFIG = ModernConfig(layers=3, width=24, heads=3, context=16, vocab=40)


def jittered(config: ModernConfig = CONFIG, seed: int = 1) -> Modern:
    """A model in which what begins at zero is not zero, in fp64."""
    model = Modern(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model.double().eval()


def tokens_of(batch: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 40, (batch, time), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 7), (1, 1)])
def test_rms_norm_equals_torchs(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(shape, generator=generator, dtype=torch.float64)
    ours, theirs = rms_norm(x), F.rms_norm(x, shape[-1:], eps=1e-6)
    assert torch.allclose(ours, theirs, atol=1e-12)
    (a,), (b,) = (torch.autograd.grad(y, x, upstream) for y in (ours, theirs))
    assert torch.allclose(a, b, atol=1e-12)
    assert torch.autograd.gradcheck(rms_norm, x)


def test_rotation_is_a_rotation_and_products_depend_on_the_distance_alone() -> None:
    """As complex numbers: x_i + j x_{i+d/2} is multiplied by exp(j position base^(-2i/d))."""
    table = rotation_table(50, 8, base=100.0).double()
    x = torch.randn(50, 2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    angle = torch.arange(50)[:, None] * 100.0 ** (-torch.arange(0, 8, 2) / 8)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones(50, 4), angle).to(torch.complex128)[:, None]
    got = rotate(x, (table[0], table[1]))
    assert torch.allclose(got, torch.cat([turned.real, turned.imag], -1), atol=1e-5)
    assert torch.allclose(got.norm(dim=-1), x.norm(dim=-1), atol=1e-6)
    q, k = x[0].expand(50, 2, 8), x[1].expand(50, 2, 8)
    products = torch.einsum("mhd,nhd->hmn", rotate(q, (table[0], table[1])), rotate(k, (table[0], table[1])))
    for distance in (0, 3, 20):
        assert products.diagonal(distance, 1, 2).std(-1).max() < 1e-5
    assert products[0, 0].std() > 0.1
    with pytest.raises(ValueError, match="the head width 7 is odd"):
        rotation_table(3, 7, 100.0)


def test_the_forward_pass_is_the_equations() -> None:
    """Written out once more, a position and a head at a time."""
    model, tokens = jittered(), tokens_of(1, 7)[0]
    norm = lambda x: x / (x.square().mean() + 1e-6).sqrt()  # noqa: E731
    cos, sin = model.rotation[0, :, 0], model.rotation[1, :, 0]
    seen = [norm(model.token_embedding.weight[t]) for t in tokens]
    stream = [x + model.smear * b for x, b in zip(seen, [0 * seen[0], *seen[:-1]], strict=True)]
    for block in model.blocks:
        heads, out = block.qkv.view(3, 3, 8, 24), []
        turn = lambda x, t: x * cos[t] + torch.cat([x[4:], x[:4]]) * sin[t]  # noqa: E731
        for t in range(7):
            mixed = []
            for h in range(3):
                q = turn(norm(heads[0, h] @ norm(stream[t])), t)
                keys = [turn(norm(heads[1, h] @ norm(stream[s])), s) for s in range(t + 1)]
                weights = torch.stack([q @ k / math.sqrt(8) for k in keys]).softmax(0)
                mixed.append(sum(w * (heads[2, h] @ norm(stream[s])) for s, w in enumerate(weights)))
            out.append(stream[t] + block.out.weight @ torch.cat(mixed))
        stream = [x + block.contract.weight @ torch.relu(block.expand.weight @ norm(x)).square() for x in out]
    expected = torch.stack([model.head.weight @ norm(x) for x in stream])
    assert torch.allclose(model(tokens[None])[0], expected, atol=1e-9)


def test_at_first_every_layer_is_the_identity_and_every_token_equally_likely() -> None:
    model = Modern(CONFIG, seed=3)
    tokens = tokens_of(2, 9)
    assert not model(tokens).any()
    assert torch.allclose(model.hidden_states(tokens), rms_norm(rms_norm(model.token_embedding(tokens))), atol=1e-5)
    model(tokens).logsumexp(-1).sum().backward()
    loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
    assert loss.item() == pytest.approx(math.log(40), abs=1e-5)


def test_no_position_sees_the_future() -> None:
    model, tokens, states = jittered(), tokens_of(1, 12), []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        states.append(output)

    model.token_embedding.register_forward_hook(keep)
    for t in range(12):
        states.clear()
        model(tokens)[0, t].sum().backward()
        gradient = states[0].grad
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1] != 0).any(-1).all()


def test_cache_and_left_padding_give_the_same_logits_in_any_cut() -> None:
    model, tokens = jittered(), tokens_of(2, 12)
    real = torch.arange(12)[None] >= torch.tensor([0, 5])[:, None]
    positions = (real.cumsum(1) - 1).clamp(min=0)
    alone = model(tokens[1:, 5:])
    expected = model.logits(model.hidden_states(tokens, Padding(real), positions=positions))
    assert torch.allclose(expected[1, 5:], alone[0], atol=1e-9)
    for cuts in ([12], [6, 1, 2, 3], [1] * 12):
        cache, parts, done = model.new_cache(2), [], 0
        for part, where in zip(tokens.split(cuts, 1), positions.split(cuts, 1), strict=True):
            done += part.shape[1]
            parts.append(model.logits(model.hidden_states(part, Padding(real[:, :done]), cache, where)))
        assert torch.allclose(torch.cat(parts, 1)[real], expected[real], atol=1e-9)


def test_a_packed_neighbour_is_not_seen_through_a_document_mask() -> None:
    model, tokens = jittered(), tokens_of(1, 12)
    ids = torch.tensor([[0] * 5 + [1] * 7])
    other = tokens.clone()
    other[:, :5] = (other[:, :5] + 1) % 40
    assert torch.equal(model(tokens, Document(ids))[:, 5:], model(other, Document(ids))[:, 5:])
    assert not torch.allclose(model(tokens)[:, 5:], model(other)[:, 5:])


def test_bf16_is_near_fp32_with_gradients() -> None:
    model, tokens = jittered().float(), tokens_of(3, 16)
    exact = model(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(tokens)
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()
    grads = [torch.autograd.grad(y.float().square().mean(), model.blocks[0].qkv)[0] for y in (exact, rounded)]
    assert F.cosine_similarity(grads[0].flatten(), grads[1].flatten(), dim=0) > 0.99


@pytest.mark.parametrize("config", [CONFIG, CONFIG.model_copy(update={"tied": True})])
def test_parameter_count_seed_and_tied_heads(config: ModernConfig) -> None:
    model = Modern(config, seed=4)
    assert config.parameter_count() == sum(p.numel() for p in model.parameters())
    assert ("head.weight" in model.state_dict()) is not config.tied
    torch.manual_seed(1)
    again = Modern(config, seed=4).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in model.state_dict().items())
    assert not torch.equal(Modern(config, seed=5).blocks[0].qkv, model.blocks[0].qkv)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="width 24 is not a multiple of twice the heads, 2 \\* 5"):
        ModernConfig(width=24, heads=5)
    with pytest.raises(ValueError, match="did you mean 'nano'"):
        modern_preset("nanno")
    with pytest.raises(ValueError, match="17 tokens do not fit the context of 16"):
        Modern(CONFIG)(tokens_of(1, 17))
    assert modern_preset("nano", vocab=300, layers=2) == MODERN_PRESETS["nano"].model_copy(
        update={"vocab": 300, "layers": 2}
    )


def test_it_brings_its_own_optimiser_and_schedule_unless_told_otherwise() -> None:
    train = TrainConfig(steps=10)
    own = ModernPretraining(model=CONFIG).resolve(train)
    assert own.optimizer == MODERN_OPTIMIZER
    assert own.schedule.shape == "wsd"
    plain = ModernPretraining(model=CONFIG, optimizer=None, schedule=None).resolve(train)
    assert plain.optimizer.method == "adamw"
    assert plain.schedule == train.schedule


def test_it_is_pretrained_written_opened_and_made_to_write(
    tmp_path: Path, shards: list[Path], tokenizer_dir: Path
) -> None:
    index = build_index(shards, lambda ids: np.ones(len(ids), dtype=np.int64))
    settings = ModernPretraining(model=ModernConfig(layers=1, width=32, heads=2, context=16, vocab=index.vocab))
    train = TrainConfig(steps=25, batch=8, precision="fp32", sample_interval=0, eval_sequences=8)
    given = Given(settings, settings.resolve(train), index, index, tokenizer_dir)
    result = pretrain(given, tmp_path / "checkpoints", tmp_path / "model")
    bits = {name: result[name]["bits_per_byte"] for name in ("valid", "unigram", "untrained")}
    assert bits["valid"] < bits["unigram"] < bits["untrained"]
    model = open_model(tmp_path / "model")
    assert model.kind == "modern"
    (score,) = model.score(["the model learns the data"])
    assert 0 < score.nats < score.bytes * math.log(256)
    assert model.generate("the", 5, seed=1) == model.generate("the", 5, seed=1) != ""
    assert model.generate("the", 5, seed=1, stop=[" "]).count(" ") == 0
