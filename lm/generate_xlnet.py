"""Text from an XLNet, from left to right: the query stream says what stands next."""

from collections.abc import Sequence

import torch

from lm.generate import next_token_probabilities
from lm.models.xlnet import XLNet
from lm.order import draw_seed
from lm.stop import ShouldStop, check, never


def generate_from_left(
    model: XLNet,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = 50,
    top_p: float | None = None,
    seed: int = 0,
    stop: int | None = None,
    should_stop: ShouldStop = never,
) -> list[int]:
    """The new tokens, ending before `stop` (a token id) or after `max_new_tokens`; the draw follows from `seed` alone.

    Each token is predicted from the last `context` - 1 before it, all read again: the paper has no cache for two
    streams. Raises ValueError for an empty prompt.
    """
    if not len(prompt):
        raise ValueError("the prompt needs at least one token: begin with <|endoftext|>")
    device, draw = model.head_bias.device, torch.Generator().manual_seed(draw_seed(seed, "row", 0))
    text, new = list(prompt), list[int]()
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            while len(new) < max_new_tokens:
                check(should_stop, "generating")
                seen = torch.tensor([text[-(model.config.context - 1) :]], device=device)
                p = next_token_probabilities(model(seen)[0, -1], temperature, top_k, top_p)
                token = int(torch.multinomial(p, 1, generator=draw))
                if token == stop:
                    break
                text.append(token)
                new.append(token)
    finally:
        model.train(was_training)
    return new
