"""ARPA files become n-gram models. The model is held in memory while it is read; see lm/interop/arpa.py."""

import gzip
import re
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lm.interop.arpa import NEVER
from lm.ngram.arrays import FILES
from lm.ngram.build import KIND, publish
from lm.ngram.levels import index_dtype
from lm.ngram.words import BEGIN, END, UNKNOWN, WordVocabulary
from lm.stop import ShouldStop, check, never
from lm.tokenizer import copy_tokenizer, end_of_text_id, load_tokenizer
from lm.tokens import tokenizer_sha256

CHECK_LINES = 100_000


class Section:
    """The lines of one order: ids [lines, n], p and back-off weights [lines]."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.ids, self.logs, self.weights = array("I"), array("d"), array("d")

    def sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids = (
            np.frombuffer(self.ids, dtype=np.uint32).reshape(-1, self.n)
            if self.logs
            else np.empty((0, self.n), np.uint32)
        )
        order = np.lexsort(ids.T[::-1])
        logs, weights = (np.frombuffer(a, dtype=np.float64) if a else np.empty(0) for a in (self.logs, self.weights))
        return ids[order], *(np.where(x > NEVER, 10.0**x, 0.0)[order] for x in (logs, weights))  # type: ignore[return-value]


def read_arpa(
    path: Path,
    out_dir: Path,
    tokenizer_dir: Path | None = None,
    *,
    precision: str = "float32",
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Make a model folder of an ARPA file (or one ending in .gz): of words, or of the tokens of `tokenizer_dir`.

    n-grams with `<s>` behind their beginning or `</s>` before their end can never be asked for and are left out; how
    many is returned as `left_out`, with what config.json says. A file without `<unk>` gives unknown words no
    probability. Raises ValueError, with file and line, for a file that is no ARPA file, is cut off, or has n-grams
    whose beginning has no line.
    """
    names = _token_ids(tokenizer_dir) if tokenizer_dir else None
    sections, words, left_out = _parse(path, names, should_stop)
    out_dir.mkdir(parents=True, exist_ok=True)
    if tokenizer_dir:
        tokenizer = load_tokenizer(tokenizer_dir)
        vocab, boundary = tokenizer.get_vocab_size(), end_of_text_id(tokenizer)
        unit: dict[str, Any] = {"unit": "token", "tokenizer_sha256": tokenizer_sha256(tokenizer_dir)}
        copy_tokenizer(tokenizer_dir, out_dir)
    else:
        vocabulary = WordVocabulary(words)
        vocab, boundary, unit = len(vocabulary), vocabulary.boundary, {"unit": "word"}
        vocabulary.save(out_dir)
    sizes = _write(sections, vocab, path, precision, out_dir)
    return publish(
        out_dir,
        {
            "kind": KIND,
            "order": len(sections),
            "smoothing": "arpa",
            "precision": precision,
            "vocab": vocab,
            "boundary": boundary,
            "ngrams": sizes,
            "left_out": left_out,
            **unit,
        },
    )


def _token_ids(tokenizer_dir: Path) -> dict[bytes, int]:
    tokenizer = load_tokenizer(tokenizer_dir)
    ids = {name.encode(): id for name, id in tokenizer.get_vocab().items()}
    ids[BEGIN.encode()] = ids[END.encode()] = end_of_text_id(tokenizer)
    return ids


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file, start=1):
                yield number, line.strip()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}, behind line {number}: damaged gzip: {error}") from error


def _parse(path: Path, names: dict[bytes, int] | None, should_stop: ShouldStop) -> tuple[list[Section], list[str], int]:
    """The sections of the file, the words in order of id, and how many n-grams were left out."""
    begin, end, unknown = BEGIN.encode(), END.encode(), UNKNOWN.encode()
    ids = dict(names) if names else {unknown: 0, end: WordVocabulary.boundary, begin: WordVocabulary.boundary}
    words = [UNKNOWN, END]
    promised: list[int] = []
    sections: list[Section] = []
    n = left_out = seen = 0
    ended = False

    def wrong(number: int, why: str) -> ValueError:
        return ValueError(f"{path}, line {number}: {why}")

    for number, line in _lines(path):
        if number % CHECK_LINES == 0:
            check(should_stop, f"reading {path.name}")
        if not line or (not promised and not line.startswith(b"ngram ")):
            continue  # what stands before the counts is a comment
        if line.startswith(b"ngram ") and not n:
            match = re.fullmatch(rb"ngram (\d+) *= *(\d+)", line)
            if match is None or int(match[1]) != len(promised) + 1:
                raise wrong(number, f"expected the number of {len(promised) + 1}-grams, not {line[:80]!r}")
            promised.append(int(match[2]))
            continue
        if line.startswith(b"\\") and re.fullmatch(rb"\\(\d+-grams:|end\\)", line):
            if n and seen != promised[n - 1]:
                raise wrong(number, f"{promised[n - 1]} {n}-grams were announced, {seen} stand here")
            if line == b"\\end\\":
                ended = True
                break
            n, seen = n + 1, 0
            if line != b"\\%d-grams:" % n or n > len(promised):
                raise wrong(number, f"expected {n}-grams, not {line[:80].decode(errors='replace')}")
            sections.append(Section(n))
            continue
        if not n:
            raise wrong(number, f"expected \\1-grams:, not {line[:80]!r}")
        fields = line.split()
        if len(fields) not in (n + 1, n + 2):
            raise wrong(number, f"expected log10 p, {n} words and perhaps a back-off weight, not {line[:80]!r}")
        seen += 1
        try:
            log, weight = float(fields[0]), float(fields[n + 1]) if len(fields) == n + 2 else 0.0
        except ValueError as error:
            raise wrong(number, f"not a number: {line[:80]!r}") from error
        if log > 0 or not np.isfinite((log, weight)).all():
            raise wrong(number, f"log10 p must not be above 0: {line[:80]!r}")
        gram = fields[1 : n + 1]
        section = sections[-1]
        if n == 1:
            name = gram[0]
            if name == begin:  # of <s>, only the weight is of use; p is that of </s>
                section.ids.append(ids[begin])
                section.logs.append(np.nan)
                section.weights.append(weight)
                continue
            if names is None and name not in (unknown, end):
                if name in ids:
                    raise wrong(number, f"{name.decode(errors='replace')} stands twice among the unigrams")
                ids[name] = len(words)
                words.append(name.decode("utf-8", "surrogateescape"))
            elif name not in ids:
                if name == unknown:
                    left_out += 1
                    continue
                raise wrong(number, f"{name.decode(errors='replace')} is no token of the tokenizer")
            weight = np.nan if name == end else weight
        elif begin in gram[1:] or end in gram[:-1]:
            left_out += 1
            continue
        try:
            section.ids.extend([ids[word] for word in gram])
        except KeyError as error:
            raise wrong(number, f"{error.args[0].decode(errors='replace')} is not among the unigrams") from error
        section.logs.append(log)
        section.weights.append(weight)
    if not ended:
        raise ValueError(f"{path}: no \\end\\: not an ARPA file, or one that was cut off")
    return sections, words, left_out


