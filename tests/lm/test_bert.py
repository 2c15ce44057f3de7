"""BERT, RoBERTa and ALBERT: what the heads are, what a position sees, sizes."""

import pytest
import torch
from torch.nn import functional as F

from lm.models.bert import Bert
from lm.models.bert_config import BERT_PRESETS, BertConfig, bert_preset
from lm.nn.attention import attend
from lm.nn.masks import Compiled, Padding, compile_mask
from tests.lm.small_bert import KIN, PAD, jittered, random_config


def test_the_heads_on_masked_positions_are_those_on_all() -> None:
    model = jittered(bert_preset("bert-tiny", vocab=50, layers=1, width=16, dropout=0.0)).double()
    hidden = model.hidden_states(torch.arange(6, 18).view(2, 6))
    chosen = (torch.tensor([0, 0, 1]), torch.tensor([1, 4, 2]))
    assert torch.allclose(
        model.masked_logits(hidden[chosen]), model(torch.arange(6, 18).view(2, 6))[chosen], atol=1e-12
    )


def test_padding_changes_nothing_for_real_tokens() -> None:
    for kind in ("bert", "roberta"):
        model = jittered(random_config(kind, 3).model_copy(update={"context": 12})).double()
        tokens = torch.randint(2, model.config.vocab, (1, 7), generator=torch.Generator().manual_seed(0))
        alone = model(tokens)
        padded = torch.cat([tokens, torch.full((1, 5), PAD[kind])], 1)
        real = torch.arange(12)[None] < 7
        assert torch.allclose(model(padded, mask=Padding(real))[:, :7], alone, atol=1e-12)


def test_every_position_sees_every_other() -> None:
    model = jittered(BertConfig(layers=1, width=8, heads=2, context=9, vocab=30, dropout=0.0)).double()
    states: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        states.append(output)

    model.token_embedding.register_forward_hook(keep)
    model(torch.arange(9)[None])[0, 3].sum().backward()
    assert states[0].grad is not None
    assert (states[0].grad[0] != 0).any(-1).all()


@pytest.mark.parametrize("hidden", [False, True])
def test_short_bf16_attention_without_causality_equals_sdpa(hidden: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v, upstream = (torch.randn(3, 2, 17, 8, generator=generator) for _ in range(4))
    mask = compile_mask(Padding(torch.arange(17)[None] < torch.tensor([[17], [3], [0]])), 17, 17, q.device)
    mask = mask if hidden else Compiled(False, None)

    def run(dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
        out = attend(*leaves, mask)
        out.backward(upstream.to(dtype))
        return [out.detach().float(), *(x.grad.float() for x in leaves if x.grad is not None)]

    for short, exact in zip(run(torch.bfloat16), run(torch.float32), strict=True):
        assert torch.allclose(short, exact, atol=0.06, rtol=0.06)


def test_a_span_is_predicted_from_its_neighbours_and_places_alone() -> None:
    config = BertConfig(layers=1, width=8, heads=2, context=9, vocab=30, boundary_head=True, boundary_width=3)
    model = jittered(config).double()
    before, behind = torch.randn(2, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = model.boundary_logits(before, behind, torch.tensor([0, 1, 19, 77]))
    assert logits.shape == (4, 30)
    last = model.boundary_logits(before[2:3], behind[2:3], torch.tensor([500]))
    assert torch.allclose(logits[2:3], last, atol=1e-12)  # later places share the last vector
    h = torch.cat([before[:1], behind[:1], model.boundary_head.place_embedding.weight[:1]], 1)
    for layer in (model.boundary_head.first, model.boundary_head.second):
        h = F.layer_norm(
            F.gelu(h @ layer.dense.weight.T + layer.dense.bias), (8,), layer.norm.weight, layer.norm.bias, 1e-12
        )
    assert torch.allclose(logits[:1], h @ model.token_embedding.weight.T + model.boundary_head.bias, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_parameter_count(seed: int) -> None:
    config = random_config(list(KIN)[seed % 3], seed).model_copy(update={"boundary_head": seed % 2 == 0})
    assert config.parameter_count() == sum(p.numel() for p in Bert(config).parameters())


def test_published_sizes() -> None:
    """What google-research/bert and /albert say; with our pretraining heads, which their millions leave out."""
    millions = {name: round(config.parameter_count() / 1e6, 1) for name, config in BERT_PRESETS.items()}
    assert millions["bert-base"] == 110.1
    assert millions["bert-large"] == 336.2
    assert (millions["bert-tiny"], millions["bert-mini"]) == (4.4, 11.3)
    assert (millions["bert-small"], millions["bert-medium"]) == (29.1, 41.7)
    assert millions["roberta-base"] == 124.7
    assert [millions[f"albert-{size}"] for size in ("base", "large", "xlarge", "xxlarge")] == [11.8, 17.8, 59.0, 223.2]


def test_albert_shares_its_layers_and_narrows_its_embedding() -> None:
    """V E + (P + S) E + 2 E, E H + H, one layer of 12 H^2 + 13 H, and the heads: layers cost nothing."""
    v, e, h, context = 30_000, 128, 768, 512
    embeddings = (v + context + 2 + 2) * e + e * h + h
    heads = (h * e + e + 2 * e + v) + (h * h + h) + (2 * h + 2)
    layer = 12 * h * h + 13 * h
    assert BERT_PRESETS["albert-base"].parameter_count() == embeddings + layer + heads
    assert bert_preset("albert-base", layers=3).parameter_count() == embeddings + layer + heads


def test_initialisation_follows_the_paper() -> None:
    model = Bert(bert_preset("bert-tiny", vocab=2000), seed=0)
    weight = model.token_embedding.weight
    assert weight.abs().max() <= 0.04
    assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)  # of a normal cut at two deviations
    assert not model.blocks[0].expand.bias.any()
    again = Bert(bert_preset("bert-tiny", vocab=2000), seed=0).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())
    assert not torch.equal(Bert(bert_preset("bert-tiny", vocab=2000), seed=1).token_embedding.weight, weight)


def test_bad_sizes_and_missing_heads_are_named() -> None:
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 3"):
        BertConfig(width=10, heads=3)
    with pytest.raises(ValueError, match="did you mean 'bert-tiny'"):
        bert_preset("bert-tinny")
    model = Bert(BertConfig(layers=1, width=4, heads=1, context=5, vocab=9, pair_head=False))
    with pytest.raises(ValueError, match="6 tokens do not fit the context of 5"):
        model(torch.zeros(1, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match="no head for pairs"):
        model.pair_logits(torch.zeros(1, 5, 4))
    with pytest.raises(ValueError, match="no span boundary head"):
        model.boundary_logits(torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))
