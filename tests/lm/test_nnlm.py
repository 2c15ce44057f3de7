"""The neural probabilistic language model: the paper's equations, sizes, windows, sampling."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lm.evaluate.perplexity import bits_per_byte
from lm.generate_stepwise import WindowStep, generate_stepwise
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLM_PRESETS, NNLMConfig, nnlm_preset
from lm.objectives.causal import CausalObjective
from lm.sampling import Draw
from lm.stop import Interrupted
from lm.streams import ArrayPieces

CONFIGS = [
    NNLMConfig(order=4, embedding=5, hidden=7, direct=True, vocab=11),
    NNLMConfig(order=5, embedding=3, hidden=6, direct=False, vocab=13, start_token=2),
    NNLMConfig(order=2, embedding=4, hidden=0, direct=True, vocab=9),
]


def sharp(config: NNLMConfig, seed: int = 1) -> NNLM:
    """A model in fp64 whose distributions are not nearly uniform and whose biases are not zero."""
    model = NNLM(config, seed).double().eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, dtype=torch.float64, generator=draw))
    return model


def tokens(config: NNLMConfig, batch: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, config.vocab, (batch, time), generator=torch.Generator().manual_seed(seed))


def window_before(text: list[int], at: int, config: NNLMConfig) -> list[int]:
    """The n - 1 tokens before place `at`, token by token: nothing before the last start_token is seen."""
    window: list[int] = []
    hidden = False
    for back in range(1, config.order):
        hidden = hidden or at - back < 0 or text[at - back] == config.start_token
        window.insert(0, config.start_token if hidden else text[at - back])
    return window


@pytest.mark.parametrize("config", CONFIGS)
def test_y_is_the_papers_formula_with_one_hot_vectors(config: NNLMConfig) -> None:
    """y = b + W x + U tanh(d + H x), x the one-hot vectors of the window times C, word by word."""
    model = sharp(config)
    text = tokens(config, 1, 20)[0].tolist()
    got = model(torch.tensor([text]))[0]
    for t in range(20):
        one_hot = F.one_hot(torch.tensor(window_before(text, t + 1, config)), config.vocab).double()
        x = (one_hot @ model.C).flatten()
        expected = model.b + model.U @ torch.tanh(model.d + model.H @ x)
        if model.W is not None:
            expected = expected + model.W @ x
        assert torch.allclose(got[t], expected, atol=1e-11, rtol=0)


def test_a_one_hot_vector_times_c_is_a_row_of_c() -> None:
    """C1, to the bit."""
    model = NNLM(CONFIGS[0])
    one_hot = torch.eye(model.config.vocab)
    assert torch.equal(one_hot @ model.C, model.C[torch.arange(model.config.vocab)])


def test_one_hot_vectors_know_no_likeness_and_rows_of_c_do() -> None:
    """C2: any two one-hot vectors are orthogonal."""
    one_hot = torch.eye(7)
    cosines = F.cosine_similarity(one_hot[:, None], one_hot[None], dim=-1)
    assert torch.equal(cosines, torch.eye(7))
    rows = sharp(CONFIGS[0]).C
    likeness = F.cosine_similarity(rows[:, None], rows[None], dim=-1)
    assert likeness.fill_diagonal_(0).abs().max() > 0.3


def test_without_direct_links_it_is_the_formula_without_w() -> None:
    """C4: the plain MLP gives the bits that the whole formula gives with W = 0."""
    plain = NNLMConfig(order=4, embedding=5, hidden=7, direct=False, vocab=11)
    without, linked = NNLM(plain), NNLM(plain.model_copy(update={"direct": True}))
    assert linked.W is not None
    missing = linked.load_state_dict(without.state_dict(), strict=False)
    assert missing.missing_keys == ["W"]
    assert not missing.unexpected_keys
    with torch.no_grad():
        linked.W.zero_()
    read = tokens(plain, 3, 12)
    assert torch.equal(without(read), linked(read))
    assert torch.equal(
        without(read),
        F.linear(torch.tanh(F.linear(vectors(without, read), without.H, without.d)), without.U, without.b),
    )


def vectors(model: NNLM, read: torch.Tensor) -> torch.Tensor:
    return model.C[model.windows(read)].flatten(-2)


@pytest.mark.parametrize("config", [*CONFIGS, *NNLM_PRESETS.values()])
def test_the_number_of_parameters_is_the_papers(config: NNLMConfig) -> None:
    v, n, m, h = config.vocab, config.order, config.embedding, config.hidden
    closed = v * (1 + n * m + h) + h * (1 + (n - 1) * m)
    if not config.direct:
        closed -= v * (n - 1) * m
    assert config.parameter_count() == closed
    assert sum(p.numel() for p in NNLM(config).parameters()) == closed


def test_the_size_grows_linearly_with_the_vocabulary_and_not_with_the_text() -> None:
    """C3."""
    counts = [nnlm_preset("small", vocab=v).parameter_count() for v in (1000, 2000, 3000)]
    assert counts[2] - counts[1] == counts[1] - counts[0]
    model = NNLM(CONFIGS[0])
    for time in (1, 2, 50):
        assert model(tokens(model.config, 1, time)).shape == (1, time, 11)


@pytest.mark.parametrize("config", CONFIGS)
def test_gradients(config: NNLMConfig) -> None:
    """Autograd's gradient of y by finite differences, for every weight."""
    model = sharp(config)
    read = tokens(config, 2, 4)
    names = [name for name, _ in model.named_parameters()]

    def y(*weights: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (read,))
        return found

    assert torch.autograd.gradcheck(y, tuple(p for _, p in model.named_parameters()))


