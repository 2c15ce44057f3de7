"""Sampling: the cache changes nothing, the seed decides everything, top-k and top-p cut where they say."""

from pathlib import Path

import pytest
import torch

from lm.config import GPTConfig
from lm.generate import generate, generate_text, next_token_probabilities
from lm.models.gpt import GPT
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer

CONFIG = GPTConfig(layers=2, width=16, heads=2, context=12, vocab=50)


@pytest.fixture
def model() -> GPT:
    model = GPT(CONFIG, seed=1)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(20)  # sharp distributions, so that a wrong cache would show
    return model.double()


@pytest.mark.parametrize("prompt", [[3], [3, 9, 27], list(range(12)), list(range(40))])
@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 1.0, "seed": 3}])
def test_cache_equals_recomputing_also_beyond_the_context(
    model: GPT, prompt: list[int], options: dict[str, float]
) -> None:
    cached = list(generate(model, prompt, 30, **options))
    assert cached == list(generate(model, prompt, 30, use_cache=False, **options))
    assert len(cached) == 30


def test_greedy_equals_the_plain_loop(model: GPT) -> None:
    tokens = [3]
    for _ in range(11):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert list(generate(model, [3], 11, temperature=0)) == tokens[1:]


def test_the_seed_decides(model: GPT) -> None:
    draws = [tuple(generate(model, [3], 11, temperature=50.0, seed=s)) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_it_stops_at_the_stop_token(model: GPT) -> None:
    whole = list(generate(model, [3], 30, temperature=0))
    cut = list(generate(model, [3], 30, temperature=0, stop=whole[5]))
    assert cut == whole[: whole.index(whole[5])]


def test_training_mode_is_put_back_and_dropout_is_off() -> None:
    model = GPT(CONFIG.model_copy(update={"dropout": 0.5})).train()
    assert list(generate(model, [1], 9, seed=2)) == list(generate(model, [1], 9, seed=2))
    assert model.training


def test_temperature_top_k_and_top_p() -> None:
    logits = torch.log(torch.tensor([0.1, 0.4, 0.3, 0.2]))

    def close(expected: list[float], **options: float) -> bool:
        got = next_token_probabilities(logits, **options)  # type: ignore[arg-type]
        return torch.allclose(got, torch.tensor(expected, dtype=torch.float32), atol=1e-6)

    assert close([0.1, 0.4, 0.3, 0.2])
    assert close([0, 1, 0, 0], temperature=0)
    assert close([1 / 30, 16 / 30, 9 / 30, 4 / 30], temperature=0.5)
    assert close([0, 4 / 7, 3 / 7, 0], top_k=2)
    assert close([0.1, 0.4, 0.3, 0.2], top_k=99)
    assert close([0, 4 / 7, 3 / 7, 0], top_p=0.69)
    assert close([0, 4 / 9, 3 / 9, 2 / 9], top_p=0.71)
    assert close([0, 1, 0, 0], top_p=1e-9)
    assert close([0, 4 / 7, 3 / 7, 0], top_k=3, top_p=0.5)


def test_bad_requests_are_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        list(generate(model, [], 3))
    with pytest.raises(ValueError, match="need temperature >= 0"):
        list(generate(model, [1], 3, top_p=0.0))
    with pytest.raises(Interrupted, match="generating"):
        list(generate(model, [1], 3, should_stop=lambda: True))


def test_text_in_text_out(tokenizer_dir: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    model = GPT(CONFIG.model_copy(update={"vocab": tokenizer.get_vocab_size()}))
    text = generate_text(model, tokenizer, "the model", 8, seed=5)
    assert text == generate_text(model, tokenizer, "the model", 8, seed=5)
    assert text


def test_generation_under_autocast(tokenizer_dir: Path) -> None:
    """The trainer samples under bf16 autocast; the cache is fp32."""
    with torch.autocast("cpu", torch.bfloat16):
        assert len(list(generate(GPT(CONFIG), [1, 2, 3], 20))) == 20
