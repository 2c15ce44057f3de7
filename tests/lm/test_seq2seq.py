"""The recurrent encoder-decoder: equal to torch.nn and to its own equations, masked, and its presets as printed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import SEQ2SEQ_PRESETS, Seq2SeqConfig, seq2seq_preset
from lm.nn.alignment import Alignment

SMALL = {"embedding": 6, "width": 6, "source_vocab": 11, "target_vocab": 13}
KINDS = [
    {"attention": "none"},
    {"attention": "none", "tied": True},
    {"attention": "additive", "bidirectional": True},
    {"attention": "additive", "tied": True},
    {"attention": "dot", "reverse_source": True},
    {"attention": "dot", "input_feeding": True, "reverse_source": True},
    {"attention": "general", "bidirectional": True},
    {"attention": "general", "bidirectional": True, "input_feeding": True, "tied": True},
]
CONFIGS = [
    Seq2SeqConfig(**SMALL, cell=cell, layers=layers, **kind)  # type: ignore[arg-type]
    for number, kind in enumerate(KINDS)
    for cell, layers in [("gru" if number % 2 else "lstm", 2), ("lstm" if number % 2 else "gru", 1)]
]
NAMES = [f"{c.attention}-{c.cell}{c.layers}{'-bi' if c.bidirectional else ''}" for c in CONFIGS]


def sharp(config: Seq2SeqConfig, seed: int = 1) -> Seq2Seq:
    """A model in fp64 whose distributions are not nearly uniform."""
    model = Seq2Seq(config, seed).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3).add_(0.01)
    return model


def drawn(config: Seq2SeqConfig, batch: int = 3, source: int = 7, target: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, config.source_vocab, (batch, source), generator=generator)
    y = torch.randint(0, config.target_vocab, (batch, target), generator=generator)
    return x, torch.tensor([source, 3, 5][:batch]), y


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_equals_torch_with_the_same_weights(layers: int, cell: str, bidirectional: bool) -> None:
    """Encoder over packed padding, state handed over, decoder: values and gradients, fp64."""
    kind = {"bidirectional": True, "attention": "general"} if bidirectional else {}
    config = Seq2SeqConfig(**SMALL, cell=cell, layers=layers, **kind)  # type: ignore[arg-type]
    model = sharp(config)
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    encoder = theirs(6, 6, layers, batch_first=True, bidirectional=bidirectional).double()
    decoder = theirs(6, 6, layers, batch_first=True).double()
    parameters = []
    with torch.no_grad():
        for ours, stack in ((model.encoder, encoder), (model.decoder, decoder)):
            for layer, cells in enumerate(ours.layers()):
                for direction, c in cells.items():
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                        p = getattr(stack, f"{name}_l{layer}{'_reverse' if direction == 'backward' else ''}")
                        p.copy_(getattr(c, name))
                        parameters.append((getattr(c, name), p))
    x, lengths, y = drawn(config)
    packed = nn.utils.rnn.pack_padded_sequence(
        model.source_embedding(x), lengths, batch_first=True, enforce_sorted=False
    )
    outputs, last = encoder(packed)
    states = list(last) if cell == "lstm" else [last]
    if bidirectional:
        names = ["h", "c"]
        states = [
            torch.stack([model.bridge[f"{i}_forward_{n}"](s.view(layers, 2, 3, 6)[i, 1]) for i in range(layers)])
            for n, s in zip(names, states, strict=False)
        ]
        states[0] = torch.tanh(states[0])
    read, _ = decoder(model.target_embedding(y), tuple(states) if cell == "lstm" else states[0])
    if bidirectional:
        annotations = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0]
        scores = read @ model.alignment.key(annotations).transpose(1, 2)  # type: ignore[union-attr,operator]
        scores = scores.masked_fill((torch.arange(7) >= lengths[:, None])[:, None], float("-inf"))
        read = torch.tanh(model.out(torch.cat([read, scores.softmax(-1) @ annotations], -1)))  # type: ignore[misc]
    assert model.head is not None
    expected = F.linear(read, model.head.weight, model.head_bias)
    got = model(x, lengths, y)
    assert torch.allclose(got, expected, atol=1e-12)
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(2)).double()
    mine = torch.autograd.grad((got * weights).sum(), [a for a, _ in parameters])
    other = torch.autograd.grad((expected * weights).sum(), [b for _, b in parameters])
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(mine, other, strict=True))


def test_additive_attention_is_bahdanaus() -> None:
    """e_tj = v' tanh(W s_{t-1} + U h_j); c_t; s_t = f(s_{t-1}, [y; c_t]); maxout of [s_t; c_t; y]: one by one."""
    model = sharp(Seq2SeqConfig(**SMALL, cell="gru", bidirectional=True, attention="additive"))  # type: ignore[arg-type]
    x, lengths, y = drawn(model.config)
    annotations, after = model.encode(x, lengths)
    alignment, out, head = model.alignment, model.out, model.head
    assert alignment is not None
    assert out is not None
    assert head is not None
    logits, looked = model(x, lengths, y), model.alignments(x, lengths, y)
    assert looked is not None
    cell = next(model.decoder.layers())["forward"]
    for row, length in enumerate(lengths.tolist()):
        h = annotations[row, :length]
        s = torch.tanh(model.bridge["0_forward_h"](after["0.backward.h"][row]))
        for t in range(y.shape[1]):
            e = torch.stack([alignment.v @ torch.tanh(alignment.query(s) + alignment.key(h_j)) for h_j in h])
            a = e.softmax(0)
            c = sum(a_j * h_j for a_j, h_j in zip(a, h, strict=True))
            word = model.target_embedding(y[row, t])
            s = cell(torch.cat([word, c])[None], (s[None],))[0][0]
            maxed = out(torch.cat([s, c, word])).view(-1, 2).max(1).values
            assert torch.allclose(head(maxed) + model.head_bias, logits[row, t], atol=1e-10)
            assert torch.allclose(a, looked[row, t, :length], atol=1e-6)


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("kind", ["dot", "general"])
def test_multiplicative_attention_is_luongs(kind: str, feeding: bool) -> None:
    """a = softmax(s' h) or softmax(s' W h); o = tanh(W_c [s; c]); with input feeding o enters the next step."""
    model = sharp(Seq2SeqConfig(**SMALL, layers=2, attention=kind, input_feeding=feeding))  # type: ignore[arg-type]
    x, lengths, y = drawn(model.config)
    annotations, state = model.encode(x, lengths)
    logits = model(x, lengths, y)
    assert model.out is not None
    assert model.head is not None
    for row, length in enumerate(lengths.tolist()):
        h = annotations[row, :length]
        states = {name: s[row : row + 1] for name, s in state.items()}
        o = torch.zeros(model.config.readout).double()
        for t in range(y.shape[1]):
            word = model.target_embedding(y[row, t])
            entering = torch.cat([word, o]) if feeding else word
            read, states = model.decoder(entering[None, None], states)
            s = read[0, 0]
            keys = h if kind == "dot" else h @ model.alignment.key.weight.T  # type: ignore[union-attr,operator]
            c = (keys @ s).softmax(0) @ h
            o = torch.tanh(model.out(torch.cat([s, c])))
            assert torch.allclose(model.head(o) + model.head_bias, logits[row, t], atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_no_step_sees_what_comes_after_it(config: Seq2SeqConfig) -> None:
    """The gradient of step t's logits is exactly zero for target tokens after t, and for none up to it."""
    model = sharp(config)
    x, lengths, y = drawn(config, batch=1)
    seen: list[torch.Tensor] = []
    model.target_embedding.register_forward_hook(lambda _m, _i, out: seen.append(out) or out.retain_grad())
    for t in range(y.shape[1]):
        seen.clear()
        logits = model(x, lengths, y)
        (logits[0, t] * torch.arange(13)).sum().backward()
        gradient = seen[-1].grad
        assert gradient is not None
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1] != 0).any(-1).all()


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_padding_changes_nothing(config: Seq2SeqConfig) -> None:
    """Neither its content nor its length, nor the other rows of a batch."""
    model = sharp(config)
    x, lengths, y = drawn(config)
    together = model(x, lengths, y)
    alone = [model(x[i : i + 1, :n], lengths[i : i + 1], y[i : i + 1]) for i, n in enumerate(lengths.tolist())]
    assert torch.allclose(together, torch.cat(alone), atol=1e-9)
    other = torch.where(torch.arange(7) < lengths[:, None], x, 1 + torch.zeros_like(x))
    assert torch.equal(model(other, lengths, y), together)
    looked = model.alignments(x, lengths, y)
    if looked is not None:
        assert torch.allclose(looked.sum(-1), torch.ones(3, 5).double(), atol=1e-6)
        assert (looked[1, :, 3:] == 0).all()


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_step_by_step_equals_the_whole_target_at_once(config: Seq2SeqConfig) -> None:
    model = sharp(config)
    x, lengths, y = drawn(config)
    whole, state = model(x, lengths, y), model.start(x, lengths)
    rows = torch.tensor([2, 0, 0])
    for t in range(5):
        logits, state = model.step(y[:, t], state)
        assert torch.allclose(logits, whole[:, t], atol=1e-6)
        chosen, _ = model.step(y[rows, min(t + 1, 4)], state.select(rows))
        if t < 4:
            assert torch.allclose(chosen, whole[rows, t + 1], atol=1e-6)


