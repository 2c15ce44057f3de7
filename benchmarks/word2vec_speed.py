"""word2vec against gensim 4.4: `python -m benchmarks.word2vec_speed --gensim PYTHON [--words 3_000_000] [--rounds 5]`.

The text is English below TEXTMILL_DATA, lower-case words, a document a line. Both systems train one epoch with equal
settings (100 dimensions, window 5, 5 negatives, sample 1e-3), in turn, and say words of the text a second: in time that
has passed and in time of the processors, which a busy machine changes less. Reading the text and the vocabulary is
measured apart. PYTHON is an interpreter that has gensim.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.word2vec_text import gensim, gensim_settings, write_text
from lm.vectors.config import Word2VecConfig
from lm.vectors.corpus import corpus_of_words
from lm.vectors.loop import ChunkRun
from lm.vectors.word2vec import Word2Vec


def ours(text: Path, scratch: Path, config: Word2VecConfig) -> dict[str, float]:
    """Seconds of the vocabulary and of training."""
    start = time.perf_counter()
    with text.open(encoding="utf-8") as lines:
        corpus = corpus_of_words(lines, config.min_count, scratch)
    vocabulary = time.perf_counter() - start
    model = Word2Vec(corpus, config)
    run = ChunkRun(
        train=model.step,
        arrays=model.arrays,
        sizes=model.sizes,
        epochs=config.epochs,
        identity={},
        directory=scratch / "checkpoints",
        rate=model.rate,
        threads=config.lock_free_threads,
        checkpoint_seconds=0,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    run.run()
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "words": float(len(model.inputs))}
    return {"vocabulary_seconds": vocabulary, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gensim", required=True)
    parser.add_argument("--words", type=int, default=3_000_000)
    parser.add_argument("--dimensions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--architectures", nargs="*", default=["skipgram", "cbow"])
    parser.add_argument("--outputs", nargs="*", default=["negative_sampling"])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        text = Path(name) / "text"
        words = write_text(text, options.words)
        print(json.dumps({"words": words, "load": os.getloadavg()[0]}), flush=True)
        for architecture in options.architectures:
            for output in options.outputs:
                for threads in options.threads:
                    measure(options, text, words, architecture, output, threads)


def measure(options: argparse.Namespace, text: Path, words: int, architecture: Any, output: Any, threads: int) -> None:
    """Both systems in turn; medians, and the medians of the ratios within the rounds."""
    config = Word2VecConfig(
        kind="word2vec",
        architecture=architecture,
        output=output,
        dimensions=options.dimensions,
        epochs=1,
        lock_free_threads=threads,
    )
    settings = gensim_settings(architecture, output, options.dimensions)
    rounds: list[tuple[dict[str, float], dict[str, float]]] = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            mine = ours(text, Path(scratch), config)
        theirs = gensim(options.gensim, text=str(text), seed=number, workers=threads, epochs=1, settings=settings)
        rounds.append((mine, theirs))
    row: dict[str, Any] = {"architecture": architecture, "output": output, "threads": threads}
    for measured in ("seconds", "cpu", "vocabulary_seconds"):
        mine, theirs = ([each[side][measured] for each in rounds] for side in (0, 1))
        ratios = [t / m for m, t in zip(mine, theirs, strict=True)]
        row[measured] = {
            "ours_words_per_s": round(words / statistics.median(mine)),
            "gensim_words_per_s": round(words / statistics.median(theirs)),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(r, 2) for r in ratios],
        }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
