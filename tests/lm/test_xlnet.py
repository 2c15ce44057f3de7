"""XLNet: its two streams, by gradient and by enumeration, its sizes and weights."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNET_PRESETS, PermutationConfig, xlnet_preset
from lm.nn.memory import READ
from lm.objectives.permutation import visible_by_rank
from tests.lm.small_xlnet import SMALL, changed, sharp, tokens


def keep_embeddings(model: XLNet) -> list[Tensor]:
    seen: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    model.token_embedding.register_forward_hook(keep)
    return seen


def test_the_query_stream_sees_what_is_earlier_and_never_itself() -> None:
    """By gradient, exactly: position i of the query stream knows what is earlier, that of the content stream also i."""
    model = sharp(SMALL)
    seen = keep_embeddings(model)
    rank = torch.tensor([[3, -1, 0, 2, -1, 1]])
    targets = torch.tensor([[0, 2, 3, 5]])
    for stream, position in itertools.product(("query", "content"), range(4)):
        seen.clear()
        streams = model.read(tokens(1, 6), visible_by_rank(rank), targets)
        at = int(targets[0, position])
        states = streams.query[:, position] if stream == "query" and streams.query is not None else None
        (streams.content[:, at] if states is None else states).square().sum().backward()
        gradient = seen[0].grad
        assert gradient is not None
        known = {j for j in range(6) if rank[0, j] < rank[0, at]} | ({at} if stream == "content" else set())
        assert {j for j in range(6) if (gradient[0, j] != 0).any()} == known


def test_the_first_of_an_order_without_context_knows_nothing() -> None:
    """Where nothing is visible nothing is known, as opposed to a softmax over hidden scores, which knows everything."""
    model = sharp(SMALL)
    seen = keep_embeddings(model)
    streams = model.read(tokens(1, 4), visible_by_rank(torch.tensor([[2, 0, 1, 3]])), torch.tensor([[1]]))
    assert streams.query is not None
    streams.query.square().sum().backward()
    assert (seen[0].grad == 0).all()


def test_from_left_to_right_it_is_an_autoregressive_model() -> None:
    """With the identity as order: what the query at t says of x_t is what a model says that was given x_<t alone."""
    model = sharp(SMALL)
    read = tokens(2, 7)
    logits = model(read[:, :-1])
    together = logits.log_softmax(-1).gather(-1, read[:, 1:, None]).sum()
    alone = 0.0
    for t in range(1, 7):
        rest = tokens(2, 7, seed=t)  # what stands at t and behind it must not matter
        given = torch.cat([read[:, :t], rest[:, t:]], 1)
        identity = torch.arange(7).expand(2, -1)
        streams = model.read(given, visible_by_rank(identity), torch.full((2, 1), t))
        assert streams.query is not None
        alone += model.logits(streams.query[:, 0]).log_softmax(-1).gather(-1, read[:, t, None]).sum()
        # the content stream at t - 1 has seen as much, and is what the query at t looks at
        prefix = model.read(given[:, :t], visible_by_rank(torch.arange(t).expand(2, -1))).content
        whole = model.read(read, visible_by_rank(identity)).content
        assert torch.allclose(prefix[:, -1], whole[:, t - 1], atol=1e-12)
    assert torch.allclose(together, torch.as_tensor(alone), atol=1e-10)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_every_order_is_a_distribution(order: list[int]) -> None:
    """The probabilities of all 3 ** 3 texts sum to one, in whichever order they are predicted."""
    model = sharp(changed(vocab=3))
    texts = torch.tensor(list(itertools.product(range(3), repeat=3)))
    rank = torch.tensor(order).expand(27, -1)
    streams = model.read(texts, visible_by_rank(rank), torch.arange(3).expand(27, -1))
    assert streams.query is not None
    log_p = model.logits(streams.query).log_softmax(-1).gather(-1, texts[..., None]).sum((1, 2))
    assert float(log_p.detach().exp().sum()) == pytest.approx(1.0, abs=1e-12)
    assert log_p.std() > 0.1


def test_segments_and_padding() -> None:
    model = sharp(SMALL)
    read, segments = tokens(2, 8), torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2]]).expand(2, -1)
    one = model.read(read, segments=segments).content
    assert torch.allclose(one, model.read(read, segments=segments + 5).content, atol=1e-12)  # only equality counts
    assert not torch.allclose(one, model.read(read, segments=segments * 0).content)
    real = torch.tensor([[True] * 5 + [False] * 3, [True] * 8])
    padded = model.read(read, real=real).content
    assert torch.allclose(padded[0, :5], model.read(read[:1, :5]).content[0], atol=1e-12)
    left = model.read(read.flip(1), real=real.flip(1)).content
    assert torch.allclose(left[0, 3:], model.read(read.flip(1)[:1, 3:]).content[0], atol=1e-12)


def test_the_memory_is_seen_and_not_learned_through() -> None:
    model = sharp(changed(memory=6, layers=1))
    first, second = tokens(2, 6), tokens(2, 4, seed=5)
    states = model.read(first).states
    assert not any(state.requires_grad for state in states.values())
    assert states[READ].tolist() == [6, 6]
    earlier = torch.arange(4)[:, None] > torch.arange(4)
    both = model.read(second, earlier, states=states)
    whole = torch.cat([first, second], 1)
    visible = torch.cat([torch.ones(4, 6, dtype=torch.bool), earlier], 1)
    visible = torch.cat([torch.ones(6, 10, dtype=torch.bool), visible])
    assert torch.allclose(both.content, model.read(whole, visible).content[:, 6:], atol=1e-12)
    assert both.states[READ].tolist() == [6, 6]
    assert torch.equal(both.states["0"][:, -4:], model.token_embedding(second).detach())


@pytest.mark.parametrize("name", XLNET_PRESETS)
def test_parameter_count(name: str) -> None:
    config = xlnet_preset(name, vocab=50, layers=2)
    assert config.parameter_count() == sum(p.numel() for p in XLNet(config).parameters())


def test_published_sizes_are_berts_and_the_relative_positions() -> None:
    """110 and 340 million as BERT (README), plus a matrix for positions in each layer."""
    base, large = XLNET_PRESETS["xlnet-base"], XLNET_PRESETS["xlnet-large"]
    assert round((base.parameter_count() - 12 * 768**2) / 1e6) == 110
    assert round((large.parameter_count() - 24 * 1024**2) / 1e6) == 335


def test_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = XLNet(SMALL, seed=4).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(v, first[k]) for k, v in XLNet(SMALL, seed=4).state_dict().items())
    assert not torch.equal(XLNet(SMALL, seed=5).mask_embedding, first["mask_embedding"])
    assert first["layers.0.attention.content_bias"].any()
    assert not first["head_bias"].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed(heads=5), "width 12 is not a multiple of heads 5"),
        (lambda: changed(d_model=3), "Extra inputs are not permitted"),
        (lambda: PermutationConfig(predict=9).targets(8), "one token of 9 is to be predicted, but an example has 8"),
        (lambda: xlnet_preset("xlnet-bas"), "did you mean 'xlnet-base'"),
    ],
)
def test_configurations_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
