"""What word vectors of the development corpora know: `python -m benchmarks.word2vec_neighbours --corpus corpus_zh`.

Trains on the words of a corpus below TEXTMILL_DATA, cut as the data rules cut them (English as spaCy, Chinese as
jieba), lower-case, marks and numbers left out, and prints the nearest words of some and the answers to some analogies;
for English also the figures of people's lists. --set NAME=VALUE changes a setting of the model, --every N takes every
N-th document.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.documents import read_documents
from data_quality.words import split_words
from lm.evaluate.similarity import agreement, analogy_accuracy, read_analogies, read_pairs
from lm.vectors.artifact import load_vectors
from lm.vectors.config import parse_vectors_config
from lm.vectors.neighbours import UnknownWord
from lm.vectors.train import train_vectors

ASKED = {
    "corpus_en": "king god love water computer kernel december london president file small quickly",
    "corpus_zh": "北京 中国 经济 明月 酒 内核 文件 服务员 房间 总理 春风 孔子",
}
ANALOGIES = {
    "corpus_en": "man woman king; day days year; small smaller large; is was has; he his she; good better bad",
    "corpus_zh": "男人 女人 父亲; 北京 中国 东京; 春 花 秋; 日本 日本人 美国",
}


def lines(corpus: str, every: int) -> Iterator[str]:
    """A document a line, its words with spaces between."""
    language = corpus.removeprefix("corpus_")
    for number, document in enumerate(read_documents(corpus)):
        if number % every == 0:
            words = [word for word in split_words(document.text.lower(), language) if word.isalpha()]
            if words:
                yield " ".join(words) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="corpus_en", choices=list(ASKED))
    parser.add_argument("--kind", default="word2vec", choices=["word2vec", "glove"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--model", type=Path, help="keep the model in this folder, or ask the one that is there")
    options = parser.parse_args()
    settings = {name: yaml.safe_load(value) for name, _, value in (given.partition("=") for given in options.set)}
    config = parse_vectors_config({"kind": options.kind, **settings})
    with tempfile.TemporaryDirectory() as name:
        folder = options.model or Path(name) / "model"
        if not (folder / "config.json").exists():
            text = Path(name) / "text"
            text.write_text("".join(lines(options.corpus, options.every)), encoding="utf-8")
            start = time.perf_counter()
            with text.open(encoding="utf-8") as words:
                described = train_vectors(words, None, config, Path(name) / "scratch", folder)
            names = ("words", "tokens", "losses", "losses_at_rest")
            shown = {key: described[key] for key in names if key in described}
            print(json.dumps({**shown, "seconds": round(time.perf_counter() - start, 1)}), flush=True)
        vectors = load_vectors(folder)
    for word in ASKED[options.corpus].split():
        try:
            print(f"{word}: {' '.join(found for found, _ in vectors.neighbours(word, 8))}")
        except UnknownWord as error:
            print(error)
    for question in ANALOGIES[options.corpus].split(";"):
        a, b, c = question.split()
        try:
            print(f"{a} : {b} = {c} : {' '.join(found for found, _ in vectors.analogy(a, b, c, 4))}")
        except UnknownWord as error:
            print(error)
    if options.corpus == "corpus_en":
        labelled = Path(os.environ["TEXTMILL_DATA"]) / "labelled/word_similarity"
        for name in ("wordsim353.tsv", "simlex999.txt"):
            print(name, agreement(vectors, read_pairs(labelled / name)))
        print("analogies", analogy_accuracy(vectors, read_analogies(labelled / "questions-words.txt")))


if __name__ == "__main__":
    main()
