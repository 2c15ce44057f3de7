"""`textmill neighbours` and `textmill embed`: words beside a word, and texts as vectors."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_quality.shards import whole_file
from flows.commands.score import texts_of
from flows.config.loading import ConfigError
from tasks.storage.disk import room_on_disk
from tasks.storage.files import read_json

if TYPE_CHECKING:
    from lm.vectors.neighbours import WordVectors

LINES_AT_ONCE = 256


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
    """A vector for each line of a text file, or for the whole file; zeros for a blank line, so that row n is line n.

    Args:
        out: write the vectors to this `.npy` file (float32 [texts, dimensions]) and leave them out of what is returned.
        layer: of ELMo, which layer's; None: the mean of all.

    Returns model, kind, dimensions, texts, unknown (texts of words of which none is known: zeros), and `lines`: line
    (its number), words, known and vector of each.

    Raises:
        ConfigError: a model that embeds nothing, no such layer or file, text that is not UTF-8, or none.
    """
    import numpy as np

    from lm.embedding import open_embedder

    try:
        embed = open_embedder(folder, layer=layer)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error
    lines: list[dict[str, Any]] = []
    try:
        texts: Iterator[tuple[int, str]] = texts_of(path, whole, blank=True)
        while batch := list(islice(texts, LINES_AT_ONCE)):
            lines += [{"line": number, "words": 0, "known": 0, "vector": []} for number, _ in batch]
            filled = [(line, text) for line, (_, text) in zip(lines[-len(batch) :], batch, strict=True) if text]
            found = embed([text for _, text in filled]) if filled else ((), (), ())
            for (line, _), vector, words, known in zip(filled, *found, strict=True):
                line |= {"words": words, "known": known, "vector": vector.tolist()}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ConfigError:
        raise
    except ValueError as error:  # of the model
        raise ConfigError(f"{path}: {error}") from error
    dimensions = max((len(line["vector"]) for line in lines), default=0)
    if not dimensions:
        raise ConfigError(f"{path}: there is no text to embed")
    for line in lines:
        line["vector"] = line["vector"] or [0.0] * dimensions
    if out is not None:
        file = out if out.suffix == ".npy" else out.with_name(f"{out.name}.npy")  # as np.save names it
        with room_on_disk("embed", file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as draft, draft.open("wb") as handle:
                np.save(handle, np.array([line.pop("vector") for line in lines], dtype=np.float32), allow_pickle=False)
    return {
        "model": str(folder),
        "kind": model_kind(folder),
        "dimensions": dimensions,
        "texts": len(lines),
        "unknown": sum(line["words"] > 0 and not line["known"] for line in lines),
        "lines": lines,
    }


def open_vectors(folder: Path) -> "WordVectors":
    """The word vectors of a model folder. Raises ConfigError if it has none."""
    from lm.vectors.artifact import load_vectors

    try:
        return load_vectors(folder)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error


def model_kind(folder: Path) -> str:
    """What config.json says; a folder of Hugging Face has no kind and is a GPT. Raises ConfigError if there is none."""
    path = folder / "config.json"
    if not path.exists():
        raise ConfigError(f"{path}: no model there")
    return str(read_json(path).get("kind", "gpt"))
