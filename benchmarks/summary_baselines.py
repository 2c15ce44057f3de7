"""ROUGE-L of what needs no model on a set of docstrings and their first lines: the first sentence of the body, its
first words, the name of the function.

    python -m benchmarks.summary_baselines FOLDER [--split test]

FOLDER is what `textmill task check configs/tasks/summarise-docs.yaml` makes. With the package `rouge-score` beside,
each value is compared with its.
"""

import argparse
import importlib.util
import re
from pathlib import Path

from lm.evaluate.rouge import corpus_rouge_l, rouge_l
from lm.evaluate.translation import corpus_scores
from lm.labelled.folder import LabelledSet

_SENTENCE = re.compile(r"(?<=[.!?])\s")
_WORDS_IN_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
MEAN_WORDS = 8


def name_of(id: str) -> str:
    """`pkg.module.Class.some_name:12` as "some name"."""
    return " ".join(_WORDS_IN_NAME.findall(id.rpartition(":")[0].rpartition(".")[2])).lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    given = parser.parse_args()
    rows = LabelledSet(given.folder).read(given.split).to_pylist()
    targets = [row["target"] for row in rows]
    bodies = [" ".join(row["source"].split()) for row in rows]
    answers = {
        "first sentence of the body": [_SENTENCE.split(body, maxsplit=1)[0] for body in bodies],
        f"first {MEAN_WORDS} words of the body": [" ".join(body.split()[:MEAN_WORDS]) for body in bodies],
        "name": [name_of(row["id"]) for row in rows],
    }
    words = sorted(len(target.split()) for target in targets)
    print(f"{len(rows):,} examples, {words[len(words) // 2]} words in the median target")
    for name, texts in answers.items():
        scores = corpus_scores(texts, targets)
        print(f"{name}: ROUGE-L {corpus_rouge_l(texts, targets):.1f}, BLEU {scores['bleu']:.1f}, ", end="")
        print(f"chrF {scores['chrf']:.1f}")
    if importlib.util.find_spec("rouge_score"):
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=False)
        pairs = [(text, target) for texts in answers.values() for text, target in zip(texts, targets, strict=True)]
        plain = [(text, target) for text, target in pairs if (text + target).isascii()]
        off = max(abs(rouge_l(a, b) - scorer.score(b, a)["rougeL"].fmeasure) for a, b in plain)
        print(f"rouge-score on {len(plain):,} ASCII pairs of {len(pairs):,}: {off:.1e} apart at most")


if __name__ == "__main__":
    main()
