"""Every kind of tokenizer on one corpus: `python -m benchmarks.tokenizers_compare [--train 20] [--peers]`.

For the English and the Chinese corpus below TEXTMILL_DATA, each shuffled with a fixed seed: learns from the first
--train MB, encodes the next --held-out MB on one thread (median of --rounds) and prints the size of the vocabulary,
seconds to learn, tokens per byte, the share of unknown tokens, MB/s, and the bits per byte of a model that knows only
how frequent tokens are in the training text (add-one), with the spelling of unknown words in it and the part that
spelling is. With --peers the trainers of the `tokenizers` library for WordPiece and Unigram learn from the first
--peer-train MB, in turn with ours, at the same settings.
"""

import argparse
import io
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread, as in a worker of the pool

import numpy as np
import pyarrow as pa
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from lm.tokenizer import (
    encode_documents,
    has_fixed_bytes,
    load_tokenizer,
    token_byte_lengths,
    train_tokenizer,
    unknown_id,
)
from lm.tokenizers.common import pre_token_pattern
from lm.tokenizers.config import TokenizerConfig, UnigramConfig, parse_tokenizer_config
from lm.tokenizers.spans import encode_spans
from lm.tokenizers.spelling import Spelling
from lm.tokenizers.wordpiece import SPECIAL_TOKENS

KINDS: dict[str, dict[str, Any]] = {
    "byte_bpe": {"kind": "byte_bpe"},
    "character": {"kind": "character"},
    "wordpiece": {"kind": "wordpiece"},
    "wordpiece cased": {"kind": "wordpiece", "lowercase": False},
    "unigram": {"kind": "unigram"},
    "word": {"kind": "word"},
    "word separate": {"kind": "word", "spaces": "separate"},
}


def sample(language: str, megabytes: list[float]) -> list[list[str]]:
    """Lists of texts of so many MB each, one behind the other in a fixed random order of all documents."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("set TEXTMILL_DATA to the folder that holds corpus_en and corpus_zh")
    texts = []
    for path in sorted((Path(os.environ["TEXTMILL_DATA"]) / f"corpus_{language}").glob("*.jsonl.zst")):
        with pa.input_stream(str(path), compression="zstd") as stream:
            lines = io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
            texts += [json.loads(line)["text"] for line in lines]
    random.Random(0).shuffle(texts)
    rest: Iterator[str] = iter(texts)
    return [list(_first(rest, size * 1e6)) for size in megabytes]


def _first(texts: Iterator[str], size: float) -> Iterator[str]:
    read = 0
    while read < size:
        text = next(texts)
        read += len(text.encode())
        yield text


def encode(folder: Path, texts: list[str]) -> tuple[list[np.ndarray], float]:
    """Ids of each text and the nats of spelling unknown words, as tokenizing a shard finds them."""
    tokenizer = load_tokenizer(folder)
    if has_fixed_bytes(tokenizer):
        return encode_documents(tokenizer, texts), 0.0
    encoded = encode_spans(tokenizer, texts, unknown_id(tokenizer), Spelling.load(folder))
    return [text.ids for text in encoded], sum(float(text.spelling_nats.sum()) for text in encoded)


def measure(config: TokenizerConfig, train: list[str], held_out: list[str], rounds: int) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        train_tokenizer(train, config, folder)
        learning = time.perf_counter() - start
        tokenizer = load_tokenizer(folder)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            for first in range(0, len(held_out), 1000):
                encode(folder, held_out[first : first + 1000])
            seconds.append(time.perf_counter() - start)
        ids, spelling = encode(folder, held_out)
        known, _ = encode(folder, train)
    tokens, size = np.concatenate(ids), sum(len(text.encode()) for text in held_out)
    counts = np.bincount(np.concatenate(known), minlength=tokenizer.get_vocab_size())
    log_p = np.log((counts + 1) / (counts.sum() + len(counts)))
    unknown = unknown_id(tokenizer)
    return {
        "vocab": tokenizer.get_vocab_size(),
        "learn_seconds": round(learning, 1),
        "tokens_per_byte": round(len(tokens) / size, 4),
        "unknown_percent": 0.0 if unknown is None else round(100 * float((tokens == unknown).mean()), 3),
        "encode_mb_per_second": round(size / 1e6 / statistics.median(seconds), 1),
        "unigram_bits_per_byte": round((spelling - float(log_p[tokens].sum())) / math.log(2) / size, 3),
        "of_it_spelling": round(spelling / math.log(2) / size, 3),
        "fixed_bytes": has_fixed_bytes(tokenizer) and int(token_byte_lengths(tokenizer)[tokens].sum()) == size,
    }


def library_wordpiece(texts: list[str], vocab_size: int) -> Tokenizer:
    """The library's own trainer at our settings."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def library_unigram(texts: list[str], vocab_size: int) -> Tokenizer:
    """The same; it has no bytes, so that the vocabulary is asked for without them."""
    ours = UnigramConfig(kind="unigram")
    tokenizer = Tokenizer(models.Unigram())
    pattern = pre_token_pattern(ours.max_word_length, ours.max_unsegmented_length)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - 257, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def compare(kind: str, train: list[str], held_out: list[str], rounds: int, vocab_size: int) -> dict[str, Any]:
    """Seconds to learn and tokens per byte, ours and the library's, in turn."""
    size = sum(len(text.encode()) for text in held_out)
    ours, theirs = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            start = time.perf_counter()
            train_tokenizer(train, parse_tokenizer_config({"kind": kind, "vocab_size": vocab_size}), Path(name))
            ours.append(time.perf_counter() - start)
            tokenizer = load_tokenizer(Path(name))
            own = sum(map(len, encode_documents(tokenizer, held_out)))
        start = time.perf_counter()
        library = {"wordpiece": library_wordpiece, "unigram": library_unigram}[kind](train, vocab_size)
        theirs.append(time.perf_counter() - start)
        other = sum(len(e.ids) for e in library.encode_batch_fast(held_out, add_special_tokens=False))
    return {
        "seconds": round(statistics.median(ours), 2),
        "library_seconds": round(statistics.median(theirs), 2),
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 2),
        "tokens_per_byte": round(own / size, 4),
        "library_tokens_per_byte": round(other / size, 4),
        "pieces": tokenizer.get_vocab_size(),
        "library_pieces": library.get_vocab_size(),
        "in_common": len(tokenizer.get_vocab().keys() & library.get_vocab().keys()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=float, default=20.0, help="MB to learn from")
    parser.add_argument("--held-out", type=float, default=4.0, help="MB to encode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--languages", nargs="*", default=["en", "zh"])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="none: only the peers")
    parser.add_argument("--peers", action="store_true", help="also the trainers of the tokenizers library")
    parser.add_argument("--peer-train", type=float, default=2.0, help="MB that these learn from")
    options = parser.parse_args()
    for language in options.languages:
        peers, held_out, train = sample(language, [options.peer_train, options.held_out, options.train])
        for name in options.kinds:
            config = parse_tokenizer_config({**KINDS[name], "vocab_size": options.vocab_size})
            row = measure(config, train, held_out, options.rounds)
            print(json.dumps({"language": language, "kind": name, **row}), flush=True)
        for kind in ("wordpiece", "unigram") if options.peers else ():
            row = compare(kind, peers, held_out, options.rounds, options.vocab_size)
            print(json.dumps({"language": language, "peer": f"tokenizers {kind}", **row}), flush=True)


if __name__ == "__main__":
    main()
