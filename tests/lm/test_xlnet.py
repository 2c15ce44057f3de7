"""XLNet: its two streams, its orders, and transformers' as an independent implementation."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.interop.xlnet import (
    config_from_hugging_face,
    config_to_hugging_face,
    export_xlnet,
    import_xlnet,
    rows,
    state_from_hugging_face,
    to_ours,
)
from lm.models.xlnet import READ, XLNet
from lm.models.xlnet_config import XLNET_PRESETS, PermutationConfig, XLNetConfig, xlnet_preset
from lm.objectives.causal import IGNORE
from lm.objectives.permutation import (
    RANK,
    TARGETS,
    PermutationObjective,
    Permuted,
    every_epoch_anew,
    spans,
    visible_by_rank,
)
from lm.order import examples_at, in_order
from lm.streams import ArrayPieces, Lanes
from lm.tokenizer import load_tokenizer

SMALL = XLNetConfig(layers=2, width=12, heads=3, inner=20, vocab=17, context=16)


def changed(**fields: Any) -> XLNetConfig:
    return XLNetConfig.model_validate({**SMALL.model_dump(), **fields})


def sharp(config: XLNetConfig, seed: int = 1) -> XLNet:
    """A model in fp64 whose attention and distributions are far from uniform."""
    model = XLNet(config, seed).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)), dtype=p.dtype) * 0.4)
    return model


def tokens(batch: int, time: int, vocab: int = 17, seed: int = 0) -> Tensor:
    return torch.randint(0, vocab, (batch, time), generator=torch.Generator().manual_seed(seed))


def keep_embeddings(model: XLNet) -> list[Tensor]:
    seen: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    model.token_embedding.register_forward_hook(keep)
    return seen


# --- what the streams see -----------------------------------------------------------------------------------


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


# --- orders -------------------------------------------------------------------------------------------------


class Numbers:
    """Example i holds i everywhere."""

    fingerprint = "numbers"

    def __len__(self) -> int:
        return 11

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        return {"tokens": torch.as_tensor(indices)[:, None].expand(-1, 25).clone()}


def test_orders_follow_from_seed_epoch_and_example() -> None:
    config = PermutationConfig()
    permuted = Permuted(Numbers(), 24, config, seed=3)
    once = permuted.batch(np.array([4, 11 + 4, 7]))
    again = Permuted(Numbers(), 24, config, seed=3).batch(np.array([7, 4, 15]))
    assert torch.equal(once["tokens"], torch.tensor([4, 4, 7])[:, None].expand(-1, 24))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        assert torch.equal(once[RANK][a], again[RANK][b])
        assert torch.equal(once[TARGETS][a], again[TARGETS][b])
    assert not torch.equal(once[RANK][0], once[RANK][1])  # another epoch
    other = Permuted(Numbers(), 24, config, seed=4)
    assert not torch.equal(once[RANK], other.batch(np.array([4, 15, 7]))[RANK])
    assert len({permuted.fingerprint, other.fingerprint}) == 2


def test_one_of_six_is_predicted_in_spans_and_any_order() -> None:
    permuted = Permuted(Numbers(), 120, PermutationConfig(), seed=0)
    counts, lengths, firsts = np.zeros(120), [], []
    for number in range(800):
        rank, targets = permuted.order(number)
        assert (np.flatnonzero(rank >= 0) == targets).all()
        assert sorted(rank[targets]) == list(range(20))
        counts[targets] += 1
        firsts.append(rank[targets[0]])
        runs = np.split(targets, np.flatnonzero(np.diff(targets) > 1) + 1)
        lengths += [len(run) for run in runs]
    assert counts.min() > 0.75 * 800 / 6
    assert counts.max() < 1.3 * 800 / 6
    # The first target stands anywhere in the order: chi-squared with 19 degrees of freedom, p = 0.001.
    seen = np.bincount(firsts, minlength=20)
    assert ((seen - 40) ** 2 / 40).sum() < 43.8
    share = np.bincount(lengths, minlength=6)[1:6] / len(lengths)
    assert (np.diff(share) < 0).all()
    assert 0.45 < share[0] < 0.75


@pytest.mark.parametrize(("context", "predict"), [(2, 1), (2, 2), (7, 6), (9, 1), (64, 6), (50, 3)])
def test_as_many_as_asked_for(context: int, predict: int) -> None:
    for seed in range(20):
        got = spans(context, PermutationConfig(predict=predict), np.random.default_rng(seed))
        assert len(set(got.tolist())) == context // predict
        assert got.min() >= 0
        assert got.max() < context


def test_numbers_carry_the_epoch() -> None:
    numbers = every_epoch_anew(5, 40, 11, seed=2)
    assert (numbers % 11 == examples_at(5, 40, 11, seed=2)).all()
    assert (numbers // 11 == np.arange(5, 45) // 11).all()


def test_the_loss_by_hand_and_micro_batches() -> None:
    model, objective = sharp(SMALL), PermutationObjective()
    permuted = Permuted(ArrayPieces(tokens(1, 200)[0].numpy(), 16), 16, PermutationConfig(predict=4), seed=0)
    batch = permuted.batch(np.arange(5))
    losses = objective.losses(model, batch)
    expected = 0.0
    for row in range(5):
        for at in batch[TARGETS][row]:
            rank = batch[RANK][row]
            visible = torch.stack([(rank < 0) | (rank < rank[i]) for i in range(16)])
            streams = model.read(batch["tokens"][row : row + 1], visible, at.view(1, 1))
            assert streams.query is not None
            logits = model.logits(streams.query[0]).detach()
            expected += float(F.cross_entropy(logits, batch["tokens"][row, at].view(1)))
    assert losses.terms["permutation"].total.item() == pytest.approx(expected, rel=1e-9)
    assert {n: t.count for n, t in losses.terms.items()} == objective.counts(batch) == {"permutation": 20.0}
    assert objective.tokens(batch) == 80
    assert losses.carry == {}
    assert losses.nats is None


def test_with_a_memory_lanes_go_on() -> None:
    config = changed(memory=8, context=8)
    lanes = Lanes(ArrayPieces(tokens(1, 100)[0].numpy(), 8), 2)
    permuted = Permuted(lanes, 8, PermutationConfig(predict=4), seed=0, lanes=True)
    model, objective = sharp(config), PermutationObjective()
    first = objective.losses(model, permuted.batch(in_order(0, 2, len(permuted), 0)))
    assert first.carry[READ].tolist() == [8, 8]
    carried = {f"carry.{name}": state for name, state in first.carry.items()}
    batch = permuted.batch(in_order(2, 2, len(permuted), 0))
    alone = objective.losses(model, batch).terms["permutation"].total
    assert not torch.allclose(objective.losses(model, {**batch, **carried}).terms["permutation"].total, alone)
    begun = {**batch, **carried, "reset": torch.tensor([True, True])}
    assert torch.allclose(objective.losses(model, begun).terms["permutation"].total, alone, atol=1e-10)


def test_one_example_is_learned_by_heart() -> None:
    model, objective = XLNet(changed(width=48, inner=96)), PermutationObjective()
    permuted = Permuted(ArrayPieces(tokens(1, 17)[0].numpy(), 16), 16, PermutationConfig(), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for step in range(100):
        term = objective.losses(model, permuted.batch(np.arange(8) + 8 * step)).terms["permutation"]
        optimizer.zero_grad()
        (term.total / term.count).backward()
        optimizer.step()
    assert float(term.total.detach() / term.count) < math.log(17) / 2


# --- transformers' XLNet ------------------------------------------------------------------------------------


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


def test_an_export_loads_in_a_process_without_textmill(tmp_path: Path, tokenizer_dir: Path) -> None:
    pytest.importorskip("transformers")
    model = sharp(changed(vocab=load_tokenizer(tokenizer_dir).get_vocab_size())).float()
    export_xlnet(model, tokenizer_dir, tmp_path / "hf")
    script = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, report = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
print(json.dumps({"class": type(model).__name__, "missing": sorted(report["missing_keys"]),
  "unexpected": sorted(report["unexpected_keys"]), "ids": tokenizer("the model learns")["input_ids"],
  "logits": model(torch.tensor([[1, 2, 3]])).logits.tolist()}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "hf")], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    assert got["class"] == "XLNetLMHeadModel"
    assert got["missing"] == got["unexpected"] == []
    content = model.logits(model.read(torch.tensor([[1, 2, 3]])).content)
    assert torch.allclose(torch.tensor(got["logits"]), content, atol=1e-4)
    assert got["ids"] == load_tokenizer(tokenizer_dir).encode("the model learns").ids
    back, _ = import_xlnet(tmp_path / "hf")
    assert back.config == model.config.model_copy(update={"context": back.config.context})
    ours, theirs = model.state_dict(), back.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', not 'xlnet'"),
        ({"attn_type": "uni"}, "attn_type is 'uni'; this XLNet has 'bi'"),
        ({"ff_activation": "relu"}, "ff_activation is 'relu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
    ],
)
def test_what_is_not_this_xlnet_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_hugging_face({**config_to_hugging_face(SMALL, 0), **change}, "folder")


def test_broken_weights_are_named() -> None:
    from lm.interop.xlnet import state_to_hugging_face

    theirs = state_to_hugging_face(XLNet(SMALL))
    with pytest.raises(ValueError, match=r"the weights lack lm_loss\.bias"):
        state_from_hugging_face({k: v for k, v in theirs.items() if k != "lm_loss.bias"}, SMALL, "folder")
    with pytest.raises(ValueError, match="XLNet does not have: extra"):
        state_from_hugging_face({**theirs, "extra": torch.zeros(1)}, SMALL, "folder")
    with pytest.raises(ValueError, match="its output head is not its embedding"):
        state_from_hugging_face({**theirs, "lm_loss.weight": torch.zeros(2, 2)}, SMALL, "folder")


# --- sizes --------------------------------------------------------------------------------------------------


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
