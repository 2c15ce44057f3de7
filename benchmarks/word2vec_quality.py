"""Are our word vectors as good as gensim's? `python -m benchmarks.word2vec_quality --gensim PYTHON --work DIR`.

Both train on the same English text below TEXTMILL_DATA with equal settings and several seeds each. All vectors are
asked the same by the same code: WordSim-353 and SimLex-999 (Spearman), analogies (share of right answers), from
TEXTMILL_DATA/labelled. Printed for each: means, standard deviations, the difference with its 90 % interval, and whether
that lies within gensim's own range from seed to seed, which is a test of equivalence (TOST) at 5 %. Models that are in
DIR already are not trained again. Last, gensim reads our two files of vectors and we read its.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from benchmarks.word2vec_text import gensim, gensim_settings, write_text
from lm.evaluate.similarity import agreement, analogy_accuracy, read_analogies, read_pairs
from lm.interop.word2vec import read_word2vec, write_binary
from lm.interop.word2vec import write_text as write_vectors
from lm.vectors.artifact import load_vectors
from lm.vectors.config import Word2VecConfig
from lm.vectors.neighbours import WordVectors
from lm.vectors.train import train_vectors


def figures(vectors: WordVectors, labelled: Path) -> dict[str, float]:
    """What people's lists say of vectors."""
    right, asked = analogy_accuracy(vectors, read_analogies(labelled / "questions-words.txt"))["total"]
    return {
        "wordsim353": agreement(vectors, read_pairs(labelled / "wordsim353.tsv")).spearman,
        "simlex999": agreement(vectors, read_pairs(labelled / "simlex999.txt")).spearman,
        "analogies": right / asked,
    }


def compare(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Means, spreads, and the interval of their difference (Welch)."""
    a, b = (statistics.variance(values) / len(values) for values in (ours, theirs))
    difference = statistics.mean(ours) - statistics.mean(theirs)
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    half = float(student.ppf(0.95, freedom)) * (a + b) ** 0.5
    margin = max(theirs) - min(theirs)
    return {
        "ours": round(statistics.mean(ours), 4),
        "ours_sd": round(statistics.stdev(ours), 4),
        "gensim": round(statistics.mean(theirs), 4),
        "gensim_sd": round(statistics.stdev(theirs), 4),
        "gensim_range": round(margin, 4),
        "difference": round(difference, 4),
        "interval_90": [round(difference - half, 4), round(difference + half, 4)],
        "equivalent_or_better": difference - half > -margin,
        "equivalent": abs(difference) + half < margin,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gensim", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--words", type=int, default=3_000_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--architecture", default="skipgram")
    parser.add_argument("--output", default="negative_sampling")
    parser.add_argument("--systems", nargs="*", default=["ours", "gensim"], help="which are trained, where missing")
    parser.add_argument("--initial-span", type=float, default=1.0, help="of ours; gensim's is 1")
    parser.add_argument("--gensim-workers", type=int, default=1)
    options = parser.parse_args()
    labelled = Path(os.environ["TEXTMILL_DATA"]) / "labelled/word_similarity"
    options.work.mkdir(parents=True, exist_ok=True)
    text = options.work / "text"
    if not text.exists():
        print(json.dumps({"words": write_text(text, options.words)}), flush=True)
    form = f"{options.architecture}-{options.output}"
    found: dict[str, list[dict[str, float]]] = {"ours": [], "gensim": []}
    for seed in range(1, options.seeds + 1):
        for system, train in (("ours", train_ours), ("gensim", train_gensim)):
            result = options.work / f"{form}-{system}-{seed}.json"
            if system not in options.systems:
                continue
            if not result.exists():
                vectors = train(options, text, seed, options.work / f"{form}-{system}-{seed}")
                result.write_text(json.dumps(figures(vectors, labelled)))
            found[system].append(json.loads(result.read_text()))
            print(json.dumps({"form": form, "system": system, "seed": seed, **found[system][-1]}), flush=True)
    if options.seeds < 2 or len(options.systems) < 2:
        return
    for name in found["ours"][0]:
        rows = [[each[name] for each in found[system]] for system in ("ours", "gensim")]
        print(json.dumps({"form": form, "figure": name, **compare(*rows)}), flush=True)
    exchange(options, options.work / f"{form}-ours-1", options.work)


def train_ours(options: argparse.Namespace, text: Path, seed: int, folder: Path) -> WordVectors:
    config = Word2VecConfig(
        kind="word2vec",
        architecture=options.architecture,
        output=options.output,
        epochs=options.epochs,
        seed=seed,
        initial_span=options.initial_span,
    )
    with text.open(encoding="utf-8") as lines:
        train_vectors(lines, None, config, folder.with_name(f"{folder.name}-scratch"), folder)
    return load_vectors(folder)


def train_gensim(options: argparse.Namespace, text: Path, seed: int, folder: Path) -> WordVectors:
    settings = gensim_settings(options.architecture, options.output, 100)
    given = {"text": str(text), "seed": seed, "workers": options.gensim_workers, "epochs": options.epochs}
    gensim(options.gensim, **given, settings=settings, save=f"{folder}.bin")
    return read_word2vec(Path(f"{folder}.bin"), binary=True)


def exchange(options: argparse.Namespace, folder: Path, work: Path) -> None:
    """gensim reads our files as we read them."""
    vectors = load_vectors(folder)
    for binary, write in ((False, write_vectors), (True, write_binary)):
        path = work / f"exchanged.{'bin' if binary else 'txt'}"
        write(vectors, path)
        theirs = gensim(options.gensim, load=str(path), binary=binary, word="water")
        ours = read_word2vec(path, binary=binary).neighbours("water", 5)
        same = [w for w, _ in theirs] == [w for w, _ in ours]
        print(json.dumps({"exchanged": path.name, "gensim": theirs, "same": same}), flush=True)


if __name__ == "__main__":
    main()
