"""What else an ELMo of words knows: parts of speech by layer, and words that it never saw; all on the CPU."""

import gzip
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lm.characters import boundary_characters, character_ids
from lm.models.elmo import ELMo


@torch.no_grad()
def unseen_words(model: ELMo, words: list[str], documents: list[list[str]], count: int = 8) -> dict[str, Any]:
    """The nearest words of the vocabulary of long words that are not in it, by their characters alone."""
    known = set(words)
    others = Counter(w for document in documents for w in document if w not in known and len(w) > 8 and w.isalpha())
    chosen = [word for word, _ in others.most_common(count)]
    table = model.token_vectors(torch.arange(2, len(words))[None])[0]
    vectors = model.word_vectors(torch.from_numpy(character_ids(chosen, model.config.characters))[None])[0]
    likeness = torch.nn.functional.normalize(vectors, dim=-1) @ torch.nn.functional.normalize(table, dim=-1).T
    near = {w: [words[2 + i] for i in row] for w, row in zip(chosen, likeness.topk(3).indices.tolist(), strict=True)}
    return {"never seen, and its neighbours": near}


def conll(name: str, limit: int) -> list[tuple[list[str], list[str]]]:
    """Sentences in lower-case words, and their tags."""
    path = Path(os.environ["TEXTMILL_DATA"]) / f"labelled/ner_en/conll2003/{name}.conll.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        blocks = [block.splitlines() for block in file.read().split("\n\n")]
    sentences = [[line.split(" ")[:2] for line in block if line] for block in blocks if block and block[0][:1] != "-"]
    return [([w.lower() for w, _ in s], [t for _, t in s]) for s in sentences if s][:limit]


@torch.no_grad()
def tagged_vectors(model: ELMo, sentences: list[tuple[list[str], list[str]]]) -> tuple[list[np.ndarray], list[str]]:
    """Of each layer, the vectors of all words in a row; and the tags."""
    length = model.config.characters
    edge = boundary_characters(length)[None]
    parts = []
    for words, _ in sentences:
        rows = np.concatenate([edge, character_ids(words, length), edge])
        parts.append(model.contextual(model.word_vectors(torch.from_numpy(rows)[None]))[:, 0, 1:-1])
    return [layer.numpy() for layer in torch.cat(parts, 1)], [tag for _, tags in sentences for tag in tags]


def parts_of_speech(model: ELMo) -> Iterator[dict[str, Any]]:
    """What a softmax regression makes of each layer."""
    train, test = conll("train", 1200), conll("dev", 800)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in train:
        for word, tag in zip(words, tags, strict=True):
            seen[word][tag] += 1
    most = Counter(tag for _, tags in train for tag in tags).most_common(1)[0][0]
    pairs = [(w, t) for words, tags in test for w, t in zip(words, tags, strict=True)]
    right = [(seen[w].most_common(1)[0][0] if w in seen else most) == t for w, t in pairs]
    unseen = np.array([w not in seen for w, _ in pairs])
    line = {"tags": "most frequent of the word", "accuracy": round(float(np.mean(right)), 4)}
    yield {**line, "words": len(pairs), "unseen": int(unseen.sum())}
    (layers, tags), (test_layers, test_tags) = tagged_vectors(model, train), tagged_vectors(model, test)
    for number, (vectors, others) in enumerate(zip(layers, test_layers, strict=True)):
        scale = StandardScaler().fit(vectors)
        probe = LogisticRegression(C=0.1, max_iter=100, tol=1e-3).fit(scale.transform(vectors), tags)
        hit = probe.predict(scale.transform(others)) == np.array(test_tags)
        line = {"tags": f"layer {number}", "accuracy": round(float(hit.mean()), 4)}
        yield {**line, "on unseen words": round(float(hit[unseen].mean()), 4)}
