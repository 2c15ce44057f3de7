"""A model of any kind as its users see it: it scores texts and continues them. One door for all commands.

model = open_model(folder)
model.score(["A text."])          # tokens, nats and bytes of each text
model.generate("A text", 20)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypedDict, TypeVar, Unpack

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from lm.artifact import described, load_model, load_torch
from lm.evaluate.perplexity import Sequences, bits_per_byte
from lm.evaluate.recurrent import score_tokens
from lm.generate import Decoder, generate_text
from lm.generate_recurrent import generate_texts
from lm.models.modern import Modern
from lm.models.rnn import RNNLM
from lm.ngram.model import NgramModel, load_ngram
from lm.ngram.score import ngram_bits_per_byte
from lm.ngram.words import WordVocabulary
from lm.objectives.causal import token_nats
from lm.sampling import before_stop
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


class Sampling(TypedDict, total=False):
    """How tokens are drawn: temperature (by default 0.8), top_k (50), top_p (none), repetition_penalty (1: none) and
    the seed that decides (0). `stop`: the text ends before the first of these strings."""

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    seed: int
    stop: Sequence[str]


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


class GPTText(TorchText[Decoder]):
    """A GPT or the modern decoder. In a text beyond its context each token still sees at least half a context."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, spelling: Spelling) -> None:
        super().__init__(model, tokenizer, spelling)
        self.kind: str = model.config.kind

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        end = end_of_text_id(self.tokenizer)
        found = self.encode(texts)
        encoded = [each.ids for each in found]
        nats = np.array([each.spelling_nats.sum() for each in found])
        windows = [
            (owner, window, fresh)
            for owner, ids in enumerate(encoded)
            for window, fresh in _windows(np.concatenate([[end], ids]), self.model.config.context)
        ]
        windows.sort(key=lambda each: len(each[1]))  # together with others as long
        for start in range(0, len(windows), WINDOWS):
            check(should_stop, "scoring")
            batch = windows[start : start + WINDOWS]
            rows = np.full((len(batch), len(batch[-1][1])), end, dtype=np.int64)
            for row, (_, window, _) in zip(rows, batch, strict=True):
                row[: len(window)] = window  # what is behind it is not seen
            tokens = torch.from_numpy(rows).to(self.model.token_embedding.weight.device)
            with torch.no_grad():
                losses = token_nats(self.model(tokens[:, :-1]), tokens[:, 1:]).double().cpu().numpy()
            for row, (owner, window, fresh) in zip(losses, batch, strict=True):
                nats[owner] += row[len(window) - 1 - fresh : len(window) - 1].sum()
        return [
            Score(len(each.ids), float(sum_), int(each.bytes.sum()), float(each.spelling_nats.sum()))
            for each, sum_ in zip(found, nats, strict=True)
        ]

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return generate_text(self.model, self.tokenizer, prompt, max_new_tokens, **sampling)


class RNNText(TorchText[RNNLM]):
    """A recurrent model: each token is scored behind the whole text before it."""

    kind = "rnn"

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        end = end_of_text_id(self.tokenizer)
        scores = []
        for each in self.encode(texts):
            spelled, nats = float(each.spelling_nats.sum()), 0.0
            if len(each.ids):
                nats = float(score_tokens(self.model, [end, *each.ids], should_stop=should_stop).sum())
            scores.append(Score(len(each.ids), nats + spelled, int(each.bytes.sum()), spelled))
        return scores

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        [text] = generate_texts(self.model, self.tokenizer, [prompt], max_new_tokens, **sampling)
        return text


class NgramText:
    """An n-gram model of tokens or of words."""

    kind = "ngram"

    def __init__(self, model: NgramModel, spelling: Spelling) -> None:
        self.model = model
        names = model.names
        self.encode = None if isinstance(names, WordVocabulary) else TextEncoder(names, spelling)

    def score(self, texts: Sequence[str], should_stop: ShouldStop = never) -> list[Score]:
        if not self.model.is_distribution:
            raise ValueError(f"{self.model.smoothing} gives scores that do not sum to one: it has no bits per byte")
        found = self._encoded(texts)
        offsets = np.cumsum([0, *(len(each.ids) for each in found)])
        ids = np.concatenate([np.empty(0, dtype=np.int64), *(each.ids for each in found)])
        logs = self.model.log_probs(ids, offsets)
        return [
            Score(len(each.ids), float(spelled - logs[a:b].sum()), int(each.bytes.sum()), spelled)
            for each, a, b in zip(found, offsets[:-1], offsets[1:], strict=True)
            for spelled in [float(each.spelling_nats.sum())]
        ]

    def _encoded(self, texts: Sequence[str]) -> list[Encoded]:
        """Ids and what they stand for; words stand for no bytes."""
        if self.encode is not None:
            return self.encode(texts)
        words = [self.model.encode(text) for text in texts]
        return [Encoded(ids, np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids))) for ids in words]

    def bits_per_byte(
        self, sequences: Sequences, limit: int | None = None, should_stop: ShouldStop = never
    ) -> dict[str, float]:
        if isinstance(self.model.names, WordVocabulary):
            raise ValueError("a model of words gives bytes no probability: its <unk> may be anything")
        lengths = token_byte_lengths(self.model.names)
        return ngram_bits_per_byte(self.model, sequences, lengths, limit, should_stop=should_stop)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        drawn: dict[str, Any] = {"temperature": 0.8, "top_k": 50, **sampling}
        stop = drawn.pop("stop", ())
        if drawn.pop("repetition_penalty", 1) != 1:
            raise ValueError("an n-gram model draws from its counts: it takes no repetition penalty")
        new = self.model.sample(self.model.encode(prompt).tolist(), max_new_tokens, **drawn)
        return before_stop(self.model.decode(list(new)), stop)


def _open_gpt(folder: Path, device: str) -> GPTText:
    model, tokenizer = load_model(folder)
    return GPTText(model.to(device), tokenizer, Spelling.load(folder))


def _open_modern(folder: Path, device: str) -> GPTText:
    model, tokenizer = load_torch(folder, Modern)
    return GPTText(model.to(device), tokenizer, Spelling.load(folder))


def _open_rnn(folder: Path, device: str) -> RNNText:
    model, tokenizer = load_torch(folder, RNNLM)
    return RNNText(model.to(device), tokenizer, Spelling.load(folder))


def _open_ngram(folder: Path, device: str) -> NgramText:
    return NgramText(load_ngram(folder), Spelling.load(folder))


OPEN: dict[str, Callable[[Path, str], TextModel]] = {
    "gpt": _open_gpt,
    "modern": _open_modern,
    "rnn": _open_rnn,
    "ngram": _open_ngram,
}


def open_model(folder: Path, device: str = "cpu") -> TextModel:
    """The model of a folder of ours, or of a Hugging Face GPT-2 folder; what has no tensors stays on the CPU.

    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    kind = described(folder).get("kind", "gpt")
    if kind not in OPEN:
        raise ValueError(f"{folder}: a model of kind {kind!r} cannot score or continue text; {', '.join(OPEN)} can")
    return OPEN[kind](folder, device)


def _windows(ids: np.ndarray, context: int) -> Iterator[tuple[np.ndarray, int]]:
    """Windows of `context` + 1 ids, and how many targets at the end of each are scored there: every id but the first,
    once, behind as many as there are, or at least half a context."""
    stride = max(1, context // 2)
    done = 1
    while done < len(ids):
        end = min(len(ids), context + 1 if done == 1 else done + stride)
        yield ids[max(0, end - context - 1) : end], end - done
        done = end
