"""What building an n-gram model of token ids holds in memory: `python -m benchmarks.ngram_memory [--tokens N ...]`.

A byte-level BPE is learned from the first 20 MB of the English corpus below TEXTMILL_DATA, and a modified Kneser-Ney
model is built of the first so many tokens, at one memory limit, for each size of text, in a process of its own. A line
of JSON each: the peak of anonymous memory, sampled (what is held, other than pages of files that the kernel may take
back), what the process had before, and seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.documents import read_documents
from benchmarks.ngram_build import AnonymousMemory
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig

LEARNED_FROM = 20e6  # bytes
AT_ONCE = 1000  # documents that are encoded together


def first_texts(size: float) -> Iterator[str]:
    """Texts of the corpus until there are so many bytes."""
    for document in read_documents("corpus_en"):
        yield document.text
        size -= len(document.text.encode())
        if size < 0:
            return


def write_ids(tokenizer_dir: Path, tokens: int, path: Path) -> list[int]:
    """The first so many ids of the corpus into a .npy file; returns the lengths of the documents."""
    tokenizer, found = load_tokenizer(tokenizer_dir), (document.text for document in read_documents("corpus_en"))
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    while sum(lengths) < tokens and (texts := list(islice(found, AT_ONCE))):
        encoded = [np.asarray(ids, dtype=np.uint16) for ids in encode_documents(tokenizer, texts)]
        parts, lengths = [*parts, *encoded], [*lengths, *map(len, encoded)]
    np.save(path, np.concatenate(parts))
    return lengths


def documents(path: Path, lengths: list[int], tokens: int) -> Iterator[np.ndarray]:
    """Documents of the file, read as they are asked for, until there are so many tokens."""
    ids, start = np.load(path, mmap_mode="r"), 0
    for length in lengths:
        if start >= tokens:
            return
        yield ids[start : start + length].astype(np.int64)
        start += length


def build(work: Path, options: argparse.Namespace) -> None:
    """Build once, and say what was held."""
    lengths: list[int] = json.loads((work / "lengths.json").read_text())
    with AnonymousMemory() as before:
        time.sleep(0.1)
    start = time.perf_counter()
    with AnonymousMemory() as memory:
        build_ngram(
            documents(work / "ids.npy", lengths, options.build),
            work / "tokenizer",
            NgramConfig(order=options.order),
            work / "model",
            memory_limit=options.memory_limit,
            threads=options.threads,
        )
    row = {"tokens": options.build, "anonymous_mb": memory.peak, "before_mb": before.peak}
    print(json.dumps({**row, "seconds": round(time.perf_counter() - start, 1)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000_000, 3_000_000, 11_000_000])
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--memory-limit", default="100MB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", type=int, help="in a folder that is there: build of so many tokens")
    parser.add_argument("--folder", type=Path, help="of --build")
    options = parser.parse_args()
    if options.build:
        build(options.folder, options)
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        train_tokenizer(first_texts(LEARNED_FROM), ByteBPEConfig(vocab_size=options.vocab), work / "tokenizer")
        lengths = write_ids(work / "tokenizer", max(options.tokens), work / "ids.npy")
        (work / "lengths.json").write_text(json.dumps(lengths))
        for tokens in options.tokens:
            command = [sys.executable, "-m", "benchmarks.ngram_memory", "--build", str(tokens), "--folder", name]
            command += ["--order", str(options.order), "--threads", str(options.threads)]
            subprocess.run([*command, "--memory-limit", options.memory_limit], check=True)


if __name__ == "__main__":
    main()
