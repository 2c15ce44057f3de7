"""The recurrent language model: its equations, sizes, what it may not see, sampling and scoring."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lm.artifact import load_model, load_torch, save_model
from lm.evaluate.recurrent import score_tokens, stream_bits_per_byte
from lm.generate_recurrent import generate_recurrent, generate_texts
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNN_PRESETS, RNNConfig, rnn_preset
from lm.nn.stateful import Carried
from lm.stop import Interrupted
from lm.streams import ArrayPieces, Lanes
from lm.tokenizer import load_tokenizer

CELLS = ["elman", "gru", "lstm"]
CONFIGS = [
    RNNConfig(cell="elman", embedding=5, width=7, layers=1, vocab=11),
    RNNConfig(cell="gru", embedding=6, width=9, layers=2, vocab=13),
    RNNConfig(cell="lstm", embedding=4, width=8, layers=3, vocab=12, tied=True),
    RNNConfig(cell="lstm", embedding=6, width=6, layers=1, vocab=9, reset_token=0),
]


def sharp(config: RNNConfig, seed: int = 1, scale: float = 4.0) -> RNNLM:
    """A model in fp64 whose distributions are not nearly uniform."""
    model = RNNLM(config, seed).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    return model


def tokens(config: RNNConfig, batch: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, config.vocab, (batch, time), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cell", CELLS)
def test_the_equations(cell: str) -> None:
    """Embedding, cell and head, step by step as the module's docstring has them."""
    model = sharp(RNNConfig(cell=cell, embedding=5, width=7, vocab=11))  # type: ignore[arg-type]
    read = tokens(model.config, 2, 6)
    layer = next(model.recurrent.layers())["forward"]
    state = layer.new_state(2)
    assert model.head is not None
    for t in range(6):
        state = layer(model.token_embedding.weight[read[:, t]], state)
        expected = state[0] @ model.head.weight.T + model.head_bias
        assert torch.allclose(model(read)[:, t], expected, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("path", ["cells", "bptt", "torch"])
def test_the_loss_at_step_three_of_machine_depends_on_m_a_c_alone(cell: str, path: str) -> None:
    """C6: the gradient of step t's loss is exactly zero for all inputs after t, and for none up to it."""
    letters = {letter: i for i, letter in enumerate("machine"[:6])}
    text = [letters.get(c, 6) for c in "machine"]
    model = RNNLM(RNNConfig(cell=cell, embedding=4, width=8, vocab=7, path=path))  # type: ignore[arg-type]
    seen: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        inputs[0].retain_grad()
        seen.append(inputs[0])

    model.recurrent.register_forward_pre_hook(keep)
    for step in range(6):
        seen.clear()
        logits = model(torch.tensor([text[:-1]]))
        F.cross_entropy(logits[0, step], torch.tensor(text[step + 1])).backward()
        gradient = seen[0].grad
        assert gradient is not None
        assert (gradient[step + 1 :] == 0).all()
        assert (gradient[: step + 1] != 0).any(-1).all()


@pytest.mark.parametrize("config", CONFIGS)
def test_parameter_count(config: RNNConfig) -> None:
    assert config.parameter_count() == sum(p.numel() for p in RNNLM(config).parameters())


def test_published_sizes() -> None:
    """Merity et al. have 24 million, Zaremba et al. 20 and 66; a second bias a layer, as torch has it, is ours."""
    assert RNN_PRESETS["awd-lstm"].parameter_count() == 24_221_600
    assert RNN_PRESETS["zaremba-medium"].parameter_count() == 19_775_200 + 2 * 4 * 650
    assert RNN_PRESETS["zaremba-large"].parameter_count() == 66_022_000 + 2 * 4 * 1500


def test_the_small_presets_are_equal_in_size() -> None:
    sizes = [RNN_PRESETS[f"char-{cell}"].parameter_count() for cell in CELLS]
    assert max(sizes) / min(sizes) < 1.01


@pytest.mark.parametrize("config", CONFIGS)
def test_carried_state_equals_one_long_sequence_in_any_cut(config: RNNConfig) -> None:
    model = sharp(config)
    read = tokens(config, 3, 20)
    whole = model(read)
    for cuts in ([20], [1] * 20, [7, 1, 1, 5, 6]):
        carried = Carried(model)
        parts = [carried(part) for part in read.split(cuts, dim=1)]
        assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-12)