def test_a_prediction_depends_on_its_window_alone() -> None:
    """Neither the place in the text nor anything but the n - 1 tokens before matters."""
    model = sharp(CONFIGS[0])
    text = tokens(model.config, 1, 30).clamp(min=1)
    reach = model.config.window
    logits = model(text)
    for at in (5, 17, 29):
        window = text[:, at + 1 - reach : at + 1]
        assert torch.equal(model.windows(window)[:, -1], model.windows(text)[:, at])
        assert torch.allclose(model(window)[:, -1], logits[:, at], atol=1e-12)
    changed = text.clone()
    changed[0, 10] = changed[0, 10] % 10 + 1
    differs = (model(changed) != logits).any(-1)[0]
    assert differs.nonzero().flatten().tolist() == list(range(10, 10 + reach))


def test_a_window_does_not_reach_into_another_document() -> None:
    """Behind start_token, text is scored as at the beginning of the stream."""
    model = sharp(CONFIGS[1])
    start = model.config.start_token
    document = [5, 7, 1, 9]
    alone = model(torch.tensor([[start, *document]]))
    behind = model(torch.tensor([[3, 8, 4, start, *document]]))
    assert torch.allclose(alone[0], behind[0, 3:], atol=1e-12)
    # A text without it begins with it.
    assert torch.allclose(model(torch.tensor([document]))[0], alone[0, 1:], atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_probabilities_sum_to_one(config: NNLMConfig) -> None:
    p = sharp(config)(tokens(config, 2, 9)).softmax(-1)
    assert torch.allclose(p.sum(-1), torch.ones(2, 9, dtype=torch.float64))


def test_the_seed_decides_the_weights_and_the_default_dtype_does_not() -> None:
    one, same, other = (NNLM(CONFIGS[0], seed).state_dict() for seed in (3, 3, 4))
    torch.set_default_dtype(torch.float64)
    try:
        double = NNLM(CONFIGS[0], 3).state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ("C", "H", "U", "W"):
        assert torch.equal(one[name], same[name])
        assert torch.equal(one[name].double(), double[name])
        assert not torch.equal(one[name], other[name])


def test_it_learns_what_follows_what() -> None:
    """A text in which the token before last decides: the loss falls to what is certain."""
    text = np.array([1, 2, 1, 3] * 30)
    pieces = ArrayPieces(text, 8)
    model = NNLM(NNLMConfig(order=3, embedding=4, hidden=8, direct=False, vocab=5))
    optimizer = torch.optim.AdamW(model.parameters(), 0.05)
    objective = CausalObjective(np.ones(5, dtype=np.int64))
    batch = pieces.batch(np.arange(len(pieces)))
    for _ in range(120):
        optimizer.zero_grad()
        losses = objective.losses(model, batch)
        (losses.terms["causal"].total / losses.terms["causal"].count).backward()
        optimizer.step()
    found = bits_per_byte(model, pieces, np.ones(5, dtype=np.int64))
    # Only the token behind the first one of a piece is uncertain: nothing before it is seen.
    assert found["bits_per_byte"] < 0.2
    assert found["tokens"] == len(pieces) * 8


def test_generation_draws_from_what_the_model_says() -> None:
    model = sharp(CONFIGS[0])
    prompt, found = [0, 4, 3], []
    for token in generate_stepwise(WindowStep(model), prompt, 6, Draw(temperature=0)):
        logits = model(torch.tensor([[*prompt, *found]]))[0, -1]
        assert token == int(logits.argmax())
        found.append(token)
    assert len(found) == 6
    draws = [list(generate_stepwise(WindowStep(model), prompt, 12, Draw(), seed=seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    first = draws[0][0]
    assert list(generate_stepwise(WindowStep(model), prompt, 12, Draw(), seed=1, stop=first)) == []


def test_generation_says_what_is_wrong_and_can_be_stopped() -> None:
    model = sharp(CONFIGS[0])
    with pytest.raises(ValueError, match="at least one token: begin with"):
        next(generate_stepwise(WindowStep(model), [], 3, Draw()))
    with pytest.raises(Interrupted, match="while generating"):
        next(generate_stepwise(WindowStep(model), [0], 3, Draw(), should_stop=lambda: True))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing that looks at the words before"):
        NNLMConfig(hidden=0, direct=False)
    with pytest.raises(ValueError, match="start_token 9 is no token of a vocabulary of 9"):
        NNLMConfig(vocab=9, start_token=9)
    with pytest.raises(ValueError, match="did you mean 'brown-mlp1'"):
        nnlm_preset("brown-mlp")
    assert nnlm_preset("brown-mlp1", vocab=50, hidden=3).hidden == 3


def test_a_text_in_one_pass_costs_what_its_windows_cost_one_by_one() -> None:
    """-ln p of a text is the sum over its windows, each given to the model alone."""
    model = sharp(CONFIGS[1])
    text = tokens(model.config, 1, 15)[0].tolist()
    whole = -model(torch.tensor([text[:-1]])).detach().log_softmax(-1)[0]
    nats = sum(float(whole[t, text[t + 1]]) for t in range(14))
    alone = 0.0
    for at in range(1, 15):
        window = torch.tensor([window_before(text, at, model.config)])
        alone -= float(model(window)[0, -1].detach().log_softmax(-1)[text[at]])
    assert math.isclose(nats, alone, rel_tol=1e-12)
