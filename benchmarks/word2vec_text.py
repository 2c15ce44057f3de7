"""The text that both systems read, and gensim in an environment of its own."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.documents import read_documents

GENSIM = """
import json, sys, time
from gensim.models import KeyedVectors, Word2Vec
from gensim.models.word2vec import LineSentence
given = json.loads(sys.argv[1])
if "load" in given:
    wv = KeyedVectors.load_word2vec_format(given["load"], binary=given["binary"])
    print("RESULT", json.dumps([[w, float(s)] for w, s in wv.most_similar(given["word"], topn=5)]))
    raise SystemExit
sentences = list(LineSentence(given["text"]))
model = Word2Vec(seed=given["seed"], workers=given["workers"], **given["settings"])
wall, cpu = time.perf_counter(), time.process_time()
model.build_vocab(sentences)
vocabulary = time.perf_counter() - wall
wall, cpu = time.perf_counter(), time.process_time()
# by words, as the released program: by sentences the rate would fall faster where documents are short
model.train(sentences, total_words=model.corpus_total_words, epochs=given["epochs"])
found = {"vocabulary_seconds": vocabulary, "seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
         "words": len(model.wv)}
if given.get("save"):
    model.wv.save_word2vec_format(given["save"], binary=True)
print("RESULT", json.dumps(found))
"""


def write_text(path: Path, words: int, corpus: str = "corpus_en") -> int:
    """Lower-case words of letters, a document a line, from documents all over the corpus; returns how many words."""
    whole = [re.findall(r"[a-z]+", document.text.lower()) for document in read_documents(corpus)]
    every = max(1, round(sum(map(len, whole)) / words))
    chosen = [document for document in whole[::every] if document]
    path.write_text("".join(" ".join(document) + "\n" for document in chosen), encoding="utf-8")
    return sum(map(len, chosen))


def gensim(python: str, **given: Any) -> Any:
    """What gensim's process says."""
    command = [python, "-c", GENSIM, json.dumps(given)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.split("RESULT ")[1])


def gensim_settings(architecture: str, output: str, dimensions: int) -> dict[str, Any]:
    """Our defaults in gensim's words."""
    return {
        "vector_size": dimensions,
        "window": 5,
        "min_count": 5,
        "sample": 1e-3,
        "sg": int(architecture == "skipgram"),
        "hs": int(output == "hierarchical_softmax"),
        "negative": 0 if output == "hierarchical_softmax" else 5,
        "alpha": 0.025,
        "min_alpha": 1e-4,
    }