def test_a_reset_token_begins_a_document() -> None:
    model = sharp(CONFIGS[3])
    first, second = torch.tensor([[0, 3, 4]]), torch.tensor([[0, 5, 6, 7]])
    together = model(torch.cat([first, second], 1))
    assert torch.allclose(together, torch.cat([model(first), model(second)], 1), atol=1e-12)
    with_memory = RNNLM(CONFIGS[3].model_copy(update={"reset_token": None})).double()
    with_memory.load_state_dict(model.state_dict())
    assert not torch.allclose(together[:, 3:], with_memory(torch.cat([first, second], 1))[:, 3:])


def test_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = RNNLM(CONFIGS[2], seed=4).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(v, first[k]) for k, v in RNNLM(CONFIGS[2], seed=4).state_dict().items())
    assert not torch.equal(RNNLM(CONFIGS[2], seed=5).head_bias + 1, first["token_embedding.weight"][0, 0])
    assert not torch.equal(RNNLM(CONFIGS[2], seed=5).token_embedding.weight, first["token_embedding.weight"])


def test_initialisation_as_configured() -> None:
    span = RNNLM(CONFIGS[0].model_copy(update={"initial_span": 0.05}), seed=0)
    assert all(0.02 < p.abs().max() <= 0.05 for p in span.parameters())
    plain = RNNLM(RNNConfig(embedding=20, width=16, vocab=30), seed=0)
    cell = next(plain.recurrent.layers())["forward"]
    assert 0.09 < plain.token_embedding.weight.abs().max() <= 0.1
    assert 0.2 < cell.weight_hh.abs().max() <= 0.25
    assert not plain.head_bias.any()
    assert torch.equal(cell.bias_ih[16:32] + cell.bias_hh[16:32], torch.ones(16))


def test_embedding_dropout_takes_whole_tokens() -> None:
    """A dropped token is a zero vector wherever it stands; the others are rescaled."""
    config = RNNConfig(embedding=3, width=4, vocab=200, embedding_dropout=0.4)
    model = RNNLM(config).train()
    seen: list[torch.Tensor] = []
    model.recurrent.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    read = torch.arange(200).repeat(2)[None]
    torch.manual_seed(0)
    model(read)
    vectors = seen[0][:, 0]
    assert torch.equal(vectors[:200], vectors[200:])
    dropped = (vectors[:200] == 0).all(-1)
    assert 0.3 < dropped.float().mean() < 0.5
    assert torch.allclose(vectors[:200][~dropped], model.token_embedding.weight[~dropped] / 0.6)


def test_dropout_follows_the_seed_and_is_off_when_evaluating() -> None:
    model = RNNLM(rnn_preset("awd-lstm", vocab=50, embedding=8, width=12))
    read = tokens(model.config, 2, 9)

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model(read)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    model.eval()
    assert torch.equal(drawn(1), drawn(2))


def test_greedy_generation_equals_reading_everything_again() -> None:
    model = sharp(CONFIGS[2])
    prompts = [[3], [1, 4, 1, 5], [9, 2]]
    got = generate_recurrent(model, prompts, 12, temperature=0)
    for prompt, new in zip(prompts, got, strict=True):
        text = list(prompt)
        for _ in range(12):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
        assert new == text[len(prompt) :]


def test_the_seed_decides_what_is_drawn_row_by_row() -> None:
    model = sharp(CONFIGS[1])
    prompts = [[3, 1], [4], [4]]
    first = generate_recurrent(model, prompts, 15, temperature=3.0, seed=1)
    assert first == generate_recurrent(model, prompts, 15, temperature=3.0, seed=1)
    assert first != generate_recurrent(model, prompts, 15, temperature=3.0, seed=2)
    assert first[1] != first[2]
    assert generate_recurrent(model, prompts[:2], 15, temperature=3.0, seed=1) == first[:2]


def test_each_row_stops_at_its_own_stop_token() -> None:
    model = sharp(CONFIGS[1])
    prompts = [[3], [1], [5, 2]]
    free = generate_recurrent(model, prompts, 25, temperature=2.0, seed=3)
    cut = generate_recurrent(model, prompts, 25, temperature=2.0, seed=3, stop=7)
    assert cut == [row[: row.index(7)] if 7 in row else row for row in free]
    assert len({len(row) for row in cut}) > 1


