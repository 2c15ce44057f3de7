"""A stored n-gram model: probabilities of texts in batch, distributions, samples, gaps filled."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

from lm.damaged import AGAIN, DamagedFile, read_object, validated
from lm.ngram.arrays import CONFIG_FILE, Arrays
from lm.ngram.build import KIND
from lm.ngram.query import find_child, score
from lm.ngram.words import WordVocabulary
from lm.order import draw_seed
from lm.stop import ShouldStop, check, never
from lm.tokenizer import encode_documents, load_tokenizer

CLOZE_CANDIDATES = 1 << 16


def load_ngram(folder: Path) -> "NgramModel":
    """The model of a folder, memory-mapped. Raises FileNotFoundError or ValueError saying what is missing."""
    path = folder / CONFIG_FILE
    if not path.exists():
        raise FileNotFoundError(f"{path}: no model there")
    described = read_object(path)
    if described.get("kind") != KIND:
        raise ValueError(f"{path}: not a {KIND!r} model: {described.get('kind')!r}")
    if len(validated(_Described, described, path).ngrams) != described["order"]:
        raise DamagedFile(f"{path}: order is not that of its n-grams: {AGAIN}")
    names = WordVocabulary.load(folder) if described["unit"] == "word" else load_tokenizer(folder, kept=True)
    size = len(names) if isinstance(names, WordVocabulary) else names.get_vocab_size()
    if size != described["vocab"]:
        raise ValueError(f"{folder}: {size} words or tokens beside a model of {described['vocab']}: build it again")
    arrays = Arrays.open(folder)
    if sum(described["ngrams"]) != len(arrays.words):
        raise ValueError(f"{folder}: {len(arrays.words)} n-grams, config.json says {sum(described['ngrams'])}")
    if described["boundary"] >= size or len(arrays.backoffs) < (size if described["order"] > 1 else 0):
        raise DamagedFile(f"{path}: an end of sequence outside of {size} words or tokens: {AGAIN}")
    arrays.check(size, folder)
    return NgramModel(described, arrays, names)


class _Described(BaseModel):
    """What `config.json` must say; what it says more is shown, not used."""

    order: int = Field(ge=1, strict=True)
    vocab: int = Field(ge=1, strict=True)
    boundary: int = Field(ge=0, strict=True)
    ngrams: tuple[Annotated[int, Field(ge=0, strict=True)], ...]
    unit: Literal["word", "token"]
    smoothing: str
    backoff: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)


class NgramModel:
    """An n-gram model over ids 0 .. vocab - 1, of which `boundary` is `<s>` as a context and `</s>` as a prediction.

    `described`: what `config.json` says. `names`: a tokenizer, or the vocabulary of a model of words.
    """

    def __init__(self, described: dict[str, Any], arrays: Arrays, names: Tokenizer | WordVocabulary) -> None:
        self.described, self.arrays, self.names = described, arrays, names
        self.order: int = described["order"]
        self.vocab: int = described["vocab"]
        self.boundary: int = described["boundary"]
        self.smoothing: str = described["smoothing"]
        self._arrays = (arrays.words, arrays.probs, arrays.links, arrays.backoffs, arrays.children)
        self._unseen = described["backoff"] if self.smoothing == "stupid_backoff" else 1.0
        self._uniform = 1.0 / self.vocab if self.smoothing == "add_k" else 0.0

    @property
    def is_distribution(self) -> bool:
        """Whether probabilities sum to one; stupid back-off gives scores that do not."""
        return self.smoothing != "stupid_backoff"

    def parameter_count(self) -> int:
        """Stored probabilities and back-off weights."""
        return len(self.arrays.probs) + len(self.arrays.backoffs)

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text (a line, for a model of words), without boundaries; int64."""
        if isinstance(self.names, WordVocabulary):
            return self.names.encode(text).astype(np.int64)
        return encode_documents(self.names, [text])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; `<unk>` is shown."""
        if isinstance(self.names, WordVocabulary):
            return " ".join(self.names.words[id] for id in ids)
        return str(self.names.decode(list(ids), skip_special_tokens=False))

    def probs(self, ids: np.ndarray, offsets: np.ndarray, *, at_start: bool = True) -> np.ndarray:
        """p of each id given those before it in its sequence, float64 [ids].

        Args:
            ids: int [total], sequences in a row. A boundary within one is scored as its end, and as the beginning of
                what follows; put it behind each to pay for the ends.
            offsets: int [sequences + 1], where each begins, and the end of the last.
            at_start: the sequences are whole, with a boundary before each; else nothing is known before the first id.

        Raises ValueError for an id outside the vocabulary or offsets that do not fit.
        """
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        offsets = np.ascontiguousarray(offsets, dtype=np.int64)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocab:
            raise ValueError(f"ids must be 0 to {self.vocab - 1}, these are {ids.min()} to {ids.max()}")
        if len(offsets) < 1 or offsets[0] < 0 or offsets[-1] > len(ids) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {len(ids)}, the number of ids")
        p = np.zeros(len(ids), dtype=np.float64)
        score(ids, offsets, self._arrays, self.boundary, self.order, at_start, self._unseen, self._uniform, p)
        return p

    def log_probs(self, ids: np.ndarray, offsets: np.ndarray, *, at_start: bool = True) -> np.ndarray:
        """ln p of each id, float64 [ids]: -inf where a model without smoothing has never seen it. See `probs`."""
        with np.errstate(divide="ignore"):
            return np.log(self.probs(ids, offsets, at_start=at_start))

    def sequence_log_prob(self, ids: Sequence[int] | np.ndarray) -> float:
        """ln p of a whole sequence, its end included."""
        whole = np.concatenate([np.asarray(ids, dtype=np.int64), [self.boundary]])
        return float(self.log_probs(whole, np.array([0, len(whole)])).sum())

    def log_prob(self, history: Sequence[int], token: int) -> float:
        """ln p(token | history). A history that is the beginning of a sequence starts with the boundary."""
        ids = np.array([*history, token], dtype=np.int64)
        return float(self.log_probs(ids, np.array([0, len(ids)]), at_start=False)[-1])

    def distribution(self, history: Sequence[int]) -> np.ndarray:
        """p(v | history) of every v, float64 [vocab]; see `log_prob`.

        Stupid back-off: its scores, divided by their sum.
        """
        a = self.arrays
        context = self._context(history)
        p = a.probs[: self.vocab].astype(np.float64)
        if self._uniform and context:
            p[:] = self._uniform
        for length in range(1, len(context) + 1):
            if self._uniform and length < len(context):
                continue
            node = self.node(context[-length:])
            if node is None:
                p *= self._unseen
                continue
            begin, end = int(a.children[node]), int(a.children[node + 1])
            p *= a.backoffs[node]
            p[a.words[begin:end]] = a.probs[begin:end]
        return p if self.is_distribution else p / p.sum()

    def sample(
        self,
        prompt: Sequence[int] = (),
        max_new_tokens: int = 64,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        should_stop: ShouldStop = never,
    ) -> Iterator[int]:
        """Yield ids that continue `prompt` as the beginning of a sequence, up to its end or `max_new_tokens`.

        The draws depend on `seed` alone.
        """
        import torch

        from lm.sampling import next_token_probabilities

        uniforms = np.random.Generator(np.random.Philox(draw_seed(seed, "sample")))
        history = [self.boundary, *prompt]
        for _ in range(max_new_tokens):
            check(should_stop, "generating")
            logits = torch.from_numpy(self.distribution(history)).log()
            p = next_token_probabilities(logits, temperature, top_k, top_p).double().numpy()
            token = min(int(np.searchsorted(np.cumsum(p), uniforms.random() * p.sum(), side="right")), self.vocab - 1)
            if token == self.boundary:
                return
            yield token
            history.append(token)

    def cloze(self, left: Sequence[int], right: Sequence[int], top: int = 10) -> list[tuple[int, float]]:
        """Fill the gap: the `top` ids w by p(w | left, right), most probable first, ties by id.

        p(left w right) over its sum for all w of the vocabulary but the boundary: w is judged by what it does to the
        order - 1 tokens behind it too. `left` starts with the boundary where the sequence does, `right` ends with it
        where it does. Raises ValueError if no w is possible.
        """
        reach = self.order - 1
        left = list(left)[max(0, len(left) - reach) :]
        right = list(right)[:reach]
        width = len(left) + 1 + len(right)
        scores = np.empty(self.vocab)
        for begin in range(0, self.vocab, CLOZE_CANDIDATES):
            candidates = np.arange(begin, min(begin + CLOZE_CANDIDATES, self.vocab))
            rows = np.empty((len(candidates), width), dtype=np.int64)
            rows[:, : len(left)] = left
            rows[:, len(left)] = candidates
            rows[:, len(left) + 1 :] = right
            logs = self.log_probs(rows.reshape(-1), np.arange(0, rows.size + 1, width), at_start=False)
            scores[candidates] = logs.reshape(rows.shape)[:, len(left) :].sum(axis=1)
        scores[self.boundary] = -np.inf
        if not np.isfinite(scores.max()):
            raise ValueError("nothing fits into this gap: a model without smoothing has seen none of its n-grams")
        p = np.exp(scores - scores.max())
        p /= p.sum()
        order = np.lexsort((np.arange(self.vocab), -p))[:top]
        return [(int(w), float(p[w])) for w in order]

    def _context(self, history: Sequence[int]) -> list[int]:
        """What of a history is looked at: from its last boundary on, order - 1 ids at most."""
        context = list(history)[max(0, len(history) - self.order + 1) :] if self.order > 1 else []
        edges = [i for i, id in enumerate(context) if id == self.boundary]
        return context[edges[-1] :] if edges else context

    def node(self, ngram: Sequence[int]) -> int | None:
        """Where an n-gram stands in the arrays; None if the model has it not."""
        node = int(ngram[0])
        for word in ngram[1:]:
            node = int(find_child(self.arrays.words, self.arrays.children, node, word))
            if node < 0:
                return None
        return node
