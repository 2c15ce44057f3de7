"""Text from a decoder, several prompts at once.

Prompts of different lengths are padded on the left, so that every row's next token stands in the same column; a mask
hides the padding and each row has its own positions. Keys and values of what was read are kept (`KVCache`): each new
token costs one position.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Unpack

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.modern import Modern
from lm.nn.masks import Padding
from lm.order import draw_seed
from lm.sampling import Draw, Drawing, TextSettings, before_stop, drawn_as_text, penalised, seen_tokens, shortlist
from lm.stop import ShouldStop, check, never
from lm.tokenizer import encode_documents, end_of_text_id, end_of_turn_id

Decoder = GPT | Modern
WORTH_COPYING = 16  # tokens
Ended = Callable[[int, list[int]], bool]
"""(prompt number, its new tokens) -> whether that is enough."""


def never_ended(number: int, new: list[int]) -> bool:
    """The default."""
    return False


class _Rows:
    """The unfinished rows: what each has read, and the cache of it."""

    def __init__(self, model: Decoder, prompts: Sequence[Sequence[int]], use_cache: bool, room: int) -> None:
        self.model, self.use_cache, self.room = model, use_cache, room
        self.context = model.config.context
        self.device = model.token_embedding.weight.device
        self.windows = [list(prompt)[-self.context :] for prompt in prompts]
        self._fresh = True

    def logits(self) -> Tensor:
        """Of the next token of each row, [rows, vocab]."""
        for row, window in enumerate(self.windows):
            if len(window) > self.context:  # go on from the last half
                self.windows[row] = window[-max(1, self.context // 2) :]
                self._fresh = True
        if self._fresh or not self.use_cache:
            tokens = self._begin()
        else:
            self._read += 1
            tokens = torch.tensor([[window[-1]] for window in self.windows], device=self.device)
        padded = bool(self._padding.any())
        columns = torch.arange(self._read, device=self.device)
        real = columns >= self._padding[:, None]
        positions = (columns - self._padding[:, None])[:, -tokens.shape[1] :].clamp(min=0)
        with torch.no_grad():
            hidden = self.model.hidden_states(
                tokens, Padding(real) if padded else None, self._cache, positions if padded else None
            )
            return self.model.logits(hidden[:, -1])

    def _begin(self) -> Tensor:
        """Read everything anew: the tokens, padded on the left."""
        self._read = max(map(len, self.windows))
        self._padding = torch.tensor([self._read - len(window) for window in self.windows], device=self.device)
        # Padding is hidden: which token stands there does not matter.
        rows = [[0] * (self._read - len(window)) + window for window in self.windows]
        # A row that outgrows the context begins anew; padding may move it further right than that.
        capacity = self._read + min(self.room, self.context)
        self._cache = self.model.new_cache(len(rows), capacity) if self.use_cache else None
        self._fresh = False
        return torch.tensor(rows, device=self.device)

    def keep(self, rows: list[int]) -> None:
        """Go on with these only."""
        self.windows = [self.windows[row] for row in rows]
        self._padding = self._padding[rows]
        if self._cache is not None:
            self._cache.select(rows)


def _decode(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    draw: Draw,
    seeds: Sequence[int],
    stop: int | None,
    use_cache: bool,
    should_stop: ShouldStop,
    ended: Ended = never_ended,
) -> Iterator[dict[int, int]]:
    """Yield the new token of each prompt, {number of the prompt: token}, until all have ended."""
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("each prompt needs at least one token: begin with <|endoftext|>")
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    new: list[list[int]] = [[] for _ in prompts]
    seen = seen_tokens(prompts, model.config.vocab) if draw.repetition_penalty != 1 else None
    live = list(range(len(prompts)))
    rows = _Rows(model, prompts, use_cache, max_new_tokens)
    was_training = model.training
    model.eval()
    try:
        for _ in range(max_new_tokens):
            check(should_stop, "generating")
            logits = rows.logits()
            if seen is not None:
                logits = penalised(logits.float().cpu(), seen[live], draw.repetition_penalty)
            p, ids = shortlist(logits, draw)
            chosen = [torch.multinomial(p[row], 1, generator=draws[n]) for row, n in enumerate(live)]
            tokens = ids.gather(1, torch.stack(chosen))[:, 0].tolist()
            going, out = [], {}
            for row, (n, token) in enumerate(zip(live, tokens, strict=True)):
                if token == stop:
                    continue
                out[n] = token
                new[n].append(token)
                rows.windows[row].append(token)
                if seen is not None:
                    seen[n, token] = True
                if not ended(n, new[n]):
                    going.append(row)
            if out:
                yield out
            if not going:
                return
            if len(going) < len(live):
                rows.keep(going)
                live = [live[row] for row in going]
    finally:
        model.train(was_training)


def generate(
    model: Decoder,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    seed: int = 0,
    stop: int | None = None,
    use_cache: bool = True,
    should_stop: ShouldStop = never,
    **drawing: Unpack[Drawing],
) -> Iterator[int]:
    """Yield new tokens, one at a time, ending before `stop` (a token id) or after `max_new_tokens`.

    The draw depends on `seed` alone. Where prompt and answer outgrow the context, the model goes on from the
    last half of it. `use_cache=False` recomputes everything for each token: slow, for comparison.
    """
    draw = Draw(**drawing)
    for tokens in _decode(model, [prompt], max_new_tokens, draw, [seed], stop, use_cache, should_stop):
        yield tokens[0]


def generate_batch(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    seed: int = 0,
    stop: int | None = None,
    use_cache: bool = True,
    should_stop: ShouldStop = never,
    ended: Ended = never_ended,
    **drawing: Unpack[Drawing],
) -> list[list[int]]:
    """The new tokens of each prompt, as `generate` gives them for it alone with the seed `row_seed(seed, number)`.

    `ended(number, new)` is asked after each token whether a prompt has got enough.
    """
    draw = Draw(**drawing)
    seeds = [row_seed(seed, number) for number in range(len(prompts))]
    new: list[list[int]] = [[] for _ in prompts]
    with column_major(model) if max_new_tokens >= WORTH_COPYING else nullcontext():
        for tokens in _decode(model, prompts, max_new_tokens, draw, seeds, stop, use_cache, should_stop, ended):
            for number, token in tokens.items():
                new[number].append(token)
    return new


@contextmanager
def column_major(model: nn.Module) -> Iterator[None]:
    """Inside, the model's matrices lie in the CPU's memory column by column, in copies.

    A product with one row (one token) then reads them front to back: 1.5 to 4 times as fast as torch 2.13's F.linear
    on rows. The values are the same; training inside would be lost.
    """
    kept = [(p, p.data) for p in model.parameters() if p.dim() >= 2 and p.device.type == "cpu"]
    try:
        for p, rows in kept:
            p.data = rows.flatten(0, -2).t().contiguous().t().view(rows.shape)
        yield
    finally:
        for p, rows in kept:
            p.data = rows


def row_seed(seed: int, number: int) -> int:
    """What decides the draws of the `number`-th prompt of several; those of the first are as if it were alone."""
    return draw_seed(seed, "row", number) if number else seed


def generate_texts(
    model: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[str] = ("",),
    max_new_tokens: int = 64,
    *,
    seed: int = 0,
    stop: Sequence[str] = (),
    should_stop: ShouldStop = never,
    **drawing: Unpack[Drawing],
) -> list[str]:
    """The model's continuation of each prompt as the beginning of a document (without the prompt).

    It ends before the first of the `stop` strings, at the end of the document (for a model of conversations also of a
    turn) or after `max_new_tokens`.
    """
    end, turn = end_of_text_id(tokenizer), end_of_turn_id(tokenizer)
    before_stop("", stop)  # is it one?

    def text_of(new: list[int]) -> str:
        shown = new[:-1] if turn is not None and new[-1:] == [turn] else new
        return str(tokenizer.decode(shown, skip_special_tokens=False))  # an <unk> is shown

    def ended(number: int, new: list[int]) -> bool:
        return new[-1] == turn or (bool(stop) and before_stop(text := text_of(new), stop) != text)

    news = generate_batch(
        model,
        [[end, *ids.tolist()] for ids in encode_documents(tokenizer, list(prompts))],
        max_new_tokens,
        seed=seed,
        stop=end,
        should_stop=should_stop,
        ended=ended if stop or turn is not None else never_ended,
        **asdict(drawn_as_text(**drawing)),
    )
    return [before_stop(text_of(new), stop) for new in news]


def generate_text(
    model: Decoder,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 64,
    **settings: Unpack[TextSettings],
) -> str:
    """`generate_texts` of one prompt."""
    return generate_texts(model, tokenizer, [prompt], max_new_tokens, **settings)[0]
