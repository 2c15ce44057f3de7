"""XLNet against transformers: random sizes and weights, orders, memory, segments and padding; values, loss and every
gradient."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.interop.xlnet import config_to_hugging_face, rows, state_from_hugging_face, to_ours
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import XLNetConfig
from lm.nn.memory import READ
from lm.objectives.causal import IGNORE
from lm.objectives.permutation import visible_by_rank
from tests.lm.small_xlnet import SMALL, tokens


def random_case(seed: int) -> dict[str, Any]:
    """Sizes, inputs and whether there are memory, segments, padding (on either side), orders and targets."""
    draw = np.random.default_rng(seed)
    heads, head = int(draw.integers(1, 4)), 2 * int(draw.integers(1, 4))
    batch, time, memory = int(draw.integers(1, 4)), int(draw.integers(2, 10)), int(draw.integers(0, 6))
    config = XLNetConfig(
        layers=int(draw.integers(1, 4)),
        width=heads * head,
        heads=heads,
        inner=int(draw.integers(3, 20)),
        vocab=int(draw.integers(5, 30)),
        memory=memory,
        clamp=int(draw.choice([0, 0, 3])),
    )
    rank = np.full((batch, time), -1)
    count = int(draw.integers(1, time)) if time > 2 else 1
    targets = np.zeros((batch, count), dtype=np.int64)
    real = np.ones((batch, time), dtype=bool)
    for row in range(batch):
        targets[row] = draw.permutation(np.arange(1, time))[:count] if seed % 2 else draw.permutation(time)[:count]
        rank[row, targets[row]] = draw.permutation(count)
        hidden = np.flatnonzero(rank[row] < 0)[1:]  # one that is real and seen by all stays
        if seed % 3 == 0 and len(hidden):
            real[row, hidden[: int(draw.integers(0, len(hidden) + 1))]] = False
        elif seed % 3 == 1:
            real[row, hidden[hidden > targets[row].max()]] = False
    return {
        "config": config,
        "tokens": torch.from_numpy(draw.integers(0, config.vocab, (batch, time))),
        "rank": torch.from_numpy(rank),
        "targets": torch.from_numpy(targets) if seed % 4 else None,
        "real": torch.from_numpy(real) if seed % 3 < 2 else None,
        "segments": torch.from_numpy(draw.integers(0, 3, (batch, time))) if seed % 5 < 3 else None,
        "memory": torch.from_numpy(draw.normal(0, 1, (config.layers, batch, memory, config.width))) if memory else None,
        "seed": seed,
    }


def labels_of(case: dict[str, Any]) -> Tensor:
    at = case["targets"]
    labels = case["tokens"].clone() if at is None else case["tokens"].gather(1, at)
    labels[0, -1] = IGNORE if labels.numel() > 1 else labels[0, -1]
    return labels


def run_theirs(theirs: Any, case: dict[str, Any], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits and loss of transformers' model, which computes positions in fp32: with doubles, by the same code."""
    time, at = case["tokens"].shape[1], case["targets"]
    mapping = None if at is None else F.one_hot(at, time).to(dtype)
    memory = None if case["memory"] is None else [m.transpose(0, 1).to(dtype) for m in case["memory"]]
    with mock.patch.object(
        torch.Tensor, "float", torch.Tensor.double if dtype == torch.float64 else torch.Tensor.float
    ):
        out = theirs(
            case["tokens"],
            attention_mask=None if case["real"] is None else case["real"].to(dtype),
            mems=memory,
            perm_mask=(~visible_by_rank(case["rank"])).to(dtype),
            target_mapping=mapping,
            token_type_ids=case["segments"],
            use_mems=memory is not None,
            labels=labels_of(case),
        )
    return out.logits, out.loss


def run_ours(model: XLNet, case: dict[str, Any], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    states = None
    if case["memory"] is not None:
        batch = case["tokens"].shape[0]
        states = {str(n): m.to(dtype) for n, m in enumerate(case["memory"])}
        states[READ] = torch.full((batch,), model.config.memory)
    streams = model.read(
        case["tokens"],
        visible_by_rank(case["rank"]),
        case["targets"],
        segments=case["segments"],
        real=case["real"],
        states=states,
    )
    logits = model.logits(streams.content if streams.query is None else streams.query)
    labels = labels_of(case)
    return logits, F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_equals_transformers(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    """Logits, loss and the gradient of every weight."""
    transformers = pytest.importorskip("transformers")
    case = random_case(seed)
    config = case["config"]
    theirs = transformers.XLNetLMHeadModel(transformers.XLNetConfig(**config_to_hugging_face(config, 0)))
    theirs = theirs.to(dtype).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=dtype) * 0.2)
    model = XLNet(config).to(dtype).eval()
    model.load_state_dict(state_from_hugging_face(theirs.state_dict(), config, "theirs"))
    expected, their_loss = run_theirs(theirs, case, dtype)
    logits, loss = run_ours(model, case, dtype)
    assert torch.allclose(logits, expected, atol=tolerance)
    assert torch.allclose(loss, their_loss, atol=tolerance)
    their_loss.backward()
    loss.backward()
    gradients, ours = dict(theirs.named_parameters()), dict(model.named_parameters())
    for row in rows(config.layers):
        theirs_grad, our_grad = gradients[row.theirs].grad, ours[row.ours].grad
        if theirs_grad is None or our_grad is None:
            assert theirs_grad is None or not theirs_grad.any(), row.theirs
            assert our_grad is None or not our_grad.any(), row.ours
        else:
            assert torch.allclose(our_grad, to_ours(row, theirs_grad), atol=tolerance), row.ours


def test_where_transformers_differs_a_query_that_may_see_nothing() -> None:
    """The first of an order in which everything is predicted: theirs sees all, its own token too; ours nothing."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.XLNetLMHeadModel(transformers.XLNetConfig(**config_to_hugging_face(SMALL, 0))).eval()
    vectors = theirs.transformer.word_embedding(tokens(1, 4)).detach().requires_grad_()
    hidden = (~visible_by_rank(torch.tensor([[2, 0, 1, 3]]))).float()
    logits = theirs(inputs_embeds=vectors, perm_mask=hidden, target_mapping=torch.eye(4)[None], use_mems=False).logits
    logits[0, 1].square().sum().backward()
    assert vectors.grad is not None
    assert (vectors.grad[0] != 0).any(-1).all()
