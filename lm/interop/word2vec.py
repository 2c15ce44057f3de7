"""The files of the released word2vec, which gensim, fastText and spaCy read too.

    71291 100                    words and dimensions
    the 0.0123 -0.4 ...          text: a word and its numbers between spaces, a line each

In the binary format the numbers are little-endian float32 behind the word and its space; the released program writes a
line end behind them, gensim does not. Neither format has counts: words are taken to stand by falling count.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lm.stop import ShouldStop, check, never
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import Vocabulary

MAX_WORD = 1 << 16  # bytes: a word beyond is a damaged file
MOST = 1 << 33  # numbers in a file
POLL = 4096
_FLOAT = np.dtype("<f4")


def write_text(vectors: WordVectors, path: Path, should_stop: ShouldStop = never) -> None:
    """Write the text format; numbers have the digits that give float32 back.

    Raises ValueError for a word that the format cannot hold.
    """
    partial = path.with_name(path.name + ".tmp")
    with partial.open("wb") as out:
        for word, vector in _rows(vectors, out, should_stop):
            out.write(word + b" " + " ".join(map(str, vector)).encode() + b"\n")
    os.replace(partial, path)


def write_binary(vectors: WordVectors, path: Path, should_stop: ShouldStop = never) -> None:
    """Write the binary format of the released program. Raises ValueError for a word that it cannot hold."""
    partial = path.with_name(path.name + ".tmp")
    with partial.open("wb") as out:
        for word, vector in _rows(vectors, out, should_stop):
            out.write(word + b" " + vector.astype(_FLOAT).tobytes() + b"\n")
    os.replace(partial, path)


def _rows(vectors: WordVectors, out: BinaryIO, should_stop: ShouldStop) -> Iterator[tuple[bytes, np.ndarray]]:
    numbers = vectors.vectors.astype(np.float32)
    out.write(f"{len(vectors)} {numbers.shape[1]}\n".encode())
    for row, word in enumerate(vectors.words):
        if row % POLL == 0:
            check(should_stop, "writing vectors")
        name = word.encode("utf-8")
        if name.split() != [name]:
            raise ValueError(
                f"the word {word!r} has white space in it (or is empty), which word2vec's files cannot hold"
            )
        yield name, numbers[row]


def read_word2vec(path: Path, binary: bool | None = None, should_stop: ShouldStop = never) -> WordVectors:
    """The vectors of a file. binary: which format it is; None: what stands behind the first word says.

    Raises ValueError saying where the file is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        words, dimensions = _header(path, file.readline(MAX_WORD))
        if binary is None:
            binary = _looks_binary(file, dimensions)
        least = (4 if binary else 2) * dimensions + 2
        if words * least > size + 1:
            raise ValueError(f"{path}: {size} bytes cannot hold {words} words of {dimensions} numbers: it is cut off")
        vectors = np.empty((words, dimensions), dtype=np.float32)
        names = []
        for row in range(words):
            if row % POLL == 0:
                check(should_stop, f"reading {path.name}")
            name, vectors[row] = (_binary_row if binary else _text_row)(path, file, row + 1, dimensions)
            names.append(name)
        if rest := file.read(2).strip():
            raise ValueError(f"{path}: {words} words were announced, but there is more behind them: {rest!r}")
    vocabulary = Vocabulary(tuple(names), np.zeros(words, dtype=np.int64))
    try:
        vocabulary.rows  # noqa: B018
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    described = {"kind": "word2vec", "unit": "word", "dimensions": dimensions, "words": words, "source": path.name}
    return WordVectors(vocabulary, vectors, described)


def _header(path: Path, line: bytes) -> tuple[int, int]:
    try:
        words, dimensions = map(int, line.split())
    except ValueError as error:
        raise ValueError(f"{path}: the first line says words and dimensions, not {line[:80]!r}") from error
    if words < 1 or dimensions < 1 or words * dimensions > MOST:
        raise ValueError(f"{path}: {words} words of {dimensions} dimensions are announced, which cannot be")
    return words, dimensions


def _looks_binary(file: BinaryIO, dimensions: int) -> bool:
    """Whether what stands behind the first word is no line of numbers; the file is put back to where it was."""
    place = file.tell()
    line = file.readline(MAX_WORD + 32 * dimensions)
    file.seek(place)
    try:
        return len(list(map(float, line.decode("utf-8").split(" ")[1:]))) < 1
    except ValueError:  # UnicodeDecodeError is one
        return True


def _text_row(path: Path, file: BinaryIO, row: int, dimensions: int) -> tuple[str, np.ndarray]:
    line = file.readline(MAX_WORD + 64 * dimensions)
    fields = line.rstrip(b" \r\n").split(b" ")
    if not line or len(fields) != dimensions + 1:
        raise ValueError(f"{path}, word {row}: {len(fields) - 1} numbers instead of {dimensions}: {line[:40]!r}")
    try:
        return _word(path, row, fields[0]), np.array(fields[1:], dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{path}, word {row}: {error}") from error


def _binary_row(path: Path, file: BinaryIO, row: int, dimensions: int) -> tuple[str, np.ndarray]:
    letters = bytearray()
    while (letter := file.read(1)) != b" ":
        if not letter:
            raise ValueError(f"{path}: it ends in word {row}: it is cut off")
        if letter != b"\n" or letters:
            letters += letter
        if len(letters) > MAX_WORD:
            raise ValueError(f"{path}, word {row}: no space within {MAX_WORD} bytes: it is no binary file of word2vec")
    data = file.read(4 * dimensions)
    if len(data) < 4 * dimensions:
        raise ValueError(f"{path}: it ends in the vector of word {row}: it is cut off")
    return _word(path, row, bytes(letters)), np.frombuffer(data, dtype=_FLOAT).astype(np.float32)


def _word(path: Path, row: int, letters: bytes) -> str:
    try:
        return letters.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, word {row}: not UTF-8: {letters[:40]!r}") from error
