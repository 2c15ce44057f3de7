"""A small corpus, and what nltk.lm and KenLM's lmplz say about it.

`python -m tests.lm.ngram_oracle LMPLZ` writes their answers anew, with an interpreter that has nltk 3.10 and kenlm 0.3;
tests read the file, so that they need neither.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ORACLE = Path(__file__).with_name("ngram_oracle.json")
STEMS = ["the", "a", "of", "model", "语言", "模型", "gram", "data", "café", "text", "λ", "count"]


def sentences(count: int = 220, seed: int = 0) -> list[list[str]]:
    """Sentences over a few hundred words, frequent ones and singletons, that tend to repeat what came before."""
    draw = random.Random(seed)
    words = [f"{STEMS[i % len(STEMS)]}{i // len(STEMS) or ''}" for i in range(300)]
    made: list[list[str]] = []
    for _ in range(count):
        sentence = [words[min(299, int(draw.paretovariate(0.7)) - 1)] for _ in range(draw.choice([1, 3, 6, 12]))]
        if made and draw.random() < 0.4:
            sentence += draw.choice(made)[:5]
        made.append(sentence)
    # lmplz 0.3 mistakes the count of the last n-gram of each order unless it is 1.
    return [*made, [], ["the", "singleton"]]


def events(n: int) -> Iterator[tuple[str, ...]]:
    """The n-grams of orders 1 to n that end at each predicted word, `</s>` included."""
    for sentence in sentences():
        padded = ["<s>", *sentence, "</s>"]
        for end in range(1, len(padded)):
            for length in range(1, min(n, end + 1) + 1):
                yield tuple(padded[end - length + 1 : end + 1])


def from_nltk(order: int = 3) -> dict[str, list[Any]]:
    """[context, word, p] under three models, contexts seen and unseen."""
    from nltk.lm import MLE, AbsoluteDiscountingInterpolated, Lidstone

    vocabulary = sorted({word for sentence in sentences() for word in sentence})
    draw = random.Random(1)
    grams = [gram for gram in sorted(set(events(order))) if len(gram) == order or (len(gram) == 2 and gram[0] == "<s>")]
    asked = [(list(gram[:-1]), gram[-1]) for gram in draw.sample(grams, 60)]
    asked += [(list(draw.choice(grams)[:-1]), draw.choice(vocabulary)) for _ in range(60)]
    asked += [([draw.choice(vocabulary) for _ in range(2)], draw.choice(vocabulary)) for _ in range(30)]
    models = {
        "mle": MLE(order),
        "lidstone": Lidstone(0.1, order),
        "absolute": AbsoluteDiscountingInterpolated(order, 0.75),
    }
    answers = {}
    for name, model in models.items():
        # Without `<s>`, which is never predicted, V is ours; nltk maps it to its unknown word in contexts and counts.
        model.fit([list(events(order))], [*vocabulary, "</s>"])
        answers[name] = [[context, word, model.score(word, context)] for context, word in asked]
    return answers


def from_lmplz(lmplz: str, order: int = 4) -> dict[str, Any]:
    """Every third line of its ARPA files, the sizes of the orders, and log10 p of sentences by the kenlm module."""
    import kenlm

    found = {}
    text = "".join(" ".join(sentence) + "\n" for sentence in sentences())
    for name, options in {"whole": [], "pruned": ["--prune", "0", "0", "1"], "trigram": []}.items():
        n = 3 if name == "trigram" else order
        with tempfile.TemporaryDirectory() as folder:
            arpa = Path(folder) / "model.arpa"
            command = [
                lmplz,
                "-o",
                str(n),
                "-S",
                "10%",
                "-T",
                folder,
                "--discount_fallback",
                *options,
                "--arpa",
                str(arpa),
            ]
            subprocess.run(command, input=text.encode(), check=True, stderr=subprocess.DEVNULL)
            lines = arpa.read_text().split("\n")
            model = kenlm.Model(str(arpa))
        sizes = [int(line.split("=")[1]) for line in lines if line.startswith("ngram ")]
        grams = [line.split("\t") for line in lines if line.count("\t")]
        asked = [*sentences()[::20], ["the", "unheard", "of"], ["of", "a", "of", "语言"]]
        found[name] = {
            "sizes": sizes,
            "lines": [
                [float(g[0]), g[1], float(g[2]) if len(g) > 2 else None] for g in itertools.islice(grams, 0, None, 3)
            ],
            "sentences": [[" ".join(s), model.score(" ".join(s))] for s in asked],
        }
    return found


if __name__ == "__main__":
    ORACLE.write_text(json.dumps({"nltk": from_nltk(), "lmplz": from_lmplz(sys.argv[1])}, ensure_ascii=False) + "\n")
