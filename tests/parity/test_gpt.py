"""GPT-1 and GPT-2 against transformers, GPT-3's bands against its GPT-Neo: random sizes, random weights, both ways of
padding, values, loss and every gradient."""

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.interop.gpt2 import PREFIX, config_to_hugging_face, weight_rows
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.nn.masks import Padding

transformers = pytest.importorskip("transformers")
CLASSES = {
    "pre": (transformers.GPT2LMHeadModel, transformers.GPT2Config),
    "post": (transformers.OpenAIGPTLMHeadModel, transformers.OpenAIGPTConfig),
}


def random_config(number: int, norm: str) -> GPTConfig:
    draw = random.Random(f"{norm}{number}")
    heads = draw.randint(1, 5)
    return GPTConfig(
        layers=draw.randint(1, 4),
        width=heads * draw.randint(2, 9),
        heads=heads,
        context=draw.randint(3, 33),
        vocab=draw.randint(5, 130),
        norm_epsilon=draw.choice([1e-5, 1e-4, 1e-6]),
        norm=norm,
    )


def jittered(config: GPTConfig, seed: int) -> GPT:
    """A model whose biases and layer norms are not the trivial ones of initialisation."""
    model = GPT(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model.eval()


def padded_batch(config: GPTConfig, side: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, which of them are real, and where each stands."""
    generator = torch.Generator().manual_seed(seed)
    time = int(torch.randint(2, config.context + 1, (), generator=generator))
    tokens = torch.randint(0, config.vocab, (3, time), generator=generator)
    lengths = torch.tensor([time, *torch.randint(1, time + 1, (2,), generator=generator).tolist()])
    if side == "none":
        lengths = torch.full((3,), time)
    real = torch.arange(time)[None] < lengths[:, None]
    real = real.flip(1) if side == "left" else real
    return tokens, real, (real.cumsum(1) - 1).clamp(min=0)


def real_targets(tokens: Tensor, real: Tensor) -> Tensor:
    """The next token where both it and the one before are real, else -100."""
    return torch.where(real[:, 1:] & real[:, :-1], tokens[:, 1:], -100)


def hugging_face(model: GPT, dtype: torch.dtype) -> nn.Module:
    """Theirs with our weights."""
    model_class, config_class = CLASSES[model.config.norm]
    theirs = model_class(config_class(**config_to_hugging_face(model.config, 0))).to(dtype).eval()
    named, ours = dict(theirs.named_parameters()), model.state_dict()
    with torch.no_grad():
        for row in weight_rows(model.config):
            named[PREFIX + row.theirs].copy_(ours[row.ours].T if row.transpose else ours[row.ours])
    return theirs  # type: ignore[no-any-return]


@pytest.mark.parametrize("number", range(20))
@pytest.mark.parametrize("norm", CLASSES)
def test_logits_loss_and_gradients_equal_transformers(norm: str, number: int) -> None:
    config = random_config(number, norm)
    dtype, tolerance = [(torch.float32, 1e-4), (torch.float64, 1e-9)][number % 2]
    model = jittered(config, number)
    theirs = hugging_face(model, dtype)
    named = dict(theirs.named_parameters())
    assert len(named) == len(weight_rows(config))
    model = model.to(dtype)
    tokens, real, positions = padded_batch(config, ["none", "right", "left"][number % 3], number)
    targets = real_targets(tokens, real)
    labels = F.pad(targets, (1, 0), value=-100)
    expected = theirs(tokens, attention_mask=real.long(), position_ids=positions, labels=labels)
    logits = model.logits(model.hidden_states(tokens, Padding(real), positions=positions))
    assert (logits - expected.logits)[real].abs().max() <= tolerance
    if (targets == -100).all():
        return
    loss, same = (
        F.cross_entropy(each[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100)
        for each in (logits, expected.logits)
    )
    assert abs(loss.item() - same.item()) <= tolerance
    assert abs(loss.item() - expected.loss.item()) <= 1e-4  # theirs is in fp32 whatever the model
    loss.backward()
    same.backward()
    gradients = dict(model.named_parameters())
    for row in weight_rows(config):
        a, b = gradients[row.ours].grad, named[PREFIX + row.theirs].grad
        assert a is not None
        assert ((a.T if row.transpose else a) - b).abs().max() <= tolerance, row


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_may_have_positions_too(side: str) -> None:
    """Positions counted from the first column on, whatever is hidden there."""
    model = jittered(random_config(3, "pre"), 3).double()
    tokens, real, _ = padded_batch(model.config, side, 3)
    assert not real.all()
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    expected = hugging_face(model, torch.float64)(tokens, attention_mask=real.long(), position_ids=positions).logits
    got = model(tokens, Padding(real))
    assert (got - expected)[real].abs().max() <= 1e-9
    assert got.isfinite().all()


def gpt_neo(model: GPT) -> nn.Module:
    """GPT-Neo with the same weights: it has local layers too, but no query, key and value biases and no 1/sqrt(d)."""
    c = model.config
    theirs = transformers.GPTNeoForCausalLM(
        transformers.GPTNeoConfig(
            vocab_size=c.vocab,
            max_position_embeddings=c.context,
            hidden_size=c.width,
            num_layers=c.layers,
            num_heads=c.heads,
            attention_types=[[["global", "local"], c.layers // 2]],
            window_size=c.band,
            layer_norm_epsilon=c.norm_epsilon,
            activation_function="gelu_new",
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    to = theirs.transformer
    scale = (c.width // c.heads) ** 0.5  # into the queries
    with torch.no_grad():
        to.wte.weight.copy_(model.token_embedding.weight)
        to.wpe.weight.copy_(model.position_embedding.weight)
        to.ln_f.load_state_dict(model.ln_f.state_dict())
        for block, there in zip(model.blocks, to.h, strict=True):
            block.attention.qkv.bias.zero_()
            q, k, v = block.attention.qkv.weight.chunk(3)
            attention = there.attn.attention
            for linear, weight in ((attention.q_proj, q / scale), (attention.k_proj, k), (attention.v_proj, v)):
                linear.weight.copy_(weight)
            for name, part in (
                ("ln_1", there.ln_1),
                ("ln_2", there.ln_2),
                ("attention.out", attention.out_proj),
                ("expand", there.mlp.c_fc),
                ("contract", there.mlp.c_proj),
            ):
                part.load_state_dict(block.get_submodule(name).state_dict())
    return theirs


@pytest.mark.parametrize("number", range(10))
def test_banded_layers_equal_those_of_gpt_neo(number: int) -> None:
    draw = random.Random(number)
    size = random_config(number, "pre").model_dump()
    config = GPTConfig(**{**size, "layers": draw.choice([2, 4]), "band": draw.randint(1, size["context"])})
    model = jittered(config, number).double()
    theirs = gpt_neo(model).double()
    tokens = torch.randint(0, config.vocab, (3, config.context), generator=torch.Generator().manual_seed(number))
    logits, expected = model(tokens), theirs(tokens).logits
    assert (logits - expected).abs().max() <= 1e-6  # GPT-Neo multiplies queries and keys in fp32
    for each in (logits, expected):
        F.cross_entropy(each[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    for name in ("wte", "wpe", "ln_f"):
        ours = {"wte": model.token_embedding, "wpe": model.position_embedding, "ln_f": model.ln_f}[name].weight.grad
        assert (ours - theirs.transformer.get_submodule(name).weight.grad).abs().max() <= 1e-6