def test_reversal_turns_the_words_round_and_leaves_the_end() -> None:
    """What the encoder reads is x_m .. x_1 and the end; what is said of each token stays at its place."""
    forward = sharp(Seq2SeqConfig(**SMALL, attention="dot"))  # type: ignore[arg-type]
    backward = sharp(forward.config.model_copy(update={"reverse_source": True}))
    backward.load_state_dict(forward.state_dict())
    x, lengths, _ = drawn(forward.config)
    turned = x.clone()
    for row, n in enumerate(lengths.tolist()):
        turned[row, : n - 1] = x[row, : n - 1].flip(0)
    said, states = backward.encode(x, lengths)
    expected, theirs = forward.encode(turned, lengths)
    assert all(torch.equal(states[name], theirs[name]) for name in states)
    for row, n in enumerate(lengths.tolist()):
        assert torch.equal(said[row, : n - 1], expected[row, : n - 1].flip(0))
        assert torch.equal(said[row, n - 1], expected[row, n - 1])


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_parameter_count(config: Seq2SeqConfig) -> None:
    assert config.parameter_count() == sum(p.numel() for p in Seq2Seq(config).parameters())


def test_presets_as_printed() -> None:
    """Sutskever et al. print 384 M parameters, 64 M of them recurrent; Bahdanau's layers as in appendix A."""
    sutskever = SEQ2SEQ_PRESETS["sutskever"]
    recurrent = 2 * sum(4 * 1000 * (1000 + 1000) for _ in range(4))
    biases = 2 * 4 * 2 * 4000 + 80_000  # ours: two in a cell as torch has them, one in the head
    assert recurrent == 64_000_000
    assert sutskever.parameter_count() == recurrent + 240_000_000 + 80_000_000 + biases
    bahdanau = SEQ2SEQ_PRESETS["bahdanau"]
    assert (bahdanau.readout, bahdanau.memory, bahdanau.decoder_inputs) == (500, 2000, 2620)
    cove = SEQ2SEQ_PRESETS["cove"]
    assert (cove.layers, cove.memory, cove.cell) == (2, 600, "lstm")


