"""Scoring with an n-gram model: `python -m benchmarks.ngram_query [--megabytes 60]`.

The English corpus below TEXTMILL_DATA, every 20th document held out; a tokenizer of 8,192 is learned from the rest and
models of its tokens are built from the rest. Printed are bits per byte of the held-out documents (each from its
beginning, `<|endoftext|>` not counted) for every smoothing and order; tokens/s of one core in batch at order 5, on text
the model has seen and text it has not; and documents as the perplexity filter scores them, tokenizing included.
With --kenlm, an interpreter with the kenlm module, that scores the held-out sentences with the same model (ours,
written as an ARPA file), in words of tokens: tokens/s, and the largest difference of a document's log10 p.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from benchmarks.documents import read_documents
from lm.interop.arpa import write_arpa
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import NgramModel, load_ngram
from lm.ngram.score import NgramScorer
from lm.tokenizer import encode_documents, load_tokenizer, token_byte_lengths, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig

KENLM = """
import json, sys, time
import kenlm
model = kenlm.Model(sys.argv[1])
lines = open(sys.argv[2], encoding="utf-8").read().split("\\n")[:-1]
start = time.perf_counter()
scores = [model.score(line) for line in lines]
print("ANSWER " + json.dumps({"seconds": time.perf_counter() - start, "scores": scores}))
"""
SETTINGS: list[dict[str, object]] = [
    *({"order": n, "smoothing": "modified_kneser_ney"} for n in range(1, 7)),
    *({"order": 5, "smoothing": "modified_kneser_ney", "prune": prune} for prune in ((0, 0, 1), (0, 1, 2))),
    *({"order": 3, "smoothing": name} for name in ("kneser_ney", "absolute_discounting", "add_k", "mle")),
]


def corpus(megabytes: float) -> tuple[list[str], list[str]]:
    """Texts to learn from, and texts held out."""
    parts: tuple[list[str], list[str]] = ([], [])
    size = 0
    for number, document in enumerate(read_documents("corpus_en")):
        parts[number % 20 == 0].append(document.text)
        size += len(document.text)
        if size > megabytes * 1e6:
            break
    return parts


def batch(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """ids and offsets."""
    return np.concatenate(documents), np.concatenate([[0], np.cumsum([len(ids) for ids in documents])])


def bits_per_byte(model: NgramModel, documents: list[np.ndarray], lengths: np.ndarray) -> float:
    """Of whole documents; infinite where something has no probability."""
    ids, offsets = batch(documents)
    return float(-model.log_probs(ids, offsets).sum()) / math.log(2) / int(lengths[ids].sum())


def tokens_per_second(model: NgramModel, documents: list[np.ndarray], rounds: int) -> float:
    """Median of the rounds, one thread."""
    ids, offsets = batch(documents)
    seconds = []
    for _ in range(rounds + 1):  # the first brings the files into memory
        start = time.perf_counter()
        model.log_probs(ids, offsets)
        seconds.append(time.perf_counter() - start)
    return len(ids) / statistics.median(seconds[1:])


def against_kenlm(python: str, model: NgramModel, documents: list[np.ndarray], work: Path) -> dict[str, float]:
    """kenlm's tokens/s on our ARPA file, and how far its log10 p of a document is from ours at most."""
    write_arpa(model, work / "ours.arpa")
    tokenizer: Tokenizer = model.names
    lines = [" ".join(map(tokenizer.id_to_token, ids.tolist())) for ids in documents]
    (work / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [python, "-c", KENLM, str(work / "ours.arpa"), str(work / "lines")]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    answer = json.loads(output.split("ANSWER ")[1])
    ours = [model.sequence_log_prob(ids) / math.log(10) for ids in documents]
    worst = max(abs(a - b) / (1 + len(ids)) for a, b, ids in zip(ours, answer["scores"], documents, strict=True))
    tokens = sum(map(len, documents))
    return {"kenlm_tokens_per_second": tokens / answer["seconds"], "worst_log10_difference_per_token": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kenlm", help="a Python interpreter with the kenlm module")
    options = parser.parse_args()
    train, held_out = corpus(options.megabytes)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        train_tokenizer(train[::4], ByteBPEConfig(sample_bytes=10_000_000), work / "tokenizer")
        tokenizer = load_tokenizer(work / "tokenizer")
        seen, unseen = (encode_documents(tokenizer, texts) for texts in (train, held_out))
        print(json.dumps({"train_tokens": sum(map(len, seen)), "held_out_tokens": sum(map(len, unseen))}))
        lengths = token_byte_lengths(tokenizer)
        for number, setting in enumerate(SETTINGS):
            folder = work / f"model-{number}"
            start = time.perf_counter()
            build_ngram(seen, work / "tokenizer", NgramConfig(**setting), folder, threads=2)  # type: ignore[arg-type]
            seconds = time.perf_counter() - start
            model = load_ngram(folder)
            bits = bits_per_byte(model, unseen, lengths)
            print(json.dumps({**setting, "bits_per_byte": bits, "ngrams": model.described["ngrams"], "build": seconds}))
            if setting == SETTINGS[4]:
                measure(model, seen, unseen, held_out, options, work)
    print(json.dumps({"peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))


def measure(
    model: NgramModel,
    seen: list[np.ndarray],
    unseen: list[np.ndarray],
    texts: list[str],
    options: argparse.Namespace,
    work: Path,
) -> None:
    """The speed of the model of order 5."""
    for name, documents in {"seen": seen[: len(unseen)], "unseen": unseen}.items():
        speed = tokens_per_second(model, documents, options.rounds)
        print(json.dumps({"text": name, "tokens_per_second": speed}))
    scorer = NgramScorer(model)
    start = time.perf_counter()
    for text in texts:
        scorer(text)
    seconds = time.perf_counter() - start
    rate = {"tokens_per_second": sum(map(len, unseen)) / seconds, "mb_per_second": sum(map(len, texts)) / 1e6 / seconds}
    print(json.dumps({"filter": "one document at a time, tokenizing included", **rate}))
    if options.kenlm:
        print(json.dumps(against_kenlm(options.kenlm, model, unseen, work)))


if __name__ == "__main__":
    main()
