"""Beam search against enumerating all targets, and greedy search against reading everything again."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from lm.beam import Hypothesis, beam_search, greedy, length_penalty
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer import Transformer
from lm.models.transformer_config import TransformerConfig
from lm.stop import Interrupted

VOCAB, END = 4, 0
SIZES = {"source_vocab": 9, "target_vocab": VOCAB}
CONFIGS: list[Any] = [
    Seq2SeqConfig(**SIZES, embedding=5, width=6, cell="lstm"),
    Seq2SeqConfig(**SIZES, embedding=5, width=6, cell="gru", attention="additive", bidirectional=True),
    Seq2SeqConfig(**SIZES, embedding=5, width=6, layers=2, attention="dot", input_feeding=True, reverse_source=True),
    Seq2SeqConfig(**SIZES, embedding=5, width=6, attention="general", bidirectional=True),
    TransformerConfig(**SIZES, layers=2, width=8, heads=2, feed_forward=12, shared_embedding=False),
]
NAMES = ["none", "additive", "dot", "general", "transformer"]


def sharp(config: Any, seed: int = 0) -> Any:
    """A model in fp64 whose distributions are not nearly uniform and end now and then."""
    model = (Seq2Seq if config.kind == "seq2seq" else Transformer)(config, seed).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.empty(p.shape).normal_(0, 0.5, generator=generator))
    return model


SOURCE = torch.tensor([[3, 1, 4, END], [5, END, END, END], [6, 5, END, END]])
LENGTHS = torch.tensor([4, 2, 3])


def every_target(model: Any, row: int, longest: int, alpha: float) -> list[Hypothesis]:
    """All targets of at most `longest` tokens, the end among them, best first."""
    found = []
    source, length = SOURCE[row : row + 1, : LENGTHS[row]], LENGTHS[row : row + 1]
    for size in range(longest):
        for tokens in itertools.product(range(1, VOCAB), repeat=size):
            read = torch.tensor([[END, *tokens]])
            p = model(source, length, read)[0].log_softmax(-1)
            log_prob = float(p[torch.arange(size + 1), torch.tensor([*tokens, END])].sum())
            found.append(Hypothesis(list(tokens), log_prob, log_prob / length_penalty(size + 1, alpha), True))
    return sorted(found, key=lambda h: -h.score)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_a_beam_as_wide_as_there_are_targets_finds_the_best_of_all(config: Any, alpha: float) -> None:
    model = sharp(config)
    with torch.no_grad():
        found = beam_search(model, SOURCE, LENGTHS, END, beam=170, alpha=alpha, extra=1)
        for row in range(3):
            expected = every_target(model, row, int(LENGTHS[row]) + 1, alpha)
            assert [h.tokens for h in found[row]] == [h.tokens for h in expected]
            for ours, theirs in zip(found[row], expected, strict=True):
                assert ours.log_prob == pytest.approx(theirs.log_prob, abs=1e-6)
                assert ours.score == pytest.approx(theirs.score, abs=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_stopping_early_loses_nothing(config: Any) -> None:
    """The best of a narrow beam with the bound on what can still come, against the same beam run to the limit."""
    model = sharp(config, seed=3)
    for beam in (1, 3):
        found = beam_search(model, SOURCE, LENGTHS, END, beam=beam, extra=5)
        for row, hypotheses in enumerate(found):
            assert hypotheses[0].tokens == to_the_limit(model, row, beam, 5, 0.6)
            assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)


@torch.no_grad()
def to_the_limit(model: Any, row: int, beam: int, extra: int, alpha: float) -> list[int]:
    """A plain beam search that reads everything again at each step and never stops early."""
    source, length = SOURCE[row : row + 1, : LENGTHS[row]], LENGTHS[row : row + 1]
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for _ in range(int(length) + extra):
        grown = []
        for log_prob, tokens in live:
            p = model(source, length, torch.tensor([[END, *tokens]]))[0, -1].log_softmax(-1).tolist()
            grown += [(log_prob + p[t], [*tokens, t]) for t in range(VOCAB)]
        grown = sorted(grown, key=lambda each: -each[0])[: 2 * beam]
        ended += [(p / length_penalty(len(t), alpha), t[:-1]) for p, t in grown if t[-1] == END]
        live = [(p, t) for p, t in grown if t[-1] != END][:beam]
    return max(ended, key=lambda each: each[0])[1] if ended else live[0][1]


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_greedy_takes_the_likeliest_token_each_time(config: Any) -> None:
    model = sharp(config, seed=1)
    found = greedy(model, SOURCE, LENGTHS, END, extra=6)
    for row, tokens in enumerate(found):
        source, length = SOURCE[row : row + 1, : LENGTHS[row]], LENGTHS[row : row + 1]
        read = [END]
        while len(read) <= int(length) + 6:
            read.append(int(model(source, length, torch.tensor([read]))[0, -1].argmax()))
            if read[-1] == END:
                break
        assert tokens == [t for t in read[1:] if t != END]


class Fixed(nn.Module):
    """p of each token, the same at every step."""

    def __init__(self, p: list[float]) -> None:
        super().__init__()
        self.log_p = torch.tensor(p, dtype=torch.float64).log()

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> "Rows":
        return Rows(len(source))

    def step(self, tokens: torch.Tensor, state: "Rows") -> tuple[torch.Tensor, "Rows"]:
        assert len(tokens) == state.count
        return self.log_p.expand(len(tokens), -1), state


class Rows:
    def __init__(self, count: int) -> None:
        self.count = count

    def select(self, rows: torch.Tensor) -> "Rows":
        return Rows(len(rows))


def test_the_length_penalty_makes_up_for_length() -> None:
    """n times 1 and the end have p = 0.95^n 0.05: alpha 0 takes the empty target, alpha 1 a long one."""
    model: Any = Fixed([0.05, 0.95])
    source, lengths = torch.zeros(1, 1, dtype=torch.int64), torch.tensor([1])
    assert beam_search(model, source, lengths, 0, beam=3, alpha=0.0)[0][0] == Hypothesis(
        [], pytest.approx(math.log(0.05)), pytest.approx(math.log(0.05)), True
    )
    scores = [(n * math.log(0.95) + math.log(0.05)) / length_penalty(n + 1, 1.0) for n in range(21)]
    best = max(range(21), key=scores.__getitem__)
    [found] = beam_search(model, source, lengths, 0, beam=3, alpha=1.0, extra=20)
    assert best > 0
    assert found[0].tokens == [1] * best
    assert found[0].score == pytest.approx(scores[best])
    assert length_penalty(1, 0.6) == 1.0


def test_what_never_ends_is_cut_off_at_the_limit() -> None:
    model: Any = Fixed([0.0, 0.6, 0.4])
    source, lengths = torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 1])
    found = beam_search(model, source, lengths, 0, beam=2, extra=2)
    assert [len(each[0].tokens) for each in found] == [5, 3]
    assert not found[0][0].ended
    assert greedy(model, source, lengths, 0, extra=2) == [[1] * 5, [1] * 3]


def test_bad_requests_are_refused() -> None:
    model: Any = Fixed([0.5, 0.5])
    source, lengths = torch.zeros(1, 1, dtype=torch.int64), torch.tensor([1])
    with pytest.raises(ValueError, match="at least one hypothesis, not 0"):
        beam_search(model, source, lengths, 0, beam=0)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="logits are not finite"):
            beam_search(Fixed([0.5, bad]), source, lengths, 0)  # type: ignore[arg-type]
    with pytest.raises(Interrupted, match="decoding"):
        beam_search(model, source, lengths, 0, should_stop=lambda: True)
    with pytest.raises(Interrupted, match="decoding"):
        greedy(model, source, lengths, 0, should_stop=lambda: True)