def test_seed_alone_decides_the_weights_and_the_span_bounds_them() -> None:
    torch.manual_seed(1)
    first = Seq2Seq(CONFIGS[4], seed=4).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(v, first[k]) for k, v in Seq2Seq(CONFIGS[4], seed=4).state_dict().items())
    assert not torch.equal(Seq2Seq(CONFIGS[4], seed=5).target_embedding.weight, first["target_embedding.weight"])
    span = Seq2Seq(seq2seq_preset("sutskever", embedding=8, width=8, source_vocab=20, target_vocab=20))
    assert all(0.03 < p.abs().max() <= 0.08 for p in span.parameters())
    shared = Seq2Seq(Seq2SeqConfig(source_vocab=9, target_vocab=9, shared_embedding=True))
    assert shared.source_embedding is shared.target_embedding


def test_dropout_follows_the_seed_and_is_off_when_evaluating() -> None:
    model = Seq2Seq(CONFIGS[-2].model_copy(update={"dropout": 0.5}))
    x, lengths, y = drawn(model.config)

    def once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model(x, lengths, y)

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    model.eval()
    assert torch.equal(once(1), once(2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": "dot", "bidirectional": True}, "choose general or additive"),
        ({"bidirectional": True}, "bidirectional needs attention"),
        ({"attention": "additive", "input_feeding": True}, "input_feeding is for attention dot and general"),
        ({"tied": True, "width": 8, "embedding": 4}, "needs a width equal to the embedding: 8 and 4"),
        ({"shared_embedding": True, "source_vocab": 9}, "one vocabulary on both sides, not 9 and 8192"),
    ],
)
def test_what_does_not_fit_together_is_said(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Seq2SeqConfig(**fields)  # type: ignore[arg-type]


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown model preset 'bahdanaw'; did you mean 'bahdanau'"):
        seq2seq_preset("bahdanaw")
    with pytest.raises(ValueError, match="no attention of kind 'cosine'"):
        Alignment("cosine", 4, 4)


def test_it_runs_under_autocast() -> None:
    for config in CONFIGS:
        x, lengths, y = drawn(config)
        with torch.autocast("cpu", torch.bfloat16):
            model = Seq2Seq(config)
            logits = model(x, lengths, y)
            stepped, _ = model.step(y[:, 0], model.start(x, lengths))
        assert np.isfinite(logits.float().detach().numpy()).all()
        assert stepped.shape == (3, 13)
