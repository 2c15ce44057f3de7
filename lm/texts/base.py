"""What users see of any model: it scores texts and continues them; what the kinds share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, Unpack

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from lm.evaluate.perplexity import Sequences, bits_per_byte
from lm.objectives.causal import token_nats
from lm.sampling import Sampling
from lm.stop import ShouldStop, check, never
from lm.tokenizer import TextEncoder, end_of_text_id, token_byte_lengths
from lm.tokenizers.spans import Encoded
from lm.tokenizers.spelling import Spelling

WINDOWS = 16  # that go through a neural model together


@dataclass(frozen=True)
class Score:
    """What a model says of one text: its tokens, the sum of their -ln p, and the UTF-8 bytes that these stand for.

    The text is scored as the beginning of a document; what ends it is not scored. 0 bytes: the model gives bytes no
    probability (a model of words, whose `<unk>` may be anything).
    """

    tokens: int
    nats: float
    bytes: int
    spelling_nats: float = 0.0  # of the nats, what spelling unknown words costs


def score_of(text: Encoded, nats: float) -> Score:
    """The score of a text whose tokens cost `nats`, what spelling unknown words costs not included."""
    spelled = float(text.spelling_nats.sum())
    return Score(len(text.ids), nats + spelled, int(text.bytes.sum()), spelled)


class TextModel(Protocol):
    """What every kind that defines a probability of text can do."""

    kind: str

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        """The score of each text."""
        ...

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> dict[str, float]:
        """The figures of `lm.evaluate.perplexity.bits_per_byte` for token sequences of the model's own tokenizer."""
        ...

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        """A continuation of `prompt` as the beginning of a document, without it; the draw depends on `seed` alone."""
        ...


Model = TypeVar("Model", bound=nn.Module)


class TorchText(Generic[Model]):
    """What the models that are torch modules share."""

    def __init__(self, model: Model, tokenizer: Tokenizer, spelling: Spelling) -> None:
        self.model: Model = model
        self.tokenizer, self.encode = tokenizer, TextEncoder(tokenizer, spelling)

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> dict[str, float]:
        lengths = token_byte_lengths(self.tokenizer)
        return bits_per_byte(self.model, sequences, lengths, limit, should_stop=should_stop)


def score_windows(
    scored: TorchText[Model], context: int, texts: Sequence[str], should_stop: ShouldStop = never
) -> list[Score]:
    """The score of each text by a causal model that sees `context` tokens: behind at least half of them, where the text
    has as many."""
    end = end_of_text_id(scored.tokenizer)
    found = scored.encode(texts)
    encoded = [each.ids for each in found]
    nats = np.zeros(len(found))
    windows = [
        (owner, window, fresh)
        for owner, ids in enumerate(encoded)
        for window, fresh in _windows(np.concatenate([[end], ids]), context)
    ]
    windows.sort(key=lambda each: len(each[1]))  # together with others as long
    for start in range(0, len(windows), WINDOWS):
        check(should_stop, "scoring")
        batch = windows[start : start + WINDOWS]
        rows = np.full((len(batch), len(batch[-1][1])), end, dtype=np.int64)
        for row, (_, window, _) in zip(rows, batch, strict=True):
            row[: len(window)] = window  # what is behind it is not seen
        tokens = torch.from_numpy(rows).to(next(scored.model.parameters()).device)
        with torch.no_grad():
            losses = token_nats(scored.model(tokens[:, :-1]), tokens[:, 1:]).double().cpu().numpy()
        for row, (owner, window, fresh) in zip(losses, batch, strict=True):
            nats[owner] += row[len(window) - 1 - fresh : len(window) - 1].sum()
    return [score_of(each, float(sum_)) for each, sum_ in zip(found, nats, strict=True)]


def _windows(ids: np.ndarray, context: int) -> Iterator[tuple[np.ndarray, int]]:
    """Windows of `context` + 1 ids, and how many targets at the end of each are scored there: every id but the first,
    once, behind as many as there are, or at least half a context."""
    stride = max(1, context // 2)
    done = 1
    while done < len(ids):
        end = min(len(ids), context + 1 if done == 1 else done + stride)
        yield ids[max(0, end - context - 1) : end], end - done
        done = end
