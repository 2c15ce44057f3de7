"""Transformer-XL: relative attention term by term, memory, what may not be seen, an independent implementation."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.evaluate.recurrent import score_tokens, stream_bits_per_byte
from lm.generate_recurrent import generate_recurrent
from lm.models.transformer_xl import RelativeAttention, TransformerXL
from lm.models.transformer_xl_config import TRANSFORMER_XL_PRESETS, TransformerXLConfig, transformer_xl_preset
from lm.nn.memory import READ
from lm.nn.relative import attend_by_scores, distances, relative_shift, shifted_at, sinusoids
from lm.nn.stateful import Carried
from lm.objectives.recurrent import RecurrentObjective
from lm.streams import RESET, ArrayPieces, Lanes

SMALL = TransformerXLConfig(layers=2, width=12, heads=3, inner=20, memory=8, vocab=17)


def changed(**fields: Any) -> TransformerXLConfig:
    return TransformerXLConfig.model_validate({**SMALL.model_dump(), **fields})


def sharp(config: TransformerXLConfig, seed: int = 1) -> TransformerXL:
    """A model in fp64 whose attention and distributions are far from uniform."""
    model = TransformerXL(config, seed).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)), dtype=p.dtype) * 0.4)
    return model


def tokens(batch: int, time: int, vocab: int = 17, seed: int = 0) -> Tensor:
    return torch.randint(0, vocab, (batch, time), generator=torch.Generator().manual_seed(seed))


def sinusoid(distance: int, width: int) -> Tensor:
    """R of one distance, from the paper's formula."""
    rates = [10_000 ** (-2 * i / width) for i in range(math.ceil(width / 2))]
    both = [math.sin(distance * w) for w in rates] + [math.cos(distance * w) for w in rates]
    return torch.tensor(both[:width], dtype=torch.float64)


@pytest.mark.parametrize(("time", "remembered"), [(1, 0), (1, 4), (4, 0), (5, 3), (3, 7)])
def test_attention_equals_a_loop_over_the_four_terms(time: int, remembered: int) -> None:
    """Equation of section 3.3, one query, one key and one term at a time."""
    width, heads, head = 12, 3, 4
    model = sharp(SMALL)
    attention = model.layers[0].attention
    assert isinstance(attention, RelativeAttention)
    draw = torch.Generator().manual_seed(time)
    states = torch.randn(2, remembered + time, width, generator=draw, dtype=torch.float64)
    keys = remembered + time
    r = sinusoids(distances(time, keys, causal=True), width)
    visible = torch.ones(time, keys, dtype=torch.bool).tril(remembered)
    with torch.no_grad():
        got = attention(states[:, remembered:], states[:, :remembered], r, model.u, model.v, visible)
        w_q, w_k, w_v = (m.view(heads, head, width) for m in attention.qkv.weight.split(width))
        w_r = attention.position.weight.view(heads, head, width)
        for b in range(2):
            for i in range(time):
                vectors = []
                for h in range(heads):
                    query = w_q[h] @ states[b, remembered + i]
                    u, v = model.u[h, 0], model.v[h, 0]
                    scores = []
                    for j in range(remembered + i + 1):
                        key, place = w_k[h] @ states[b, j], w_r[h] @ sinusoid(remembered + i - j, width)
                        scores.append(query @ key + query @ place + u @ key + v @ place)
                    weights = torch.stack(scores).div(math.sqrt(head)).softmax(0)
                    vectors.append(sum(p * (w_v[h] @ states[b, j]) for j, p in enumerate(weights)))
                expected = attention.out.weight @ torch.cat(vectors)  # type: ignore[arg-type]
                assert torch.allclose(got[b, i], expected, atol=1e-10)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 6), (5, 5), (4, 9)])
