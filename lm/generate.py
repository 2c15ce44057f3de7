"""Text from a causal model: temperature, top-k (Fan et al. 2018) and top-p (Holtzman et al. 2020) sampling."""

from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.models.gpt import GPT
from lm.stop import ShouldStop, check, never
from lm.tokenizer import encode_documents, end_of_text_id


def next_token_probabilities(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits [vocab] to the distribution that is drawn from, fp32 [vocab] on the CPU.

    Temperature first, then the `top_k` largest, then of these the smallest set whose mass reaches `top_p`. A
    temperature of 0 puts all mass on the largest logit (the first of equals).
    """
    logits = logits.float().cpu()
    if temperature < 0 or (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
        raise ValueError(f"need temperature >= 0, top_k >= 1, 0 < top_p <= 1: {temperature}, {top_k}, {top_p}")
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), logits.numel()).float()
    ranked, order = torch.sort(logits / temperature, descending=True, stable=True)
    p = ranked.softmax(-1)
    if top_k is not None:
        p[top_k:] = 0
    if top_p is not None:
        p /= p.sum()
        p[p.cumsum(-1) - p >= top_p] = 0
    return torch.zeros_like(p).scatter_(0, order, p / p.sum())


def generate(
    model: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: int | None = None,
    use_cache: bool = True,
    should_stop: ShouldStop = never,
) -> Iterator[int]:
    """Yield new tokens, one at a time, ending before `stop` (a token id) or after `max_new_tokens`.

    The draw depends on `seed` alone. Where prompt and answer outgrow the context, the model goes on from the
    last half of it. `use_cache=False` recomputes everything for each token: slow, for comparison.
    """
    if not prompt:
        raise ValueError("the prompt needs at least one token: begin with <|endoftext|>")
    context = model.config.context
    device = model.token_embedding.weight.device
    generator = torch.Generator().manual_seed(seed)
    window = list(prompt)[-context:]
    pending = window
    cache = model.new_cache(1) if use_cache else None
    was_training = model.training
    model.eval()
    try:
        for _ in range(max_new_tokens):
            check(should_stop, "generating")
            if len(window) > context:
                window = window[-max(1, context // 2) :]
                pending, cache = window, model.new_cache(1) if use_cache else None
            tokens = torch.tensor([pending if use_cache else window], device=device)
            with torch.no_grad():
                logits = model.logits(model.hidden_states(tokens, cache=cache)[0, -1])
            p = next_token_probabilities(logits, temperature, top_k, top_p)
            token = int(torch.multinomial(p, 1, generator=generator))
            if token == stop:
                return
            yield token
            window, pending = [*window, token], [token]
    finally:
        model.train(was_training)


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 64,
    *,
    temperature: float = 0.8,
    top_k: int | None = 50,
    top_p: float | None = None,
    seed: int = 0,
    should_stop: ShouldStop = never,
) -> str:
    """The model's continuation of `prompt` as the beginning of a document (without the prompt)."""
    end = end_of_text_id(tokenizer)
    ids = [end, *encode_documents(tokenizer, [prompt])[0].tolist()]
    new = generate(
        model,
        ids,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=end,
        should_stop=should_stop,
    )
    return str(tokenizer.decode(list(new), skip_special_tokens=False))  # an <unk> is shown
