"""`textmill neighbours` and `textmill embed`: words beside a word, and texts as vectors."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.loading import ConfigError
from flows.score import texts_of
from tasks.files import read_json

if TYPE_CHECKING:
    from lm.vectors.neighbours import WordVectors

LINES_AT_ONCE = 256
Embed = Callable[[Sequence[str]], list[dict[str, Any]]]
"""Texts to rows: vector (a list of numbers), words (of the text; where there are none, tokens), known (of them, those
with a vector)."""


def neighbours(folder: Path, word: str, count: int) -> dict[str, Any]:
    """The `count` words nearest to a word. Returns model, kind, word and `neighbours`: word and cosine of each.

    Raises:
        ConfigError: no model with word vectors, or no such word.
    """
    vectors = open_vectors(folder)
    try:
        found = vectors.neighbours(word, count)
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from error
    rows = [{"word": name, "cosine": round(cosine, 6)} for name, cosine in found]
    return {"model": str(folder), "kind": vectors.described["kind"], "word": word, "neighbours": rows}


def embed_file(folder: Path, path: Path, whole: bool, out: Path | None, layer: int | None = None) -> dict[str, Any]:
    """A vector for each line of a text file that is not blank, or for the whole file.

    Args:
        out: write the vectors to this `.npy` file (float32 [texts, dimensions]) and leave them out of what is returned.
        layer: of ELMo, which layer's; None: the mean of all.

    Returns model, kind, dimensions, texts, unknown (texts of no known word: zeros), and `lines`: line (its number),
    words, known and vector of each.

    Raises:
        ConfigError: a model that embeds nothing, no such layer or file, text that is not UTF-8, or none.
    """
    import numpy as np

    kind, embed = open_embedder(folder, layer)
    lines: list[dict[str, Any]] = []
    try:
        texts: Iterator[tuple[int, str]] = texts_of(path, whole)
        while batch := list(islice(texts, LINES_AT_ONCE)):
            found = embed([text for _, text in batch])
            lines += [{"line": number, **row} for (number, _), row in zip(batch, found, strict=True)]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ConfigError:
        raise
    except ValueError as error:  # of the model
        raise ConfigError(f"{path}: {error}") from error
    if not lines:
        raise ConfigError(f"{path}: there is no text to embed")
    dimensions = len(lines[0]["vector"])
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, np.array([line.pop("vector") for line in lines], dtype=np.float32), allow_pickle=False)
    return {
        "model": str(folder),
        "kind": kind,
        "dimensions": dimensions,
        "texts": len(lines),
        "unknown": sum(not line["known"] for line in lines),
        "lines": lines,
    }


def open_vectors(folder: Path) -> "WordVectors":
    """The word vectors of a model folder. Raises ConfigError if it has none."""
    from lm.vectors.artifact import load_vectors

    try:
        return load_vectors(folder)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error


def _static(folder: Path, layer: int | None) -> Embed:
    vectors = open_vectors(folder)

    def embed(texts: Sequence[str]) -> list[dict[str, Any]]:
        found = [vectors.embed(text) for text in texts]
        return [{"words": each.words, "known": each.known, "vector": each.vector.tolist()} for each in found]

    return embed


def _elmo(folder: Path, layer: int | None) -> Embed:
    from lm.text_model import open_model
    from lm.texts.elmo import ELMoText

    model = open_model(folder)
    assert isinstance(model, ELMoText)

    def embed(texts: Sequence[str]) -> list[dict[str, Any]]:
        vectors, counts = model.embed_texts(texts, layer)
        return [{"words": n, "known": n, "vector": row.tolist()} for n, row in zip(counts, vectors, strict=True)]

    return embed


def _contextual(folder: Path, layer: int | None) -> Embed:
    from lm.text_model import open_model
    from lm.texts.bert import BertText
    from lm.texts.decoder import DecoderText
    from lm.tokenizer import encode_documents

    model = open_model(folder)
    assert isinstance(model, BertText | DecoderText)

    def embed(texts: Sequence[str]) -> list[dict[str, Any]]:
        read = [len(ids) for ids in encode_documents(model.tokenizer, list(texts))]
        vectors = model.embed(texts)
        return [{"words": n, "known": n, "vector": row.tolist()} for n, row in zip(read, vectors, strict=True)]

    return embed


EMBED: dict[str, Callable[[Path, int | None], Embed]] = {
    "word2vec": _static,
    "glove": _static,
    "elmo": _elmo,
    "bert": _contextual,
    "gpt": _contextual,
    "modern": _contextual,
}
"""What makes vectors of texts, by the kind of the model."""


def open_embedder(folder: Path, layer: int | None = None) -> tuple[str, Embed]:
    """The kind of a model folder, and what embeds with it. Raises ConfigError if nothing does, or not by layers."""
    kind = model_kind(folder)
    if kind not in EMBED:
        raise ConfigError(f"{folder}: a model of kind {kind!r} gives texts no vectors; {', '.join(EMBED)} do")
    if layer is not None and kind != "elmo":
        raise ConfigError(f"{folder}: a model of kind {kind!r} has one vector of a text: leave out --layer, for elmo")
    return kind, EMBED[kind](folder, layer)


def model_kind(folder: Path) -> str:
    """What config.json says; a folder of Hugging Face has no kind and is a GPT. Raises ConfigError if there is none."""
    path = folder / "config.json"
    if not path.exists():
        raise ConfigError(f"{path}: no model there")
    return str(read_json(path).get("kind", "gpt"))
