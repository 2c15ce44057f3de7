"""Text from a model with carried state: the state holds all that was read, so that each token costs the same."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Unpack

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.evaluating import evaluating
from lm.nn.stateful import Stateful
from lm.order import draw_seed
from lm.sampling import Draw, Drawing, before_stop, drawn_as_text, penalised, seen_tokens, shortlist
from lm.stop import ShouldStop, check, never
from lm.tokenizer import encode_documents, end_of_text_id


def generate_recurrent(
    model: Stateful,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    seed: int = 0,
    stop: int | None = None,
    should_stop: ShouldStop = never,
    **drawing: Unpack[Drawing],
) -> list[list[int]]:
    """The new tokens of each prompt, ending before `stop` (a token id) or after `max_new_tokens`.

    Prompts may differ in length; what is drawn for row i follows from `seed` and i alone. Raises ValueError for an
    empty prompt.
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("each prompt needs at least one token: begin with <|endoftext|>")
    if getattr(model.config, "memory", None) == 0:
        raise ValueError("a model without memory forgets each token that it writes: it cannot go on token by token")
    device = model.token_embedding.weight.device
    draw = Draw(**drawing)
    seen = seen_tokens(prompts, model.token_embedding.num_embeddings)
    draws = [torch.Generator().manual_seed(draw_seed(seed, "row", i)) for i in range(len(prompts))]
    new: list[list[int]] = [[] for _ in prompts]
    live = list(range(len(prompts)))  # the prompt that stands in each row of `hidden` and `states`
    with evaluating(model):
        hidden, states = _read_prompts(model, prompts, should_stop)
        for _ in range(max_new_tokens):
            check(should_stop, "generating")
            logits = penalised(model.logits(hidden).float().cpu(), seen[live], draw.repetition_penalty)
            p, ids = shortlist(logits, draw)
            chosen = [torch.multinomial(p[row], 1, generator=draws[n]) for row, n in enumerate(live)]
            tokens = ids.gather(1, torch.stack(chosen))
            seen[live] |= torch.zeros_like(seen[live]).scatter_(1, tokens, True)
            drawn = tokens[:, 0].tolist()
            going = [i for i, token in enumerate(drawn) if token != stop]
            live = [live[i] for i in going]
            for row, i in zip(live, going, strict=True):
                new[row].append(drawn[i])
            if not live:
                break
            tokens = torch.tensor([[drawn[i]] for i in going], device=device)
            reading = model.read(tokens, {name: state[going] for name, state in states.items()})
            hidden, states = reading.dropped[:, -1], reading.states
    return new


def _read_prompts(
    model: Stateful, prompts: Sequence[Sequence[int]], should_stop: ShouldStop
) -> tuple[Tensor, dict[str, Tensor]]:
    """The last output [batch, width] and the states after each prompt; read one by one, since lengths differ."""
    device = model.token_embedding.weight.device
    readings = []
    for prompt in prompts:
        check(should_stop, "reading the prompts")
        readings.append(model.read(torch.tensor([list(prompt)], device=device)))
    states = {name: torch.cat([r.states[name] for r in readings]) for name in readings[0].states}
    return torch.cat([r.dropped[:, -1] for r in readings]), states


def generate_texts(
    model: Stateful,
    tokenizer: Tokenizer,
    prompts: Sequence[str] = ("",),
    max_new_tokens: int = 64,
    *,
    seed: int = 0,
    stop: Sequence[str] = (),
    should_stop: ShouldStop = never,
    **drawing: Unpack[Drawing],
) -> list[str]:
    """The model's continuation of each prompt as the beginning of a document (without it), up to a stop string."""
    end = end_of_text_id(tokenizer)
    ids = [[end, *tokens.tolist()] for tokens in encode_documents(tokenizer, list(prompts))]
    new = generate_recurrent(
        model,
        ids,
        max_new_tokens,
        seed=seed,
        stop=end,
        should_stop=should_stop,
        **asdict(drawn_as_text(**drawing)),
    )
    return [before_stop(str(tokenizer.decode(tokens, skip_special_tokens=False)), stop) for tokens in new]
