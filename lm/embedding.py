"""Texts as vectors, by any model that has some: one door for commands and exams.

| kind | the vector of a text is the mean of |
|---|---|
| word2vec, glove, nnlm | the vectors of its words; nnlm: rows of C |
| rnn, transformer_xl | the last layer's states, each of which has read what stands before it |
| gpt, modern | the same, within the context |
| bert, xlnet | the last layer's states, each of which has read the whole text, within the context |
| elmo | the mean of all layers, or one of them, over its words |
| seq2seq | CoVe: the source's word vectors beside the bidirectional encoder's states (McCann et al. 2017) |
| transformer | the encoder's states |
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lm.abilities import cannot
from lm.artifact import described
from lm.models.cove import CoVe, cove_vectors
from lm.models.seq2seq import Seq2Seq
from lm.padding import padded
from lm.stop import ShouldStop, check, never
from lm.text_model import open_model
from lm.texts.bert import BertText
from lm.texts.decoder import DecoderText
from lm.texts.elmo import ELMoText
from lm.texts.stateful import StatefulText
from lm.texts.xlnet import XLNetText
from lm.tokenizer import encode_documents
from lm.translator import Translator, load_translator
from lm.vectors.artifact import load_vectors

BATCH = 32  # sources that are read together


class Embedded(NamedTuple):
    """vectors: float32 [texts, width], zeros for a text without a known word. words: of each text; where a model knows
    none, tokens. known: of these, how many have a vector."""

    vectors: np.ndarray
    words: list[int]
    known: list[int]


Embed = Callable[[Sequence[str]], Embedded]


def open_embedder(
    folder: Path, device: str = "cpu", layer: int | None = None, should_stop: ShouldStop = never
) -> Embed:
    """What embeds texts with the model of a folder. `layer`: of ELMo, which; None: the mean of all.

    Raises FileNotFoundError or ValueError for a model that is not there, is damaged, or gives texts no vectors.
    """
    kind = str(described(folder).get("kind", "gpt"))
    if kind not in OPEN:
        raise ValueError(f"{folder}: {cannot(kind, 'embed')}")
    if layer is not None and kind != "elmo":
        raise ValueError(f"{folder}: a model of kind {kind!r} has one vector of a text: leave out --layer, for elmo")
    return OPEN[kind](folder, device, layer, should_stop)


def _static(folder: Path, device: str, layer: int | None, should_stop: ShouldStop) -> Embed:
    vectors = load_vectors(folder)

    def embed(texts: Sequence[str]) -> Embedded:
        found = [vectors.embed(text) for text in texts]
        return Embedded(
            np.stack([each.vector for each in found]), [each.words for each in found], [each.known for each in found]
        )

    return embed


def _elmo(folder: Path, device: str, layer: int | None, should_stop: ShouldStop) -> Embed:
    model = open_model(folder, device)
    assert isinstance(model, ELMoText)

    def embed(texts: Sequence[str]) -> Embedded:
        vectors, words = model.embed_texts(texts, layer, should_stop)
        return Embedded(vectors, words, words)

    return embed


def _contextual(folder: Path, device: str, layer: int | None, should_stop: ShouldStop) -> Embed:
    model = open_model(folder, device)
    assert isinstance(model, BertText | DecoderText | StatefulText | XLNetText)

    def embed(texts: Sequence[str]) -> Embedded:
        tokens = [len(ids) for ids in encode_documents(model.tokenizer, list(texts))]
        return Embedded(model.embed(texts, should_stop), tokens, tokens)

    return embed


def _translator(folder: Path, device: str, layer: int | None, should_stop: ShouldStop) -> Embed:
    translator = load_translator(folder, device)
    try:
        cove = CoVe(translator.model) if isinstance(translator.model, Seq2Seq) else None
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error

    def embed(texts: Sequence[str]) -> Embedded:
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), BATCH):
            check(should_stop, "embedding")
            part = texts[start : start + BATCH]
            rows += _encoded(translator, part) if cove is None else cove_vectors(translator, part, cove)
        tokens = [len(row) for row in rows]
        means = [row.mean(0, dtype=np.float64) if len(row) else np.zeros(row.shape[1]) for row in rows]
        return Embedded(np.stack(means).astype(np.float32), tokens, tokens)

    return embed


@torch.no_grad()
def _encoded(translator: Translator, texts: Sequence[str]) -> list[np.ndarray]:
    """The encoder's states of the tokens of each text, its end left out, fp32 [tokens, width]."""
    rows = translator.sources(texts)
    tokens, lengths = torch.from_numpy(padded(rows, translator.source_end)), torch.tensor([len(row) for row in rows])
    model = translator.model
    assert not isinstance(model, Seq2Seq)
    device = model.target_embedding.weight.device
    states = model.encode(tokens.to(device), lengths.to(device)).float().cpu().numpy()
    return [row[: length - 1] for row, length in zip(states, lengths.tolist(), strict=True)]


OPEN: dict[str, Callable[[Path, str, int | None, ShouldStop], Embed]] = {
    "word2vec": _static,
    "glove": _static,
    "nnlm": _static,
    "elmo": _elmo,
    "bert": _contextual,
    "xlnet": _contextual,
    "gpt": _contextual,
    "modern": _contextual,
    "rnn": _contextual,
    "transformer_xl": _contextual,
    "seq2seq": _translator,
    "transformer": _translator,
}
