"""ARPA files, the n-gram models of SRILM, IRSTLM and KenLM: log10 p, the words, log10 of the back-off weight.

    \\data\\
    ngram 1=...
    \\1-grams:
    -2.1    the     -0.3
    ...
    \\end\\

`<s>` begins contexts and is never predicted, `</s>` is predicted and begins none; here both are the boundary. A line
gives p of the last word after the others; where an n-gram has no line, p is the back-off weight of its context (1 where
that has no line either) times p after the context without its first word.
"""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lm.ngram.arrays import Arrays
from lm.ngram.model import NgramModel
from lm.ngram.words import BEGIN, END, UNKNOWN, WordVocabulary
from lm.stop import ShouldStop, check, never

NEVER = -99.0  # log10 of what has no probability, by convention
DIGITS = 9  # decimals of log10: enough to give float32 back unchanged
LINES = 1 << 18


def write_arpa(model: NgramModel, path: Path, should_stop: ShouldStop = never) -> list[int]:
    """Write a model of words or tokens; returns the number of lines of each order.

    Tokens stand in the file by their names in the tokenizer (`Ġthe`), the end of a document as `</s>`.
    Raises ValueError for add-k and stupid back-off, which give contexts never seen a weight that ARPA has no place for.
    """
    if model.smoothing in ("add_k", "stupid_backoff"):
        raise ValueError(f"an ARPA file cannot hold {model.smoothing}: build with another smoothing")
    names = _names(model)
    ends = np.cumsum(model.described["ngrams"])
    lacks_unknown = UNKNOWN.encode() not in names
    sizes = [int(n) for n in model.described["ngrams"]]
    sizes[0] += 1 + lacks_unknown  # the boundary has two lines
    partial = path.with_name(path.name + ".tmp")
    with partial.open("wb") as out:
        counts = "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
        out.write(f"\\data\\\n{counts}\n\\1-grams:\n".encode())
        if lacks_unknown:
            out.write(f"{NEVER:g}\t{UNKNOWN}\t0\n".encode())
        _write_unigrams(model, names, out)
        table = pa.array(names, pa.binary())
        for n in range(2, model.order + 1):
            out.write(f"\n\\{n}-grams:\n".encode())
            for begin in range(int(ends[n - 2]), int(ends[n - 1]), LINES):
                check(should_stop, f"writing {path.name}")
                _write_ngrams(model, table, n, begin, min(begin + LINES, int(ends[n - 1])), out)
        out.write(b"\n\\end\\\n")
    os.replace(partial, path)
    return sizes


def _names(model: NgramModel) -> list[bytes]:
    """The name of each id in the file. Raises ValueError for names that it cannot hold."""
    if isinstance(model.names, WordVocabulary):
        texts: list[str] = list(model.names.words)
    else:
        texts = [str(model.names.id_to_token(id)) for id in range(model.vocab)]
    texts[model.boundary] = END
    names = [text.encode("utf-8", "surrogatepass") for text in texts]
    if len(set(names)) < len(names) or BEGIN.encode() in names:
        raise ValueError(f"{BEGIN} or {END} is a word of this model, and means the ends of a sequence in an ARPA file")
    if unfit := next((name for name in names if name.split() != [name]), None):
        raise ValueError(f"the word {unfit!r} has white space in it (or is empty), which an ARPA file cannot hold")
    return names


def _write_unigrams(model: NgramModel, names: list[bytes], out: BinaryIO) -> None:
    probs = _log10(model.arrays.probs[: model.vocab]).tolist()
    weights = _log10(model.arrays.backoffs[: model.vocab]).tolist() if model.order > 1 else [0.0] * model.vocab
    for p, name, weight in zip(probs, names, weights, strict=True):
        if name == END.encode():
            out.write(f"0\t{BEGIN}\t{weight:.{DIGITS + 1}g}\n".encode())
            weight = 0.0
        out.write(b"%s\t%s\t%s\n" % (repr(p).encode(), name, repr(weight).encode()))


def _write_ngrams(model: NgramModel, names: pa.Array, n: int, begin: int, end: int, out: BinaryIO) -> None:
    columns = [names.take(pa.array(ids)) for ids in ngram_words(model.arrays, n, begin, end)]
    starts = columns[0].to_numpy(zero_copy_only=False) == END.encode()
    columns[0] = pc.if_else(pa.array(starts), pa.scalar(BEGIN.encode(), pa.binary()), columns[0])
    fields = [_decimals(model.arrays.probs[begin:end]), pc.binary_join_element_wise(*columns, b" ")]
    if n < model.order:
        fields.append(_decimals(model.arrays.backoffs[begin:end]))
    lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*fields, b"\t"), b"", b"\n")
    _, offsets, data = lines.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    out.write(memoryview(data)[int(bounds[0]) : int(bounds[-1])])


def ngram_words(arrays: Arrays, n: int, begin: int, end: int) -> list[np.ndarray]:
    """The words of the n-grams of order n at nodes begin .. end - 1: n arrays."""
    last = np.asarray(arrays.words[begin:end])
    if n == 1:
        return [last]
    children = arrays.children
    first_parent, last_parent = (
        int(np.searchsorted(children, children.dtype.type(i), "right")) - 1 for i in (begin, end - 1)
    )
    bounds = np.clip(children[first_parent : last_parent + 2].astype(np.int64), begin, end)
    above = ngram_words(arrays, n - 1, first_parent, last_parent + 1)
    return [*(np.repeat(column, np.diff(bounds)) for column in above), last]


def _log10(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logs = np.log10(p.astype(np.float64))
    return np.round(np.where(p > 0, logs, NEVER), DIGITS) + 0.0  # no -0.0


def _decimals(p: np.ndarray) -> pa.Array:
    return pc.cast(pc.cast(pa.array(_log10(p)), pa.string()), pa.binary())
