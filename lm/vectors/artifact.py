"""Folders of word vectors: `vectors.safetensors`, `words.json`, `config.json` (with "kind"), and the tokenizer.

The network of Bengio et al. has vectors of words, too: the rows of its C are read like any others.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from lm.abilities import able, cannot
from lm.damaged import AGAIN, DamagedFile, read_object
from lm.tokenizer import copy_tokenizer, load_tokenizer
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import Vocabulary, token_names
from lm.weights import arrays_of

VECTORS_FILE = "vectors.safetensors"
VECTORS = "vectors"


def save_vectors(
    vocabulary: Vocabulary,
    arrays: dict[str, np.ndarray],
    described: dict[str, Any],
    tokenizer_dir: Path | None,
    folder: Path,
) -> None:
    """Write a folder: `arrays` with "vectors" among them, and what `config.json` shall say, "kind" included.

    tokenizer_dir: of a model of tokens; it comes along.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{VECTORS_FILE}.tmp"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
    os.replace(partial, folder / VECTORS_FILE)
    vocabulary.save(folder)
    if tokenizer_dir is not None:
        copy_tokenizer(tokenizer_dir, folder)
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def load_vectors(folder: Path) -> WordVectors:
    """The vectors of a folder. Raises FileNotFoundError or ValueError saying what is missing or does not fit."""
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no model there")
    described = read_object(path)
    if not isinstance(kind := described.get("kind", "gpt"), str) or kind not in able("neighbours"):
        raise ValueError(f"{path}: {cannot(str(kind), 'neighbours')}")
    if kind == "nnlm":
        return _rows_of_c(folder, described)
    if not (folder / VECTORS_FILE).exists():
        raise FileNotFoundError(f"{folder / VECTORS_FILE}: missing, so this model is incomplete: train it again")
    vocabulary = Vocabulary.load(folder)
    [vectors] = arrays_of(folder / VECTORS_FILE, VECTORS)
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
        raise DamagedFile(f"{folder / VECTORS_FILE}: {VECTORS} are {vectors.dtype} {list(vectors.shape)}: {AGAIN}")
    if len(vectors) != len(vocabulary):
        raise ValueError(f"{folder}: {len(vectors)} vectors beside {len(vocabulary)} words: train it again")
    tokenizer = load_tokenizer(folder) if described.get("unit") == "token" else None
    return WordVectors(vocabulary, vectors, described, tokenizer)


def _rows_of_c(folder: Path, described: dict[str, Any]) -> WordVectors:
    """The tokens of an NNLM in the order of their numbers. A word that has a token with a space before it and one
    without has the vector of the first."""
    from lm.artifact import load_torch
    from lm.models.nnlm import NNLM

    model, tokenizer = load_torch(folder, NNLM)
    rows: dict[str, int] = {}
    for id, name in enumerate(token_names(tokenizer)):
        if name:
            rows.setdefault(name, id)
    vocabulary = Vocabulary(tuple(rows), np.zeros(len(rows), dtype=np.int64))
    vectors = model.C.detach().numpy()[list(rows.values())]
    return WordVectors(vocabulary, vectors, {**described, "unit": "token"}, tokenizer)
