"""Files, plain or compressed, as text lines; what is broken is named with file and line."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

COMPRESSIONS = (".gz", ".zst")
CHUNK = 1 << 18
LONGEST_LINE = 64 << 20  # bytes: a line beyond is no example but a wrong file, or a bomb
LARGEST_TEXT = 2 << 30  # bytes of a file that must be read as a whole
UNPACKED_BYTES = 256 << 20  # what any file may unpack to
MOST_RATIO = 250  # beyond: examples are held in memory, which is to be in proportion to the file's size


class BadInput(ValueError):
    """A labelled file that cannot be used; the message says where, what and what to do."""


def ending(path: Path) -> str:
    """`jsonl` for train.jsonl.zst."""
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return name.rpartition(".")[2]


def chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a file. Raises BadInput for a file that is not there or damaged."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    done = 0
    try:
        with _open(path) as stream:
            while block := stream.read(CHUNK):
                done += len(block)
                check_unpacked(path, done)
                yield bytes(block)
    except (EOFError, OSError, zlib.error, pa.ArrowException) as error:
        raise BadInput(f"{path}: damaged after {done:,} bytes of text: {error}; fetch or pack it again") from error


def check_unpacked(path: Path, unpacked: int) -> None:
    """Raise BadInput for a file of which so many bytes were unpacked, which is no ratio of real text."""
    if unpacked > UNPACKED_BYTES and unpacked > MOST_RATIO * path.stat().st_size:
        raise BadInput(
            f"{path}: its {path.stat().st_size:,} bytes unpack to {unpacked:,} and more, as no real text does: a"
            " decompression bomb? If you made it, write it as plain .jsonl"
        )


def _open(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".zst":
        return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return path.open("rb")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number from 1 and text of each line, without its end. Only a line feed ends a line: what else Unicode calls a
    line break is text. A byte-order mark is left out.

    Raises BadInput naming the line that is no UTF-8 or too long.
    """
    number, rest = 0, b""
    for block in chunks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            yield number, _text(path, number, line)
        if len(rest) > LONGEST_LINE:
            raise BadInput(f"{path}: line {number + 1} is longer than {LONGEST_LINE >> 20} MiB: this is another format")
    if rest:
        yield number + 1, _text(path, number + 1, rest)


def _text(path: Path, number: int, line: bytes) -> str:
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: line {number} is not UTF-8: {error.reason} (byte {error.start + 1}); convert it, for example with"
            " iconv -t UTF-8"
        ) from error
    return text.removeprefix("\ufeff") if number == 1 else text


def whole_text(path: Path) -> bytes:
    """All of a file's bytes. Raises BadInput beyond a limit."""
    parts, size = [], 0
    for block in chunks(path):
        size += len(block)
        if size > LARGEST_TEXT:
            raise BadInput(f"{path}: more than {LARGEST_TEXT >> 30} GiB of text in one JSON document: split it")
        parts.append(block)
    return b"".join(parts)
