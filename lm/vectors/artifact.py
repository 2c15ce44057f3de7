"""Folders of word vectors: `vectors.safetensors`, `words.json`, `config.json` (with "kind"), and the tokenizer."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from lm.tokenizer import copy_tokenizer, load_tokenizer
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import Vocabulary

KINDS = ("word2vec", "glove")
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
    described = json.loads(path.read_text(encoding="utf-8"))
    if (kind := described.get("kind")) not in KINDS:
        raise ValueError(f"{path}: a model of kind {kind!r} has no word vectors; {' and '.join(KINDS)} have")
    if not (folder / VECTORS_FILE).exists():
        raise FileNotFoundError(f"{folder / VECTORS_FILE}: missing, so this model is incomplete: train it again")
    vocabulary = Vocabulary.load(folder)
    vectors = load_file(folder / VECTORS_FILE)[VECTORS]
    if len(vectors) != len(vocabulary):
        raise ValueError(f"{folder}: {len(vectors)} vectors beside {len(vocabulary)} words: train it again")
    tokenizer = load_tokenizer(folder) if described.get("unit") == "token" else None
    return WordVectors(vocabulary, vectors, described, tokenizer)
