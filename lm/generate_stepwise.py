"""Text from a model that says what comes next, one token at a time, whatever it keeps in mind between them."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lm.generate import next_token_probabilities
from lm.models.nnlm import NNLM
from lm.stop import ShouldStop, check, never

Step = Callable[[Sequence[int]], Tensor]
"""Reads the tokens that are new since the call before, and gives the logits [vocab] of the next one."""


def generate_stepwise(
    step: Step,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: int | None = None,
    should_stop: ShouldStop = never,
) -> Iterator[int]:
    """Yield new tokens, one at a time, ending before `stop` (a token id) or after `max_new_tokens`.

    The draw depends on `seed` alone. Raises ValueError for an empty prompt.
    """
    if not prompt:
        raise ValueError("the prompt needs at least one token: begin with <|endoftext|>")
    generator = torch.Generator().manual_seed(seed)
    new: Sequence[int] = prompt
    for _ in range(max_new_tokens):
        check(should_stop, "generating")
        with torch.no_grad():
            p = next_token_probabilities(step(new), temperature, top_k, top_p)
        token = int(torch.multinomial(p, 1, generator=generator))
        if token == stop:
            return
        yield token
        new = [token]


class WindowStep:
    """A `Step` of a model with a window: the last n - 1 tokens are all there is to remember."""

    def __init__(self, model: NNLM) -> None:
        self.model = model
        self.window: list[int] = []

    def __call__(self, new: Sequence[int]) -> Tensor:
        self.window = [*self.window, *new][-self.model.config.window :]
        tokens = torch.tensor([self.window], device=self.model.C.device)
        return self.model.logits(self.model.hidden_states(tokens)[0, -1])
