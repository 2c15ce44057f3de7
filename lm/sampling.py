"""How the next token is drawn: temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), repetition penalty
(Keskar et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from lm.stop import ShouldStop


@dataclass(frozen=True)
class Draw:
    """Settings; raises ValueError for what makes no distribution.

    Repetition penalty first (1: none), then temperature (0: the largest logit, the first of equals), then the `top_k`
    largest, then of these the smallest set whose mass reaches `top_p`.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        t, k, p = self.temperature, self.top_k, self.top_p
        if t < 0 or (k is not None and k < 1) or (p is not None and not 0 < p <= 1):
            raise ValueError(f"need temperature >= 0, top_k >= 1, 0 < top_p <= 1: {t}, {k}, {p}")
        if self.repetition_penalty <= 0:
            raise ValueError(f"need repetition_penalty > 0 (1: none): {self.repetition_penalty}")


class Drawing(TypedDict, total=False):
    """The settings of `Draw` as keywords."""

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float


class Sampling(Drawing, total=False):
    """How a text is drawn: also the seed that decides (0), and strings before the first of which it ends."""

    seed: int
    stop: Sequence[str]


class TextSettings(Sampling, total=False):
    """The same, and whether to stop."""

    should_stop: ShouldStop


def drawn_as_text(**drawing: Unpack[Drawing]) -> Draw:
    """What texts are drawn with unless something else is said: temperature 0.8, the 50 likeliest tokens."""
    wanted: Drawing = {"temperature": 0.8, "top_k": 50, **drawing}
    return Draw(**wanted)


def seen_tokens(prompts: Sequence[Sequence[int]], vocab: int) -> Tensor:
    """Which tokens each prompt has, bool [prompts, vocab]."""
    seen = torch.zeros(len(prompts), vocab, dtype=torch.bool)
    for row, prompt in zip(seen, prompts, strict=True):
        row[torch.tensor(list(prompt))] = True
    return seen


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits [batch, vocab] with those of `seen` tokens, bool of the same shape, divided by the penalty.

    Keskar et al. (2019, section 4.1) divide every logit, which makes a negative one likelier: as in their own code and
    in transformers, those are multiplied.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def shortlist(logits: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Logits [batch, vocab] to (probabilities, token ids), each [batch, n]: n is 1 when greedy, at most `top_k` with
    one, else the vocabulary. What is cut off is not there or has probability 0. In fp32 on the CPU."""
    logits = logits.float().cpu()
    if draw.temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.ones(best.shape), best
    logits = logits / draw.temperature
    if draw.top_k is not None and draw.top_k < logits.shape[-1]:
        ranked, ids = logits.topk(draw.top_k)
    elif draw.top_p is not None:
        ranked, ids = logits.sort(descending=True, stable=True)
    else:
        return logits.softmax(-1), torch.arange(logits.shape[-1]).expand_as(logits)
    p = ranked.softmax(-1)
    if draw.top_p is not None:
        p[p.cumsum(-1) - p >= draw.top_p] = 0
        p = p / p.sum(-1, keepdim=True)
    return p, ids


def before_stop(text: str, stop: Sequence[str]) -> str:
    """`text` before the first stop string in it; all of it if there is none. Raises ValueError if one is empty."""
    if not all(stop):
        raise ValueError("an empty stop string would stop everything")
    return text[: min((at for each in stop if (at := text.find(each)) >= 0), default=None)]


def next_token_probabilities(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits [vocab] to the distribution that is drawn from, fp32 [vocab] on the CPU; see `Draw`."""
    p, ids = shortlist(logits[None], Draw(temperature, top_k, top_p))
    return torch.zeros(logits.shape[-1]).scatter_(0, ids[0], p[0])