def test_draws_follow_the_models_distribution() -> None:
    model = sharp(RNNConfig(cell="gru", embedding=4, width=4, vocab=5), scale=2.0)
    prompts = [[1, 2]] * 4000
    drawn = np.bincount([row[0] for row in generate_recurrent(model, prompts, 1, seed=0)], minlength=5)
    expected = model(torch.tensor([[1, 2]]))[0, -1].softmax(-1).detach().numpy() * 4000
    assert ((drawn - expected) ** 2 / expected).sum() < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001
    top = generate_recurrent(model, prompts[:200], 1, seed=0, top_k=2)
    assert {row[0] for row in top} == set(np.argsort(expected)[-2:].tolist())


def test_scores_are_those_of_the_whole_text_at_once() -> None:
    model = sharp(CONFIGS[1])
    text = tokens(model.config, 1, 50)
    p = model(text[:, :-1])[0].log_softmax(-1)[torch.arange(49), text[0, 1:]]
    for segment in (1, 7, 49, 1000):
        scores = score_tokens(model.train(), text[0].numpy(), segment)
        assert np.allclose(scores, -p.detach().numpy(), atol=1e-12)
        assert model.training


def test_bits_per_byte_with_carried_state_equals_one_long_sequence() -> None:
    model = sharp(CONFIGS[1])
    text = tokens(model.config, 1, 61)[0].numpy()
    lengths = np.arange(13) % 4  # token 0, 4, ... stand for no text
    figures = stream_bits_per_byte(model, Lanes(ArrayPieces(text, 12), 1), lengths)
    nats = score_tokens(model, text)
    size = lengths[text[1:]]
    assert figures["nats"] == pytest.approx(nats[size > 0].sum(), abs=1e-9)
    assert figures["loss"] == pytest.approx(nats.mean(), abs=1e-9)
    assert figures["bits_per_byte"] == pytest.approx(nats[size > 0].sum() / np.log(2) / size.sum())
    apart = stream_bits_per_byte(model, Lanes(ArrayPieces(text, 12), 5), lengths)
    assert apart["bytes"] == figures["bytes"]
    assert apart["nats"] != figures["nats"]


def test_a_model_folder_round_trips(tmp_path: Path, tokenizer_dir: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    for tied in (False, True):
        model = RNNLM(RNNConfig(embedding=6, width=8, vocab=tokenizer.get_vocab_size(), tied=tied), seed=3).eval()
        save_model(model, tokenizer_dir, tmp_path / "model")
        loaded, theirs = load_torch(tmp_path / "model", RNNLM)
        assert loaded.config == model.config
        assert torch.equal(loaded(torch.tensor([[1, 2]])), model(torch.tensor([[1, 2]])))
        assert theirs.get_vocab() == tokenizer.get_vocab()
    texts = generate_texts(model, tokenizer, ["the model", ""], 8, seed=5)
    assert texts == generate_texts(loaded, tokenizer, ["the model", ""], 8, seed=5)
    assert all(texts)
    with pytest.raises(ValueError, match="not a 'gpt' model: 'rnn'"):
        load_model(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="no model there"):
        load_torch(tmp_path / "nothing", RNNLM)


def test_bad_requests_are_refused() -> None:
    model = RNNLM(CONFIGS[0])
    with pytest.raises(ValueError, match="did you mean 'awd-lstm'"):
        rnn_preset("awd-lst")
    with pytest.raises(ValueError, match="reset_token 11 is no token of a vocabulary of 11"):
        RNNConfig(vocab=11, reset_token=11)
    with pytest.raises(ValueError, match="cannot reset the state inside a sequence"):
        RNNConfig(path="torch", reset_token=1)
    with pytest.raises(ValueError, match="each prompt needs at least one token"):
        generate_recurrent(model, [[1], []], 3)
    with pytest.raises(ValueError, match="at least two tokens"):
        score_tokens(model, [1])
    for polls, doing in ((1, "reading the prompts"), (2, "generating")):
        polled = iter(range(1, 99))
        with pytest.raises(Interrupted, match=doing):
            generate_recurrent(model, [[1]], 3, should_stop=lambda p=polls, i=polled: next(i) == p)
    with pytest.raises(Interrupted, match="scoring"):
        score_tokens(model, [1, 2, 3], should_stop=lambda: True)


def test_generation_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for config in CONFIGS:
            assert len(generate_recurrent(RNNLM(config), [[1, 2, 3]], 20)[0]) == 20
