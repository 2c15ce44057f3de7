"""Are the vectors of a pseudo-word's two senses told apart? Occurrences, and purities, for `benchmarks.word_senses`."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

SIDE = 32
"""Words on either side that an occurrence is read with."""
OFTEN, NEIGHBOURS = 40, 5
Senses = dict[str, tuple[str, int]]
"""Of a word, the pseudo-word that it becomes, and which of its senses it is."""
Reader = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""Windows of words, int64 [n, 2 SIDE], and a place in each, int64 [n] -> vectors [n, width] by name."""


def occurrences(
    documents: list[list[str]], senses: Senses, rng: np.random.Generator
) -> dict[str, list[tuple[int, int, int]]]:
    """For each pseudo-word, (document, place, sense) of occurrences, as many of either sense, `OFTEN` at most, no
    document twice for one sense."""
    found: dict[str, dict[int, dict[int, list[int]]]] = defaultdict(lambda: {0: {}, 1: {}})
    for number, document in enumerate(documents):
        if len(document) <= 2 * SIDE:
            continue
        for place, word in enumerate(document):
            if word in senses:
                pseudo, sense = senses[word]
                found[pseudo][sense].setdefault(number, []).append(place)
    chosen = {}
    for pseudo, by_sense in found.items():
        count = min(OFTEN, *(len(documents) for documents in by_sense.values()))
        rows = []
        for sense, by_document in by_sense.items():
            for number in rng.permutation(sorted(by_document))[:count]:
                rows.append((int(number), int(rng.choice(by_document[int(number)])), sense))
        chosen[pseudo] = rows
    return chosen


def windows(ids: list[np.ndarray], rows: list[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """The words around occurrences, int64 [n, 2 SIDE], and where in them each stands, int64 [n]."""
    found, places = [], []
    for number, place, _ in rows:
        begin = min(max(0, place - SIDE), len(ids[number]) - 2 * SIDE)
        found.append(ids[number][begin : begin + 2 * SIDE])
        places.append(place - begin)
    return torch.from_numpy(np.stack(found)), torch.tensor(places)


def neighbours(vectors: Tensor, places: Tensor) -> Tensor:
    """The mean of the vectors [n, time, width] around a place of each: [n, width]."""
    around = torch.tensor([i for i in range(-NEIGHBOURS, NEIGHBOURS + 1) if i], device=places.device)
    columns = (places[:, None] + around).clamp(0, vectors.shape[1] - 1)
    return vectors[torch.arange(len(places), device=places.device)[:, None], columns].mean(1)


def nearest_purity(vectors: np.ndarray, senses: np.ndarray, documents: np.ndarray) -> float:
    """Share of occurrences whose nearest other one (cosine), in another document, has the same sense."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    likeness[documents[:, None] == documents[None]] = -np.inf
    ties = likeness >= likeness.max(1, keepdims=True) - 1e-6
    same = senses[:, None] == senses[None]
    return float(((ties & same).sum(1) / ties.sum(1)).mean())


def cluster_purity(vectors: np.ndarray, senses: np.ndarray) -> float:
    """Share of occurrences in a cluster of mostly their sense, of two clusters of unit vectors."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(np.unique(unit.round(5), axis=0)) < 2:
        return float(max((senses == 0).mean(), (senses == 1).mean()))
    cluster = KMeans(2, n_init=10, random_state=0).fit_predict(unit)
    return sum(np.bincount(senses[cluster == c], minlength=2).max() for c in (0, 1)) / len(senses)


@torch.no_grad()
def told_apart(
    reader: Reader, device: torch.device, documents: list[list[str]], ids: list[np.ndarray], senses: Senses
) -> list[dict[str, Any]]:
    """For each kind of vector the mean purities over the pseudo-words, the standard error and the worst of 1-NN."""
    chosen = occurrences(documents, senses, np.random.default_rng(0))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for rows in chosen.values():
        labels, numbers = np.array([s for *_, s in rows]), np.array([n for n, *_ in rows])
        tokens, places = windows(ids, rows)
        for name, vectors in reader(tokens.to(device), places.to(device)).items():
            plain = vectors.float().cpu().numpy()
            variants = {name: plain}
            if (plain != plain[0]).any():
                variants[f"{name}, standardised"] = (plain - plain.mean(0)) / (plain.std(0) + 1e-6)
            for kind, read in variants.items():
                found[kind].append((nearest_purity(read, labels, numbers), cluster_purity(read, labels)))
    often = [len(rows) for rows in chosen.values()]
    lines: list[dict[str, Any]] = [{"pseudo-words": len(chosen), "occurrences": [min(often), max(often)]}]
    for name, pairs in found.items():
        nearest, clusters = np.array(pairs).T
        line = {"vectors": name, "1-NN": round(float(nearest.mean()), 4), "k-means": round(float(clusters.mean()), 4)}
        line["standard error"] = round(float(nearest.std(ddof=1) / np.sqrt(len(nearest))), 4)
        line["pseudo-words at 0.9"] = int((nearest >= 0.9).sum())
        lines.append({**line, "worst": round(float(nearest.min()), 3)})
    return lines
