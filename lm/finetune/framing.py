"""How one or two texts become one sequence: the tokens before, between and behind them.

Decoders (GPT-1: Radford et al. 2018, section 3.3): start A extract, or start A delimiter B extract. The three
(`_start_`, `_delimiter_`, `_classify_` in openai/finetune-transformer-lm `train.py`; <s>, $ and <e> in the paper) are
no part of the tokenizer: they are ids after the model's vocabulary, rows appended to its embedding.

Encoders (BERT: Devlin et al. 2019, section 4): [CLS] A [SEP], or [CLS] A [SEP] B [SEP], the second half in segment 1.
RoBERTa has no segments, and two of its separators between the texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm.config import StrictModel
from lm.finetune.kinds import kind_of
from lm.models.bert_config import BertConfig
from lm.padding import padded
from lm.special_tokens import special_tokens

NEW_TOKENS = ("<s>", "<e>", "<$>")
"""Start, extract, delimiter: the ids after the vocabulary; the last only where there are two texts."""


class Row(NamedTuple):
    """One sequence."""

    tokens: np.ndarray  # int64 [length]
    second: int  # where the second text begins; with one text the length
    last: int  # how many tokens of the second text there are


@dataclass(frozen=True)
class Framing:
    """Which tokens stand where. `at_first`: a head of the whole reads the first token, [CLS]; else the last."""

    begin: int
    between: tuple[int, ...]
    end: int
    pad: int
    segments: bool
    at_first: bool

    def around(self, texts: int) -> int:
        """How many tokens are no text."""
        return 2 + (len(self.between) if texts == 2 else 0)

    @property
    def before(self) -> int:
        """How many of them stand before the first text."""
        return 1

    def single(self, text: Sequence[int] | np.ndarray, limit: int) -> Row:
        """At most `limit` tokens; of the text the first ones stay."""
        kept = text[: max(0, limit - self.around(1))]
        tokens = np.array([self.begin, *kept, self.end], np.int64)
        return Row(tokens, len(tokens), 0)

    def pair(self, first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray, limit: int) -> Row:
        """At most `limit` tokens; while there are more, the longer text loses its last one, of equals the second
        (google-research/bert `run_classifier.py`, `_truncate_seq_pair`)."""
        first, second = truncated(first, second, max(0, limit - self.around(2)))
        tokens = np.array([self.begin, *first, *self.between, *second, self.end], np.int64)
        return Row(tokens, 1 + len(first) + len(self.between), len(second))

    def batch(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """`tokens` int64 [rows, time], padded on the right, `lengths` int64 [rows] and, where the model has any and
        there are two texts, `segments` int64 [rows, time]."""
        found = {
            "tokens": padded([row.tokens for row in rows], self.pad),
            "lengths": np.array([len(row.tokens) for row in rows], np.int64),
        }
        if self.segments and any(row.second < len(row.tokens) for row in rows):
            segments = np.zeros_like(found["tokens"])
            for line, row in zip(segments, rows, strict=True):
                line[row.second : len(row.tokens)] = 1
            found["segments"] = segments
        return {name: torch.from_numpy(array) for name, array in found.items()}


class WordFraming(Framing):
    """Nothing but the text's own words: two texts are two sequences."""

    def __init__(self) -> None:
        super().__init__(0, (), 0, 0, segments=False, at_first=False)

    def around(self, texts: int) -> int:
        return 0

    @property
    def before(self) -> int:
        return 0

    def single(self, text: Sequence[int] | np.ndarray, limit: int) -> Row:
        """At most `limit` words, the first ones."""
        tokens = np.array(text[:limit], np.int64)
        return Row(tokens, len(tokens), 0)


def truncated(
    first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray, room: int
) -> tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]:
    """Both texts, cut at their ends so that together they have at most `room` tokens, the longer one first."""
    over = len(first) + len(second) - room
    if over <= 0:
        return first, second
    a, b = len(first), len(second)
    lead = min(over, abs(a - b))  # only the longer one loses these
    a, b = (a - lead, b) if a > b else (a, b - lead)
    rest = over - lead
    return first[: a - rest // 2], second[: b - (rest - rest // 2)]


def new_tokens(settings: StrictModel, texts: int) -> int:
    """How many tokens a model of that kind needs besides its own, for so many texts in one sequence."""
    kind = kind_of(settings)
    return 0 if kind.encoder or kind.features else len(NEW_TOKENS) - (texts == 1)


def framing_of(settings: StrictModel, tokenizer: Any, vocab: int) -> Framing:
    """The framing of a backbone with these settings, whose vocabulary had `vocab` tokens before new ones came."""
    if kind_of(settings).features:
        return WordFraming()
    if not kind_of(settings).encoder:
        return Framing(vocab, (vocab + 2,), vocab + 1, 0, segments=settings.kind == "xlnet", at_first=False)  # type: ignore[attr-defined]
    assert isinstance(settings, BertConfig)
    special = special_tokens(tokenizer)
    twice = 2 if settings.position_offset else 1  # RoBERTa
    return Framing(
        special.cls, (special.sep,) * twice, special.sep, special.pad, segments=settings.segments > 1, at_first=True
    )
