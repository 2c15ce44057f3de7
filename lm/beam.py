"""Finding the likeliest target: greedy, and beam search with a length penalty (Wu et al. 2016; Vaswani et al. 2017).

score(y) = ln p(y | x) / ((5 + |y|) / 6)^alpha          |y| counts the end token

Without the penalty (alpha 0) short targets win: each further token makes a sum of logarithms smaller. A search ends for
a source when no hypothesis that still grows can reach the score of the worst one kept; with a beam as wide as there
are sequences it finds the best of all (tested against enumerating them).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.models.encoder_decoder import EncoderDecoder
from lm.nn.precision import full_precision
from lm.stop import ShouldStop, check, never


@dataclass(frozen=True)
class Hypothesis:
    """A target: its tokens without the end, ln p(y | x), the score, and whether it ended or was cut off."""

    tokens: list[int]
    log_prob: float
    score: float
    ended: bool


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / 6)^alpha (Wu et al. 2016, equation 14)."""
    return float(((5 + length) / 6) ** alpha)


@torch.no_grad()
def greedy(
    model: EncoderDecoder,
    source: Tensor,
    lengths: Tensor,
    end: int,
    extra: int = 50,
    should_stop: ShouldStop = never,
) -> list[list[int]]:
    """The likeliest token at each step, for each source: int64 [batch, time] with `lengths` -> tokens without `end`.

    Tokens and end are at most `extra` more than the source and its end. The model should be in eval mode.
    """
    limits = (lengths + extra).tolist()
    found: list[list[int]] = [[] for _ in limits]
    live = list(range(len(limits)))
    tokens = torch.full((len(limits),), end, dtype=torch.int64, device=source.device)
    state = model.start(source, lengths)
    while live:
        check(should_stop, "decoding")
        logits, state = model.step(tokens, state)
        drawn = logits.argmax(-1).tolist()
        for row, token in zip(live, drawn, strict=True):
            if token != end:
                found[row].append(token)
        going = [i for i, row in enumerate(live) if drawn[i] != end and len(found[row]) < limits[row]]
        live = [live[i] for i in going]
        if live:
            chosen = torch.tensor(going, device=source.device)
            tokens, state = torch.tensor([drawn[i] for i in going], device=source.device), state.select(chosen)
    return found


class _Search:
    """The hypotheses of one source: `live` grow, `ended` are the best so far that have ended."""

    def __init__(self, beam: int, alpha: float, limit: int) -> None:
        self.beam, self.alpha, self.limit = beam, alpha, limit
        self.live: list[tuple[float, list[int]]] = [(0.0, [])]
        self.ended: list[Hypothesis] = []
        self.done = False

    def grow(self, candidates: list[tuple[float, int, int]], end: int) -> list[tuple[int, int]]:
        """Take the candidates (ln p, live hypothesis, token), best first; returns (live hypothesis, token) of those
        that live on."""
        before, self.live = self.live, []
        chosen: list[tuple[int, int]] = []
        for log_prob, parent, token in candidates:
            tokens = before[parent][1]
            if token == end:
                score = log_prob / length_penalty(len(tokens) + 1, self.alpha)
                self.ended.append(Hypothesis(tokens, log_prob, score, True))
            elif len(self.live) < self.beam:
                self.live.append((log_prob, [*tokens, token]))
                chosen.append((parent, token))
        self.ended = sorted(self.ended, key=lambda h: -h.score)[: self.beam]  # stable: the first of equals stays
        self.done = self._done()
        return [] if self.done else chosen

    def _done(self) -> bool:
        if not self.live or len(self.live[0][1]) >= self.limit:
            return True
        if len(self.ended) < self.beam:
            return False
        longest = length_penalty(self.limit, self.alpha)
        return self.live[0][0] / longest <= self.ended[-1].score

    def best(self) -> list[Hypothesis]:
        """Those that ended, best first; if none did before the limit, those that were cut off."""
        if self.ended:
            return self.ended
        cut = [Hypothesis(t, p, p / length_penalty(len(t), self.alpha), False) for p, t in self.live]
        return sorted(cut, key=lambda h: -h.score)


@torch.no_grad()
def beam_search(
    model: EncoderDecoder,
    source: Tensor,
    lengths: Tensor,
    end: int,
    *,
    beam: int = 4,
    alpha: float = 0.6,
    extra: int = 50,
    should_stop: ShouldStop = never,
) -> list[list[Hypothesis]]:
    """Up to `beam` hypotheses for each source, best first; sources int64 [batch, time] with `lengths`.

    A target has at most `extra` more tokens than its source, ends counted (Vaswani et al.: 50). The model should be in
    eval mode. Raises ValueError for a beam below 1 and for a model whose logits are not finite.
    """
    if beam < 1:
        raise ValueError(f"a beam has at least one hypothesis, not {beam}")
    device = source.device
    searches = [_Search(beam, alpha, int(length) + extra) for length in lengths]
    live = list(range(len(searches)))  # the search of each group of rows; a group is a search's live hypotheses
    tokens = torch.full((len(searches),), end, dtype=torch.int64, device=device)
    state = model.start(source, lengths)
    while live:
        check(should_stop, "decoding")
        logits, state = model.step(tokens, state)
        steps = torch.log_softmax(full_precision(logits), -1)
        if bool(steps.isnan().any()):  # ln p = -inf alone is fine: a token that cannot come
            raise ValueError("the model's logits are not finite: are its weights? A training may have diverged")
        rows: list[int] = []
        read: list[int] = []
        start, going = 0, []
        for number in live:
            search = searches[number]
            count = len(search.live)
            candidates = _candidates(steps[start : start + count], search.live, 2 * beam)
            chosen = search.grow(candidates, end)
            if chosen:
                going.append(number)
            rows += [start + parent for parent, _ in chosen]
            read += [token for _, token in chosen]
            start += count
        live = going
        if live:
            tokens, state = torch.tensor(read, device=device), state.select(torch.tensor(rows, device=device))
    return [search.best() for search in searches]


def _candidates(steps: Tensor, live: Sequence[tuple[float, list[int]]], count: int) -> list[tuple[float, int, int]]:
    """The best continuations of a source's live hypotheses. Of twice the beam at most half can end, since each
    hypothesis ends in one way: enough always live on."""
    before = torch.tensor([log_prob for log_prob, _ in live], dtype=torch.float64, device=steps.device)
    totals = before[:, None] + steps.double()
    best = torch.topk(totals.flatten(), min(count, totals.numel()))
    vocab = steps.shape[1]
    found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [(p, i // vocab, i % vocab) for p, i in found if p > float("-inf")]
