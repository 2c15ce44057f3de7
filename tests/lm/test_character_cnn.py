"""Words from characters: rows of ids, the CNN against plain loops, tokenizers of words."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.characters import BEGIN, END, PADDING, bare, boundary_characters, character_ids, vocabulary_characters
from lm.nn.character_cnn import CharacterCNN
from lm.nn.layer_mix import ScalarMix
from lm.nn.projected_lstm import ProjectedLSTM
from lm.tokenizer import load_tokenizer, train_tokenizer
from lm.tokenizers.config import WordConfig


def test_a_row_is_the_bytes_between_marks() -> None:
    rows = character_ids(["cat", "", "苹果", "abcdefghij"], 8)
    assert rows[0].tolist() == [BEGIN, 1 + ord("c"), 1 + ord("a"), 1 + ord("t"), END, PADDING, PADDING, PADDING]
    assert rows[1].tolist() == [BEGIN, END, *[PADDING] * 6]
    assert rows[2].tolist() == [BEGIN, *(1 + b for b in "苹果".encode()), END]
    assert rows[3].tolist() == [BEGIN, *(1 + b for b in b"abcdef"), END]
    assert rows.dtype == np.int16
    assert int(character_ids(["ÿ\x00"], 8).min()) == 1  # a byte of zero is not "no word"


def loop(model: CharacterCNN, characters: list[int]) -> list[float]:
    """One word's vector in plain Python, over every place of the whole row."""
    e = [model.embedding.weight[c].tolist() for c in characters]
    features: list[float] = []
    for convolution in model.convolutions:
        weight, bias = convolution.weight.tolist(), convolution.bias.tolist()
        for kernel, b in zip(weight, bias, strict=True):
            size = len(kernel[0])
            places = [
                sum(kernel[i][k] * e[t + k][i] for i in range(len(kernel)) for k in range(size)) + b
                for t in range(len(e) - size + 1)
            ]
            features.append(max(0.0, max(places)))
    for highway in model.highways:
        gates = affine(highway.gate, features)
        new = affine(highway.transform, features)
        mixed = []
        for g, n, old in zip(gates, new, features, strict=True):
            share = 1 / (1 + math.exp(-g))
            mixed.append(share * max(0.0, n) + (1 - share) * old)
        features = mixed
    return affine(model.projection, features)


def affine(linear: torch.nn.Linear, x: list[float]) -> list[float]:
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(linear.weight.tolist(), linear.bias.tolist(), strict=True)
    ]


@pytest.mark.parametrize("highways", [0, 1, 2])
def test_the_cnn_is_a_plain_loop_over_places(highways: int) -> None:
    """Also where rows are cut behind the longest word: the cut columns cannot move a maximum."""
    model = CharacterCNN(3, ((1, 2), (3, 4), (5, 3)), highways, 6).double()
    model.initialise(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=torch.float64))
    for words, length in ((["a", "cat", "苹果"], 14), (["abcdefghijkl"], 14), ([""], 14), (["longest"], 9)):
        rows = character_ids(words, length)
        found = model(torch.from_numpy(rows))
        for row, vector in zip(rows.tolist(), found, strict=True):
            np.testing.assert_allclose(vector.detach().numpy(), loop(model, row), rtol=1e-10, atol=1e-12)


def test_no_word_is_nothing() -> None:
    model = CharacterCNN(4, ((1, 2),), 1, 3)
    model.initialise(torch.Generator().manual_seed(0))
    assert (model.embedding.weight[0] == 0).all()
    model(torch.zeros(2, 5, dtype=torch.int16)).sum().backward()
    assert model.embedding.weight.grad is not None
    assert (model.embedding.weight.grad[0] == 0).all()


