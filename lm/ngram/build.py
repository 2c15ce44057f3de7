"""From a corpus to an n-gram model: count, build the levels, smooth, prune, write. Nothing large is held in memory."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lm.ngram.arrays import CONFIG_FILE, ArrayWriter
from lm.ngram.config import NgramConfig
from lm.ngram.counts import field_bits, merged, write_runs
from lm.ngram.levels import build_levels
from lm.ngram.smoothing import adjusted_counts, discounts_of, smooth_level
from lm.ngram.stream import index_stream, sequence_stream
from lm.ngram.words import read_words, word_stream
from lm.stop import ShouldStop, check, never
from lm.tokenizer import copy_tokenizer, end_of_text_id, load_tokenizer
from lm.tokens import TokenIndex, tokenizer_sha256

KIND = "ngram"
Progress = Callable[[int], None]


def build_ngram(
    corpus: TokenIndex | Iterable[Sequence[int] | np.ndarray],
    tokenizer_dir: Path,
    config: NgramConfig,
    out_dir: Path,
    *,
    memory_limit: str = "1GB",
    threads: int = 1,
    scratch: Path | None = None,
    progress: Progress = lambda _: None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Build a model of tokens into the folder `out_dir`, with the tokenizer beside it.

    Each document (or sequence of token ids) is scored from its beginning, with `<|endoftext|>` before and behind it.
    The result depends neither on the order of the documents nor on `memory_limit` and `threads`. `memory_limit`, in
    DuckDB's words, bounds what is held in memory; the rest lies in `scratch` (below `out_dir` unless given; for one
    build at a time), about 40 bytes for each n-gram of the model and 20 for each token. `progress` advances by tokens
    counted.

    Returns what `config.json` of the folder says: counts of n-grams by order, discounts, and so on. Raises ValueError
    for an empty corpus or one of another tokenizer, Interrupted if asked to stop.
    """
    if config.min_count > 1:
        raise ValueError(f"min_count {config.min_count} is for models of words: a tokenizer has no token for rare ones")
    tokenizer = load_tokenizer(tokenizer_dir)
    boundary, vocab = end_of_text_id(tokenizer), tokenizer.get_vocab_size()
    if isinstance(corpus, TokenIndex):
        if corpus.tokenizer_sha256 != tokenizer_sha256(tokenizer_dir):
            raise ValueError(
                f"the tokens were made by another tokenizer than {tokenizer_dir}: tokenize the text with it"
            )
        stream = index_stream(corpus)
    else:
        stream = sequence_stream(corpus, boundary)
    with _scratch_folder(out_dir, scratch) as folder:
        described = build_from_stream(
            stream, vocab, boundary, config, out_dir, folder, memory_limit, threads, progress, should_stop
        )
        copy_tokenizer(tokenizer_dir, out_dir)
        return publish(out_dir, {**described, "unit": "token", "tokenizer_sha256": tokenizer_sha256(tokenizer_dir)})


def build_word_ngram(
    lines: Iterable[str],
    config: NgramConfig,
    out_dir: Path,
    *,
    memory_limit: str = "1GB",
    threads: int = 1,
    scratch: Path | None = None,
    progress: Progress = lambda _: None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Build a model of words into the folder `out_dir`: each line is a sentence, its words stand between spaces.

    The vocabulary is that of the text, less the words seen fewer than `config.min_count` times; it is held in memory
    beside `memory_limit`. Else as `build_ngram`.
    """
    with _scratch_folder(out_dir, scratch) as folder:
        words, ids = read_words(lines, config.min_count, folder / "words.raw", should_stop)
        described = build_from_stream(
            word_stream(folder / "words.raw", ids),
            len(words),
            words.boundary,
            config,
            out_dir,
            folder,
            memory_limit,
            threads,
            progress,
            should_stop,
        )
        words.save(out_dir)
        return publish(out_dir, {**described, "unit": "word"})


def build_from_stream(
    stream: Iterator[np.ndarray],
    vocab: int,
    boundary: int,
    config: NgramConfig,
    out_dir: Path,
    scratch: Path,
    memory_limit: str,
    threads: int,
    progress: Progress,
    should_stop: ShouldStop,
) -> dict[str, Any]:
    """Build the arrays of a model from a stream of ids (lm/ngram/stream.py); returns what is known of it."""
    field_bits(vocab, config.order)
    memory = parse_size(memory_limit)
    runs, ngrams = write_runs(
        stream, config.order, vocab, boundary, scratch / "runs", memory // 2, threads, progress, should_stop
    )
    if not ngrams:
        raise ValueError("there is no text to count n-grams of")
    check(should_stop, "counting n-grams")
    batches = merged(runs, scratch / "spill", memory_limit, threads, should_stop)
    levels = build_levels(batches, config.order, vocab, ngrams, scratch, threads, should_stop)
    shutil.rmtree(scratch / "runs")
    writer = ArrayWriter(levels, config, out_dir, scratch)
    probs = np.empty(0)
    discounts = []
    for n in range(1, config.order + 1):
        kneser_ney = config.smoothing in ("kneser_ney", "modified_kneser_ney")
        counts = adjusted_counts(levels, n, boundary, scratch / "adjusted.npy") if kneser_ney else levels[n - 1].counts
        discounts.append(discounts_of(counts, n, config))
        gammas, probs = smooth_level(levels, n, counts, discounts[-1], probs, config, scratch, threads, should_stop)
        writer.add(n, gammas, probs)
        (scratch / f"gammas-{n - 1}.npy").unlink()
        if n > 1:
            (scratch / f"probs-{n - 1}.npy").unlink()
    return {
        "kind": KIND,
        **config.model_dump(),
        "vocab": vocab,
        "boundary": boundary,
        "ngrams": writer.sizes,
        "ngrams_before_pruning": [len(level) if n else int((level.counts > 0).sum()) for n, level in enumerate(levels)],
        "discounts_used": discounts,
        "sequences": int(levels[0].counts[boundary]),
        "tokens": ngrams - int(levels[0].counts[boundary]),
    }


def parse_size(size: str) -> int:
    """Bytes of a size in DuckDB's words, such as "1GB" or "512 MiB". Raises ValueError for anything else."""
    units = {
        "B": 1,
        **{f"{p}B": 1000**i for i, p in enumerate("KMGT", 1)},
        **{f"{p}IB": 1024**i for i, p in enumerate("KMGT", 1)},
    }
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Z]+)\s*", size.upper())
    if match is None or match[2] not in units:
        raise ValueError(f"memory limit {size!r}: give a number and one of {', '.join(units)}, such as 1GB")
    return int(float(match[1]) * units[match[2]])


@contextmanager
def _scratch_folder(out_dir: Path, scratch: Path | None) -> Iterator[Path]:
    """An empty folder for one build; what a killed one left there is removed."""
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / CONFIG_FILE).unlink(missing_ok=True)
    folder = (scratch or out_dir) / "ngram-scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(out_dir: Path, described: dict[str, Any]) -> dict[str, Any]:
    """Write what makes the folder a model, last."""
    partial = out_dir / f"{CONFIG_FILE}.tmp"
    partial.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out_dir / CONFIG_FILE)
    return described
