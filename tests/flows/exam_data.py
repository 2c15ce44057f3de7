"""Development data for the shipped exams, small, at the places below TEXTMILL_DATA where they look for it."""

import gzip
import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.config.loading import CONFIGS
from tests.lm.exam_models import PROSE

TOPICS = ("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM")
SENSES = (("man", "dog"), ("street", "water"), ("red", "blue"))
DOCS = f"""\
extends: {CONFIGS}/tasks/summarise-docs.yaml
train: {{packages: [ftfy]}}
valid: {{packages: [fsspec]}}
test: null
"""
"""The shipped task, of two small packages."""


def write_data(folder: Path) -> None:
    """All of it, into `folder`, and `docs.yaml` beside it."""
    labelled = folder / "labelled"
    rows = [{"sentence_good": text, "sentence_bad": text[::-1], "UID": "order", "field": "syntax"} for text in PROSE]
    records(labelled / "blimp/order.jsonl.zst", rows)
    words = sorted({word.strip(".,;") for text in PROSE for word in text.lower().split()})
    pairs = [f"{a}\t{b}\t{n}" for n, (a, b) in enumerate(pairwise(words))]
    for name in ("wordsim353.tsv", "simlex999.txt"):
        lines(labelled / "word_similarity" / name, pairs)
    lines(labelled / "word_similarity/questions-words.txt", [": all", "the a the a", "a the a the"])
    lines(labelled / "tinyshakespeare/input.txt", PROSE)

    draw, told = random.Random(5), [f"{text} Number {n}." for n, text in enumerate(PROSE * 4)]
    moods = [{"text": " ".join(draw.sample(words, 12)), "label": n % 2} for n in range(24)]
    for split, part in (("train", moods[:18]), ("dev", moods[18:])):
        records(labelled / f"sentiment_en/sst2/{split}.jsonl.zst", part)
    questions = [{"text": " ".join(draw.sample(words, 9)), "label_name": TOPICS[n % 6]} for n in range(60)]
    records(labelled / "topic_en/trec/train.jsonl.zst", questions)
    for name in ("mc160.train", "mc160.dev", "mc500.train", "mc500.dev"):
        stories = [
            {"id": f"{name}.{n}", "context": " ".join(draw.sample(words, 20)), "question": "Who?", "label": n % 4,
             "choices": ["a man", "a dog", "a ship", "nobody"]}
            for n in range(3)
        ]  # fmt: skip
        records(labelled / f"multiple_choice_en/mctest/{name}.jsonl.zst", stories)
    captions = [f"a {w} near the {s} today" for pair in SENSES for w, s in zip(pair, ("wall", "gate"), strict=True)] * 8
    for split, texts in (("train", captions), ("val", PROSE)):
        for language in ("en", "de"):
            lines(labelled / f"translation/multi30k/{split}.{language}.gz", [f"{language} {text}" for text in texts])
    for name, count in (("new_wiki", 40), ("amazon_reviews", 10)):
        contexts = [f"{n} {' '.join(draw.sample(words, 15))}" for n in range(count)]
        squad(labelled / f"qa_en/squad_shifts/{name}_v1.0.json.gz", name, contexts)
    for split, count in (("train", 8), ("val", 6)):
        alike = [f"{n % 5}\t{' '.join(draw.sample(words, 6))}\t{' '.join(draw.sample(words, 6))}" for n in range(count)]
        lines(labelled / f"similarity_en/semeval_sts/{split}.tsv.gz", alike)
    for split, at in (("train", 0), ("dev", 3)):
        tagged = [
            "\n".join(f"{word} {'NNP X I-PER' if word[0].isupper() else 'NN X O'}" for word in text.split()) + "\n"
            for text in told[at::6] + told[at + 1 :: 6]
        ]
        lines(labelled / f"ner_en/conll2003/{split}.conll.gz", tagged)
    (folder / "docs.yaml").write_text(DOCS, encoding="utf-8")


def lines(path: Path, texts: Sequence[str]) -> None:
    """A text a line, packed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = ("\n".join(texts) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def records(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line, by zstd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def squad(path: Path, name: str, contexts: Sequence[str]) -> None:
    """SQuAD 1.1's JSON: what is the third word of each context?"""
    path.parent.mkdir(parents=True, exist_ok=True)
    paragraphs = []
    for n, context in enumerate(contexts):
        word = context.split()[2]
        answers = [{"text": word, "answer_start": context.index(f" {word}") + 1}]
        paragraphs.append({"context": context, "qas": [{"id": f"{name}-{n}", "question": "Who?", "answers": answers}]})
    path.write_bytes(gzip.compress(json.dumps({"data": [{"title": name, "paragraphs": paragraphs}]}).encode()))