def test_the_space_before_a_word_is_not_part_of_it(tmp_path: Path) -> None:
    train_tokenizer(["the cat and the cat. the"] * 3, WordConfig(kind="word", vocab_size=30), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    rows = vocabulary_characters(tokenizer, 10)
    vocab = tokenizer.get_vocab()
    assert rows.shape == (len(vocab), 10)
    assert (rows[vocab[" the"]] == rows[vocab["the"]]).all()
    assert (rows[vocab[" cat"]] == character_ids(["cat"], 10)[0]).all()
    assert (rows[vocab["<|endoftext|>"]] == boundary_characters(10)).all()
    assert (rows[vocab["<unk>"]] == character_ids(["<unk>"], 10)[0]).all()
    assert [bare(word) for word in (" the", " ", "  ", "x")] == ["the", " ", " ", "x"]


def test_tokens_that_are_not_words_are_refused(tokenizer_dir: Path) -> None:
    with pytest.raises(ValueError, match="must be of kind word, not byte_bpe"):
        vocabulary_characters(load_tokenizer(tokenizer_dir), 10)


@pytest.mark.parametrize(("inputs", "cell", "width"), [(3, 9, 4), (5, 7, 7), (4, 12, 1)])
def test_a_projected_lstm_is_torchs(inputs: int, cell: int, width: int) -> None:
    """Values and gradients, with states given, against torch.nn.LSTM(proj_size) where it has such a thing."""
    draw = torch.Generator().manual_seed(0)
    ours = ProjectedLSTM(inputs, cell, width).double()
    if width == cell:
        reference = torch.nn.LSTM(inputs, cell).double()
        with torch.no_grad():
            ours.projection.copy_(torch.eye(cell))
    else:
        reference = torch.nn.LSTM(inputs, cell, proj_size=width).double()
        with torch.no_grad():
            reference.weight_hr_l0.copy_(ours.projection)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(ours.weight_ih)
        reference.weight_hh_l0.copy_(ours.weight_hh)
        reference.bias_ih_l0.copy_(ours.bias)
        reference.bias_hh_l0.zero_()
    x = torch.randn(6, 2, inputs, dtype=torch.float64, generator=draw, requires_grad=True)
    r, c = (torch.randn(2, w, dtype=torch.float64, generator=draw) for w in (width, cell))
    output, states = ours(x, {"r": r, "c": c})
    expected, (last_r, last_c) = reference(x, (r[None], c[None]))
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(states["r"], last_r[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(states["c"], last_c[0], atol=1e-12, rtol=0)
    weight = torch.randn(output.shape, dtype=torch.float64, generator=draw)
    mine = torch.autograd.grad((output * weight).sum(), [x, ours.weight_ih, ours.weight_hh, ours.bias])
    names = [x, reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0]
    theirs = torch.autograd.grad((expected * weight).sum(), names)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-9)


def test_memories_and_outputs_are_clipped() -> None:
    lstm = ProjectedLSTM(3, 8, 4, clip=0.1)
    with torch.no_grad():
        for p in lstm.parameters():
            p.mul_(10)
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs, states = lstm(x)
    assert float(outputs.abs().max()) == pytest.approx(0.1)
    assert float(states["c"].abs().max()) == pytest.approx(0.1)
    # As written, step by step.
    r, c = torch.zeros(2, 4), torch.zeros(2, 8)
    for t in range(5):
        gates = x[t] @ lstm.weight_ih.T + r @ lstm.weight_hh.T + lstm.bias
        i, f, g, o = gates.split(8, -1)
        c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clip(-0.1, 0.1)
        r = ((o.sigmoid() * c.tanh()) @ lstm.projection.T).clip(-0.1, 0.1)
        torch.testing.assert_close(outputs[t], r)


def test_the_mix_is_gamma_times_a_weighted_mean() -> None:
    layers = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    mix = ScalarMix(3)
    torch.testing.assert_close(mix(layers), layers.mean(0))  # at the start all count the same
    with torch.no_grad():
        mix.w.copy_(torch.tensor([1.0, -2.0, 0.5]))
        mix.gamma.fill_(3.0)
    shares = mix.shares.detach()
    assert float(shares.sum()) == pytest.approx(1.0)
    e = [math.exp(w) for w in (1.0, -2.0, 0.5)]
    expected = 3 * sum(share / sum(e) * layer for share, layer in zip(e, layers, strict=True))
    torch.testing.assert_close(mix(layers), expected)
    torch.testing.assert_close(mix(list(layers)), expected)
    mix(layers).sum().backward()
    assert mix.w.grad is not None
    assert float(mix.w.grad.sum()) == pytest.approx(0.0, abs=1e-4)  # only differences of weights matter
    with pytest.raises(ValueError, match="weights for 3 layers, not for 2"):
        mix(layers[:2])


def test_the_mix_can_bring_layers_to_one_scale_first() -> None:
    layers = (
        torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50.0])[:, None, None]
    )
    mixed = ScalarMix(2, layer_norm=True)(layers)
    normal = [(h - h.mean(-1, keepdim=True)) / (h.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt() for h in layers]
    torch.testing.assert_close(mixed, (normal[0] + normal[1]) / 2, atol=1e-5, rtol=1e-4)