def _write(sections: list[Section], vocab: int, path: Path, precision: str, out_dir: Path) -> list[int]:
    """Write the arrays of the model (lm/ngram/arrays.py); returns the n-grams of each order."""
    levels = [_unigrams(sections[0], vocab), *(section.sorted() for section in sections[1:])]
    sizes = [len(p) for _, p, _ in levels]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    nodes, inner = int(starts[-1]), int(starts[-2])
    index = index_dtype(nodes)
    children = np.full(inner + 1, nodes, dtype=index)
    links = np.full(nodes, nodes, dtype=index)
    keys = [np.arange(vocab, dtype=np.uint64)]  # of each level: parent in its level * vocab + word, ascending
    for n, (ids, _, _) in enumerate(levels[1:], start=2):
        parents = _find(ids[:, :-1], keys, vocab)
        if (parents < 0).any():
            missing = " ".join(map(str, ids[np.argmin(parents)].tolist()))
            raise ValueError(f"{path}: the beginning of a {n}-gram has no line of its own (word ids {missing})")
        keys.append(parents.astype(np.uint64) * np.uint64(vocab) + ids[:, -1].astype(np.uint64))
        if (keys[-1][1:] == keys[-1][:-1]).any():
            twice = ids[np.argmax(keys[-1][1:] == keys[-1][:-1])].tolist()
            raise ValueError(f"{path}: a {n}-gram stands twice (word ids {' '.join(map(str, twice))})")
        bounds = np.searchsorted(parents, np.arange(sizes[n - 2]))
        children[starts[n - 2] : starts[n - 1]] = starts[n - 1] + bounds
        found = np.full(len(ids), nodes, dtype=np.int64)
        for length in range(1, n):  # the longest suffix that has a line wins
            at = _find(ids[:, n - length :], keys, vocab)
            found = np.where(at >= 0, at + starts[length - 1], found)
        links[starts[n - 1] : starts[n]] = found
    words = np.concatenate([ids[:, -1] for ids, _, _ in levels]).astype("<u4")
    probs = np.concatenate([p for _, p, _ in levels]).astype(precision)
    weights = np.concatenate([w for _, _, w in levels])[:inner].astype(precision)
    arrays = {"words": words, "probs": probs, "links": links, "backoffs": weights, "children": children}
    for name in FILES:
        np.save(out_dir / f"{name}.npy", arrays[name], allow_pickle=False)
    return sizes


def _unigrams(section: Section, vocab: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level 1 for all ids; the two lines of the boundary are put together, and what has no line has no probability."""
    p, weights = np.zeros(vocab), np.ones(vocab)
    for id, log, weight in zip(section.ids, section.logs, section.weights, strict=True):
        if not np.isnan(log):
            p[id] = 10.0**log if log > NEVER else 0.0
        if not np.isnan(weight):
            weights[id] = 10.0**weight if weight > NEVER else 0.0
    return np.arange(vocab, dtype=np.uint32)[:, None], p, weights


def _find(ids: np.ndarray, keys: list[np.ndarray], vocab: int) -> np.ndarray:
    """Where n-grams, [count, n], stand in level n; -1 for those that have no line. int64 [count]."""
    at = ids[:, 0].astype(np.int64)
    for n in range(1, ids.shape[1]):
        key = np.maximum(at, 0).astype(np.uint64) * np.uint64(vocab) + ids[:, n].astype(np.uint64)
        place = np.searchsorted(keys[n], key)
        hit = (
            (place < len(keys[n])) & (keys[n][np.minimum(place, len(keys[n]) - 1)] == key)
            if len(keys[n])
            else np.zeros(len(at), bool)
        )
        at = np.where((at >= 0) & hit, place, -1)
    return at
