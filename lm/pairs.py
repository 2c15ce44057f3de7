"""Pairs of texts, a source and its target: read from files, cut into training and validation."""

import gzip
import hashlib
import json
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """A text and what it becomes."""

    source: str
    target: str


def read_pairs(path: Path, target: Path | None = None, fields: tuple[str, str] = ("source", "target")) -> list[Pair]:
    """Pairs from two files with a text a line, or from one: `.tsv` (the first two columns, no header, no quoting) or
    `.jsonl` (the two `fields`); each may be gzipped (`.gz`). UTF-8; a pair with an empty side is read as it is.

    Raises ValueError naming file and line for what is no UTF-8, has no second column or field, or no partner in the
    other file; FileNotFoundError for what is not there.
    """
    if target is not None:
        sources, targets = list(_lines(path)), list(_lines(target))
        if len(sources) != len(targets):
            raise ValueError(
                f"{path} has {len(sources):,} lines and {target} {len(targets):,}: line n of one must be line n of the"
                " other in the other language"
            )
        return [Pair(s, t) for s, t in zip(sources, targets, strict=True)]
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    if ending == "tsv":
        return [_columns(path, number, line) for number, line in enumerate(_lines(path), 1)]
    if ending == "jsonl":
        return [_fields(path, number, line, fields) for number, line in enumerate(_lines(path), 1)]
    raise ValueError(f"{path}: pairs are read from .tsv, .jsonl (each also .gz), or from two text files")


def _lines(path: Path) -> Iterator[str]:
    """Lines end with a line feed alone: what else Unicode calls a line break is text. A byte-order mark is none."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                number += 1
                text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
                yield text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: line {number} is not UTF-8: {error.reason} (byte {error.start + 1})") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: broken after line {number}: {error}") from error


def _columns(path: Path, number: int, line: str) -> Pair:
    columns = line.split("\t")
    if len(columns) < 2:
        raise ValueError(f"{path}: line {number} has no tab: two columns, source and target, are needed: {line[:60]!r}")
    return Pair(columns[0], columns[1])


def _fields(path: Path, number: int, line: str, fields: tuple[str, str]) -> Pair:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}: line {number} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path}: line {number} is no JSON object: {line[:60]!r}")
    for name in fields:
        if not isinstance(record.get(name), str):
            found = ", ".join(map(repr, record)) or "nothing"
            raise ValueError(f"{path}: line {number} has no text in {name!r} (it has {found})")
    return Pair(record[fields[0]], record[fields[1]])


def normal(text: str) -> str:
    """What two texts must share to count as equal: letters and digits, compatibility forms and case aside."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


def held_out(pair: Pair, fraction: float, salt: str) -> bool:
    """Whether a pair is for validation: by the hash of its source alone, whatever else there is."""
    digest = hashlib.blake2b(f"{salt}\x1f{normal(pair.source)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * 2**64


def split_pairs(pairs: Sequence[Pair], fraction: float, salt: str) -> tuple[list[Pair], list[Pair], int]:
    """(training, validation, left out): a pair whose source or target occurs among the validation pairs is none to
    train on, so that nothing of them was seen."""
    valid = [pair for pair in pairs if held_out(pair, fraction, salt)]
    training, left_out = without_leaks([pair for pair in pairs if not held_out(pair, fraction, salt)], valid)
    return training, valid, left_out


def without_leaks(pairs: Sequence[Pair], held: Sequence[Pair]) -> tuple[list[Pair], int]:
    """The pairs that share no side with one that is held out, and how many do."""
    sides = {(side, normal(text)) for pair in held for side, text in enumerate(pair)}
    kept = [pair for pair in pairs if not any((side, normal(text)) in sides for side, text in enumerate(pair))]
    return kept, len(pairs) - len(kept)
