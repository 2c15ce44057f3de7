"""Text from a model that says what comes next, one token at a time, whatever it keeps in mind between them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.models.elmo import FORWARD, ELMo
from lm.models.nnlm import NNLM
from lm.models.xlnet import XLNet
from lm.sampling import Draw, Drawing, before_stop, drawn_as_text, penalised, seen_tokens, shortlist
from lm.stop import ShouldStop, check, never
from lm.tokenizer import encode_documents, end_of_text_id

Step = Callable[[Sequence[int]], Tensor]
"""Reads the tokens that are new since the call before, and gives the logits [vocab] of the next one."""


def generate_stepwise(
    step: Step,
    prompt: Sequence[int],
    max_new_tokens: int,
    draw: Draw,
    *,
    seed: int = 0,
    stop: int | None = None,
    should_stop: ShouldStop = never,
) -> Iterator[int]:
    """Yield new tokens, one at a time, ending before `stop` (a token id) or after `max_new_tokens`.

    What is drawn depends on `seed` alone. Raises ValueError for an empty prompt.
    """
    if not prompt:
        raise ValueError("the prompt needs at least one token: begin with <|endoftext|>")
    generator = torch.Generator().manual_seed(seed)
    new, seen = prompt, None
    for _ in range(max_new_tokens):
        check(should_stop, "generating")
        with torch.no_grad():
            logits = step(new)[None].float().cpu()
        seen = seen_tokens([prompt], logits.shape[-1]) if seen is None else seen
        p, ids = shortlist(penalised(logits, seen, draw.repetition_penalty), draw)
        token = int(ids[0, torch.multinomial(p[0], 1, generator=generator)])
        if token == stop:
            return
        yield token
        seen[0, token] = True
        new = [token]


def continue_text(
    step: Step,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 64,
    *,
    seed: int = 0,
    stop: Sequence[str] = (),
    should_stop: ShouldStop = never,
    **drawing: Unpack[Drawing],
) -> str:
    """The continuation of `prompt` as the beginning of a document (without the prompt), up to a stop string."""
    end = end_of_text_id(tokenizer)
    ids = [end, *encode_documents(tokenizer, [prompt])[0].tolist()]
    draw = drawn_as_text(**drawing)
    new = generate_stepwise(step, ids, max_new_tokens, draw, seed=seed, stop=end, should_stop=should_stop)
    return before_stop(str(tokenizer.decode(list(new), skip_special_tokens=False)), stop)  # an <unk> is shown


def continue_with(step: Callable[[Any], Step]) -> Callable[..., str]:
    """`continue_text` of a model: (model, tokenizer, prompt, tokens, ...), each text with a new `step(model)`."""

    def of_model(model: Any, tokenizer: Tokenizer, prompt: str, max_new_tokens: int, **settings: Any) -> str:
        return continue_text(step(model), tokenizer, prompt, max_new_tokens, **settings)

    return of_model


class WindowStep:
    """A `Step` of a model with a window, in eval mode: the last n - 1 tokens are all there is to remember."""

    def __init__(self, model: NNLM) -> None:
        self.model = model
        self.window: list[int] = []

    def __call__(self, new: Sequence[int]) -> Tensor:
        self.window = [*self.window, *new][-self.model.config.window :]
        tokens = torch.tensor([self.window], device=self.model.C.device)
        return self.model.logits(self.model.hidden_states(tokens)[0, -1])


class ForwardStep:
    """A `Step` of ELMo's forward model, in eval mode: its LSTMs remember all that was read."""

    def __init__(self, model: ELMo) -> None:
        self.model = model
        self.states: list[dict[str, Tensor]] | None = None

    def __call__(self, new: Sequence[int]) -> Tensor:
        tokens = torch.tensor([list(new)], device=self.model.softmax.weight.device)
        outputs, self.states = self.model.read(self.model.token_vectors(tokens), FORWARD, self.states)
        return self.model.logits(outputs[-1][0, -1])


class LeftStep:
    """A `Step` of an XLNet in eval mode, from left to right: its query stream says what stands next. The last `context`
    - 1 tokens are read again for each new one: the paper has no cache for two streams."""

    def __init__(self, model: XLNet) -> None:
        self.model = model
        self.window: list[int] = []

    def __call__(self, new: Sequence[int]) -> Tensor:
        self.window = [*self.window, *new][-(self.model.config.context - 1) :]
        logits: Tensor = self.model(torch.tensor([self.window], device=self.model.head_bias.device))
        return logits[0, -1]
