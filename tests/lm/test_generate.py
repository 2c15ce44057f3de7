"""Sampling: the cache changes nothing, the seed decides everything, top-k and top-p cut where they say."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lm.generate import Decoder, column_major, generate, generate_batch, generate_text, generate_texts, row_seed
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.sampling import next_token_probabilities, penalised
from lm.stop import Interrupted
from lm.tokenizer import load_tokenizer

CONFIG = GPTConfig(layers=2, width=16, heads=2, context=12, vocab=50)
SIZE = {"layers": 2, "width": 16, "heads": 2, "context": 12, "vocab": 50}
KINDS = {
    "gpt2": lambda: GPT(CONFIG, seed=1),
    "gpt1": lambda: GPT(CONFIG.model_copy(update={"norm": "post"}), seed=1),
    "gpt3": lambda: GPT(CONFIG.model_copy(update={"band": 3, "layers": 4}), seed=1),
    "modern": lambda: Modern(ModernConfig(**SIZE), seed=1),
}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Decoder:
    model = KINDS[request.param]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():  # sharp distributions, so that a wrong cache would show
            p.mul_(20 if request.param == "gpt2" else 1).add_(0.3 * torch.randn(p.shape, generator=generator))
    return model.double()


@pytest.mark.parametrize("prompt", [[3], [3, 9, 27], list(range(12)), list(range(40))])
@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 1.0, "seed": 3}])
def test_cache_equals_recomputing_also_beyond_the_context(
    model: Decoder, prompt: list[int], options: dict[str, float]
) -> None:
    cached = list(generate(model, prompt, 30, **options))
    assert cached == list(generate(model, prompt, 30, use_cache=False, **options))
    assert len(cached) == 30


def test_greedy_equals_the_plain_loop(model: Decoder) -> None:
    tokens = [3]
    for _ in range(11):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert list(generate(model, [3], 11, temperature=0)) == tokens[1:]


def test_the_seed_decides(model: Decoder) -> None:
    draws = [tuple(generate(model, [3], 11, temperature=50.0, seed=s)) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_it_stops_at_the_stop_token(model: Decoder) -> None:
    whole = list(generate(model, [3], 30, temperature=0))
    cut = list(generate(model, [3], 30, temperature=0, stop=whole[5]))
    assert cut == whole[: whole.index(whole[5])]


def test_training_mode_is_put_back_and_dropout_is_off() -> None:
    model = GPT(CONFIG.model_copy(update={"dropout": 0.5})).train()
    assert list(generate(model, [1], 9, seed=2)) == list(generate(model, [1], 9, seed=2))
    assert model.training


PROMPTS = [[3, 9, 27], [1], list(range(12)), [5, 5, 5, 5, 5, 6], list(range(40))]
WAYS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1.5, "seed": 3},
    {"temperature": 1.0, "top_k": 7, "top_p": 0.9, "repetition_penalty": 1.3, "seed": 5},
]


@pytest.mark.parametrize("options", WAYS)
def test_a_batch_with_left_padding_equals_one_by_one(model: Decoder, options: dict[str, Any]) -> None:
    """Also beyond the context, which rows of different lengths reach at different times."""
    got = generate_batch(model, PROMPTS, 20, **options)
    for number, prompt in enumerate(PROMPTS):
        alone = {**options, "seed": row_seed(options.get("seed", 0), number)}
        assert got[number] == list(generate(model, prompt, 20, **alone))
    assert got == generate_batch(model, PROMPTS, 20, use_cache=False, **options)


def test_matrices_are_laid_out_anew_for_the_time_of_generating(model: Decoder) -> None:
    before = {name: (p.data_ptr(), p.clone()) for name, p in model.named_parameters()}
    expected = model(torch.tensor([PROMPTS[0]]))
    with column_major(model):
        assert all(p.dim() < 2 or p.data_ptr() != before[n][0] for n, p in model.named_parameters())
        assert torch.allclose(model(torch.tensor([PROMPTS[0]])), expected, atol=1e-12)
    with pytest.raises(Interrupted):
        generate_batch(model, PROMPTS, 20, should_stop=lambda: True)
    for name, p in model.named_parameters():
        assert p.data_ptr() == before[name][0]
        assert p.is_contiguous()
        assert torch.equal(p, before[name][1])


def test_rows_that_end_early_leave_the_others_alone(model: Decoder) -> None:
    whole = generate_batch(model, PROMPTS, 20, temperature=0)
    stop = whole[2][3]
    cut = [new[: new.index(stop)] if stop in new else new for new in whole]
    assert generate_batch(model, PROMPTS, 20, temperature=0, stop=stop) == cut
    wanted = generate_batch(model, PROMPTS, 20, temperature=0, ended=lambda number, new: len(new) == 4 * number + 1)
    assert wanted == [new[: 4 * number + 1] for number, new in enumerate(whole)]


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    prompts = [[1, 2, 3], [4, 4, 4], [49, 0, 7]]
    seen = torch.zeros(3, 50, dtype=torch.bool).scatter_(1, torch.tensor(prompts), True)
    theirs = transformers.RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor(prompts), logits)
    assert torch.equal(penalised(logits, seen, 1.7), theirs)
    model = GPT(CONFIG, seed=1)
    free, held = (list(generate(model, [3], 11, temperature=0, repetition_penalty=p)) for p in (1.0, 1e6))
    assert len(set(free)) < len(set(held)) == 11


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


def test_bad_requests_are_refused(model: Decoder) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        list(generate(model, [], 3))
    with pytest.raises(ValueError, match="need temperature >= 0"):
        list(generate(model, [1], 3, top_p=0.0))
    with pytest.raises(ValueError, match="at least one token"):
        generate_batch(model, [[1], []], 3)
    with pytest.raises(ValueError, match="need repetition_penalty > 0"):
        list(generate(model, [1], 3, repetition_penalty=0.0))
    with pytest.raises(Interrupted, match="generating"):
        list(generate(model, [1], 3, should_stop=lambda: True))


def test_text_in_text_out(tokenizer_dir: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    model = GPT(CONFIG.model_copy(update={"vocab": tokenizer.get_vocab_size()}))
    text = generate_text(model, tokenizer, "the model", 8, seed=5)
    assert text == generate_text(model, tokenizer, "the model", 8, seed=5)
    assert text


def test_stop_strings_and_several_prompts(tokenizer_dir: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    model = GPT(CONFIG.model_copy(update={"vocab": tokenizer.get_vocab_size()}), seed=2)
    prompts = ["the model", "", "模型"]
    whole = generate_texts(model, tokenizer, prompts, 12, seed=5)
    assert whole[0] == generate_text(model, tokenizer, prompts[0], 12, seed=5)
    stop = whole[1][4:6]
    cut = generate_texts(model, tokenizer, prompts, 12, seed=5, stop=[stop, "never there"])
    assert cut == [text.partition(stop)[0] for text in whole]
    assert len(cut[1]) < len(whole[1])
    with pytest.raises(ValueError, match="empty stop string"):
        generate_texts(model, tokenizer, prompts, 3, stop=["a", ""])


def test_generation_under_autocast(tokenizer_dir: Path) -> None:
    """The trainer samples under bf16 autocast; the cache is fp32."""
    with torch.autocast("cpu", torch.bfloat16):
        assert len(list(generate(GPT(CONFIG), [1, 2, 3], 20))) == 20
