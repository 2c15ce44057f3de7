"""ln p(answer | prompt) for a model of any kind that defines a probability of text.

Prompt and answer are put together and cut into tokens as one text; the answer's tokens are those behind as many as the
prompt alone has. White space at the end of a prompt goes to the answer first: " word" is one token in byte-level BPE,
and a prompt that ends in a space asks for a word that never follows one. (So lm-evaluation-harness cuts them, too.)

Beginning: with `begin` (the default, as models are trained) the prompt is the beginning of a document and stands behind
`<|endoftext|>`; without, a prompt that is not empty stands for itself, its first token seen and never scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm.evaluate.prefix import Prefix
from lm.stop import ShouldStop, check, never
from lm.texts.base import TextModel
from lm.texts.decoder import DecoderText
from lm.tokenizer import end_of_text_id


@dataclass(frozen=True)
class Continuation:
    """What an answer costs behind its prompt: the sum of -ln p over its tokens (spelling of unknown words included),
    how many these are, and the answer's UTF-8 bytes, the space before it included."""

    nats: float
    tokens: int
    bytes: int


@dataclass(frozen=True)
class _Cut:
    prompt: np.ndarray
    answer: np.ndarray
    spelling: float
    bytes: int


class Continuations:
    """Scores answers; of a decoder it keeps what it has read (`lm.evaluate.prefix`), unless `cached` is false."""

    def __init__(self, model: TextModel, *, begin: bool = True, cached: bool = True) -> None:
        decoder = model if isinstance(model, DecoderText) else None
        if not begin and decoder is None:
            raise ValueError(f"a model of kind {model.kind!r} always begins with the beginning of a document")
        self.model, self.begin = model, begin
        self.prefix = Prefix(decoder.model) if decoder is not None and cached else None
        self._end = [] if decoder is None else [end_of_text_id(decoder.tokenizer)]
        self._alone: dict[tuple[str, str], Continuation] = {}

    def fits(self, prompt: str, answers: Sequence[str]) -> bool:
        """Whether the model can look at the prompt and the longest of the answers at once."""
        if self.model.context is None:
            return True
        return all(len(self._whole(cut)) - 1 <= self.model.context for cut in self._cut(prompt, answers))

    def score(self, prompt: str, answers: Sequence[str], should_stop: ShouldStop = never) -> list[Continuation]:
        """What each answer costs behind the prompt. A prompt too long for the context is seen from its end.

        Raises ValueError for an answer without a token.
        """
        check(should_stop, "scoring answers")
        cuts = self._cut(prompt, answers)
        if empty := [answer for answer, cut in zip(answers, cuts, strict=True) if not len(cut.answer)]:
            raise ValueError(f"the answer {empty[0]!r} has no token behind the prompt {prompt[-40:]!r}")
        nats = self._cached(cuts) if self.prefix is not None else self._plain(cuts, should_stop)
        return [
            Continuation(float(each.sum()) + cut.spelling, len(cut.answer), cut.bytes)
            for cut, each in zip(cuts, nats, strict=True)
        ]

    def alone(self, prompt: str, answers: Sequence[str]) -> list[Continuation]:
        """As `score`, for a prompt that comes again and again: what was scored is remembered."""
        if new := [answer for answer in dict.fromkeys(answers) if (prompt, answer) not in self._alone]:
            for answer, found in zip(new, self.score(prompt, new), strict=True):
                self._alone[prompt, answer] = found
        return [self._alone[prompt, answer] for answer in answers]

    def _cut(self, prompt: str, answers: Sequence[str]) -> list[_Cut]:
        bare = prompt.rstrip()
        behind = prompt[len(bare) :]
        alone, *wholes = self.model.encode([bare, *(prompt + answer for answer in answers)])
        length = len(alone.ids)
        return [
            _Cut(
                whole.ids[:length],
                whole.ids[length:],
                float(whole.spelling_nats[length:].sum()),
                len((behind + answer).encode()),
            )
            for whole, answer in zip(wholes, answers, strict=True)
        ]

    def _whole(self, cut: _Cut) -> np.ndarray:
        """All that the model reads, and the last token, which it does not."""
        begin = self._end if self.begin or not len(cut.prompt) else []
        return np.concatenate([np.array(begin, dtype=np.int64), cut.prompt, cut.answer])

    def _cached(self, cuts: Sequence[_Cut]) -> list[np.ndarray]:
        """Answers whose prompt was cut alike are read together."""
        assert self.prefix is not None
        room = self.prefix.context
        found: list[np.ndarray] = []
        groups: dict[bytes, list[int]] = {}
        prompts = []
        longest = max(len(cut.answer) for cut in cuts)
        if longest > room:
            raise ValueError(f"an answer of {longest} tokens does not fit the context of {room}")
        for number, cut in enumerate(cuts):
            whole = self._whole(cut)
            prompt = whole[: len(whole) - len(cut.answer)][-(room + 1 - longest) :]
            prompts.append(prompt)
            groups.setdefault(prompt.tobytes(), []).append(number)
            found.append(np.empty(0))
        for numbers in groups.values():
            scored = self.prefix.nats(prompts[numbers[0]], [cuts[number].answer for number in numbers])
            for number, nats in zip(numbers, scored, strict=True):
                found[number] = nats
        return found

    def _plain(self, cuts: Sequence[_Cut], should_stop: ShouldStop) -> list[np.ndarray]:
        """Each prompt and answer read as a whole, by any model."""
        if not self.begin:
            raise ValueError("without a beginning only answers behind a kept prompt are scored")
        scored = self.model.token_nats([np.concatenate([cut.prompt, cut.answer]) for cut in cuts], should_stop)
        return [nats[len(nats) - len(cut.answer) :] for cut, nats in zip(cuts, scored, strict=True)]