def test_shift_puts_each_distance_to_its_key(queries: int, keys: int, causal: bool) -> None:
    table = distances(queries, keys, causal=causal)
    numbers = table.double().expand(2, 3, queries, -1)
    shifted = relative_shift(numbers, keys)
    position = torch.arange(keys - queries, keys)[:, None]
    expected = position - torch.arange(keys)
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries) if causal else expected == expected
    assert shifted.shape == (2, 3, queries, keys)
    assert (shifted == expected)[..., seen].all()
    if not causal:
        some = torch.tensor([[queries - 1, 0], [0, queries // 2]])
        picked = numbers[:, :, :2].expand(2, 3, 2, -1) if queries > 1 else numbers.expand(2, 3, 2, -1)
        at = shifted_at(picked, some, queries, keys)
        for b in range(2):
            assert (at[b] == expected[some[b]]).all()
    clamped = distances(queries, keys, causal=causal, clamp=2)
    assert clamped.tolist() == [max(-2, min(2, d)) for d in table.tolist()]


def test_a_query_that_sees_nothing_gets_nothing() -> None:
    scores = torch.zeros(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    v = torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    visible = torch.tensor([[False, False, False], [True, False, True]])
    out = attend_by_scores(scores, v, visible, blind=True)
    assert (out[0, 0, 0] == 0).all()
    assert torch.allclose(out[0, 0, 1], (v[0, 0, 0] + v[0, 0, 2]) / 2)
    out[0, 0, 0].sum().backward()
    assert (v.grad == 0).all()
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cuts", [[24], [1] * 24, [7, 1, 1, 5, 10], [12, 12]])
def test_segments_with_enough_memory_equal_one_pass(layers: int, cuts: list[int]) -> None:
    model = sharp(changed(layers=layers, memory=24))
    read = tokens(3, 24)
    whole = model(read)
    carried = Carried(model)
    parts = torch.cat([carried(part) for part in read.split(cuts, dim=1)], 1)
    assert torch.allclose(parts, whole, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_known_reaches_back_layers_times_memory(layers: int) -> None:
    """Token by token with a memory of 4: a change `layers` * 4 tokens ago is seen, one further back is not at all."""
    model = sharp(changed(layers=layers, memory=4))
    read = tokens(1, 20)
    with torch.no_grad():
        for distance in range(1, 12):
            other = read.clone()
            other[0, 19 - distance] = (other[0, 19 - distance] + 1) % 17
            last = []
            for text in (read, other):
                carried = Carried(model)
                last.append([carried(text[:, t : t + 1]) for t in range(20)][-1])
            assert torch.equal(*last) == (distance > 4 * layers)


def test_no_gradient_leaves_a_segment() -> None:
    model = sharp(SMALL)
    first, second = torch.arange(8)[None], torch.arange(8, 14)[None]
    reading = model.read(first)
    assert not any(state.requires_grad for state in reading.states.values())
    model.read(second, reading.states).outputs.square().sum().backward()
    gradient = model.token_embedding.weight.grad
    assert gradient is not None
    assert (gradient[:8] == 0).all()
    assert (gradient[8:14] != 0).any(-1).all()
    with torch.no_grad():
        without = model.read(second).outputs
        assert not torch.allclose(model.read(second, reading.states).outputs, without)


@pytest.mark.parametrize("fields", [{}, {"same_length": True, "memory": 3}, {"clamp": 2}, {"memory": 0}])
def test_the_future_is_not_seen(fields: dict[str, Any]) -> None:
    model = sharp(changed(**fields))
    seen: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    model.token_embedding.register_forward_hook(keep)
    before = {name: state.detach() for name, state in model.read(tokens(1, 9, seed=1)).states.items()}
    for t in range(7):
        seen.clear()
        model.logits(model.read(tokens(1, 7), before).dropped)[0, t].square().sum().backward()
        gradient = seen[0].grad
        assert gradient is not None
        assert (gradient[0, t + 1 :] == 0).all()
        reach = 7 if not model.config.same_length else 2 * (model.config.memory - 1)
        assert (gradient[0, max(0, t - reach) : t + 1] != 0).any(-1).all()


def test_every_position_sees_as_many_with_same_length() -> None:
    model = sharp(changed(layers=1, memory=5, same_length=True))
    whole = sharp(changed(layers=1, memory=64))
    read = tokens(2, 30)
    carried = Carried(model)
    parts = torch.cat([carried(part) for part in read.split(6, dim=1)], 1)
    for t in (4, 5, 6, 17, 29):
        alone = whole(read[:, max(0, t - 4) : t + 1])[:, -1]
        assert torch.allclose(parts[:, t], alone, atol=1e-12)


def test_rows_begin_anew_on_their_own() -> None:
    """A row whose lane begins equals one that has read nothing; the other goes on."""
    objective, model = RecurrentObjective(12), sharp(SMALL)
    batch = {"tokens": tokens(2, 6), RESET: torch.tensor([False, True])}
    first = objective.losses(model, {"tokens": tokens(2, 5, seed=3)})
    assert first.carry[READ].tolist() == [4, 4]
    assert first.carry["0"].shape == (2, 8, 12)
    carried = {f"carry.{name}": state for name, state in first.carry.items()}
    second = objective.losses(model, {**batch, **carried})
    assert second.carry[READ].tolist() == [8, 5]
    fresh = model.read(batch["tokens"][:, :-1])
    assert torch.allclose(second.carry["1"][1, -5:], fresh.states["1"][1, -5:], atol=1e-12)
    assert not torch.allclose(second.carry["1"][0, -5:], fresh.states["1"][0, -5:])


def test_equals_transformers_one_stream_xlnet() -> None:
    """transformers' XLNet with attn_type `uni` is Transformer-XL; u and v are per layer there, and no √d."""
    transformers = pytest.importorskip("transformers")
    model = sharp(changed(layers=3, norm_epsilon=1e-12)).float()
    theirs = transformers.XLNetModel(
        transformers.XLNetConfig(
            vocab_size=17, d_model=12, n_layer=3, n_head=3, d_inner=20, ff_activation="relu", attn_type="uni", mem_len=8
        )
    ).eval()
    heads = (12, 3, 4)
    with torch.no_grad():
        theirs.word_embedding.weight.copy_(model.token_embedding.weight * math.sqrt(12))
        for ours, layer in zip(model.layers, theirs.layer, strict=True):
            for name, weight in zip("qkv", ours.attention.qkv.weight.split(12), strict=True):
                getattr(layer.rel_attn, name).copy_(weight.T.reshape(heads))
            layer.rel_attn.r.copy_(ours.attention.position.weight.T.reshape(heads))
            layer.rel_attn.o.copy_(ours.attention.out.weight.reshape(heads))
            layer.rel_attn.r_w_bias.copy_(model.u[:, 0])
            layer.rel_attn.r_r_bias.copy_(model.v[:, 0])
            layer.rel_attn.layer_norm.load_state_dict(ours.ln_1.state_dict())
            layer.ff.layer_1.load_state_dict(ours.expand.state_dict())
            layer.ff.layer_2.load_state_dict(ours.contract.state_dict())
            layer.ff.layer_norm.load_state_dict(ours.ln_2.state_dict())
        states, memory = None, None
        for seed, length in enumerate((5, 6, 1, 9)):
            read = tokens(2, length, seed=seed)
            reading = model.read(read, states)
            expected = theirs(read, mems=memory, use_mems=True)
            states, memory = reading.states, expected.mems
            assert torch.allclose(reading.outputs, expected.last_hidden_state, atol=1e-4)
            for n in range(3):
                assert torch.allclose(states[str(n)][:, -memory[n].shape[0] :], memory[n].transpose(0, 1), atol=1e-4)


@pytest.mark.parametrize("name", TRANSFORMER_XL_PRESETS)
def test_parameter_count(name: str) -> None:
    config = transformer_xl_preset(name, vocab=50, layers=2)
    assert config.parameter_count() == sum(p.numel() for p in TransformerXL(config).parameters())


def test_published_sizes() -> None:
    """The paper's table 2 has 41 million for enwik8; the authors' vocabulary there is of 204 symbols."""
    assert round(TRANSFORMER_XL_PRESETS["transformer-xl-enwik8"].parameter_count() / 1e6) == 41


def test_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = TransformerXL(SMALL, seed=4).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(v, first[k]) for k, v in TransformerXL(SMALL, seed=4).state_dict().items())
    other = TransformerXL(SMALL, seed=5).state_dict()
    same = {name for name in first if torch.equal(first[name], other[name])}
    assert all(name.endswith("bias") for name in same)
    assert 0.01 < first["token_embedding.weight"].std() < 0.03
    assert 0.9 < first["layers.0.ln_1.weight"].mean() < 1.1


def test_without_memory_it_does_not_write_token_by_token() -> None:
    with pytest.raises(ValueError, match="a model without memory forgets each token that it writes"):
        generate_recurrent(sharp(changed(memory=0)), [[1]], 3)


def test_greedy_generation_equals_reading_everything_again() -> None:
    model = sharp(changed(memory=32))
    prompts = [[3], [1, 4, 1, 5], [9, 2]]
    got = generate_recurrent(model, prompts, 12, temperature=0)
    for prompt, new in zip(prompts, got, strict=True):
        text = list(prompt)
        for _ in range(12):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
        assert new == text[len(prompt) :]


def test_scores_are_those_of_the_whole_text_at_once() -> None:
    model = sharp(changed(memory=64))
    text = tokens(1, 50)
    p = model(text[:, :-1])[0].log_softmax(-1)[torch.arange(49), text[0, 1:]]
    for segment in (7, 49, 1000):
        assert np.allclose(score_tokens(model, text[0].numpy(), segment), -p.detach().numpy(), atol=1e-12)
    figures = stream_bits_per_byte(model, Lanes(ArrayPieces(text[0].numpy(), 7), 1), np.ones(17, dtype=np.int64))
    assert figures["nats"] == pytest.approx(-float(p.detach().sum()), abs=1e-9)


def test_under_autocast_the_memory_keeps_its_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        model = TransformerXL(SMALL).eval()
        reading = model.read(tokens(2, 5))
        again = model.read(tokens(2, 5), reading.states)
    assert again.states["1"].dtype == torch.float32
    assert again.outputs.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 5}, "width 12 is not a multiple of heads 5"),
        ({"same_length": True, "memory": 0}, "same_length says that every position sees `memory` tokens"),
        ({"mem_len": 3}, "Extra inputs are not permitted"),
    ],
)
def test_configurations_that_make_no_sense(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(**fields)


def test_unknown_presets_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'xl-nano'"):
        transformer_xl_preset("xl-nan")
