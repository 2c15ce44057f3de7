"""Word similarity and analogies as tables of decisions, so that two sets of vectors can be compared item by item."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lm.evaluate.decisions import Figure, correlation, decisions_table
from lm.evaluate.metrics_labels import rank_distances, spearman
from lm.evaluate.similarity import folded_rows
from lm.vectors.neighbours import WordVectors


def similarity_rows(vectors: WordVectors, lists: Sequence[tuple[str, Sequence[tuple[str, str, float]]]]) -> pa.Table:
    """A row for each pair of words that both have vectors, by list: cosine and what people said. `score` is less the
    distance of the two ranks, in shares of all ranks."""
    rows = folded_rows(vectors, len(vectors))
    found: list[dict[str, object]] = []
    for name, pairs in lists:
        known = [(n, x, y, s) for n, (x, y, s) in enumerate(pairs) if x.lower() in rows and y.lower() in rows]
        places = np.array([[rows[x.lower()], rows[y.lower()]] for _, x, y, _ in known]).reshape(-1, 2)
        first, second = (vectors.directions[places[:, side]].astype(np.float64) for side in (0, 1))
        cosines = (first * second).sum(axis=1)
        human = np.array([score for *_, score in known], dtype=np.float64)
        distance = rank_distances(cosines, human)
        found += [
            {
                "id": f"{name}/{n}:{x}-{y}",
                "group": name,
                "score": -float(d),
                "cosine": float(c),
                "human": score,
            }
            for (n, x, y, score), c, d in zip(known, cosines, distance, strict=True)
        ]
    return decisions_table(found, {"cosine": pa.float64(), "human": pa.float64()})


def similarity_figure(table: pa.Table, name: str) -> Figure:
    """Spearman's rank correlation of cosines and people over the pairs of a list, with its interval by bootstrap.

    Raises ValueError if fewer than two of them have vectors.
    """
    here = table.filter(pc.field("group") == name)
    if len(here) < 2:
        raise ValueError(f"{name}: {len(here)} of its pairs with vectors: there is nothing to rank")
    return correlation(spearman, here["cosine"].to_numpy(), here["human"].to_numpy())


def analogy_rows(found: Mapping[str, tuple[int, int]]) -> pa.Table:
    """A row for each section: the share of right answers."""
    return decisions_table(
        [
            {"id": name, "group": name, "score": right / asked, "right": right, "asked": asked}
            for name, (right, asked) in found.items()
            if asked and name != "total"
        ],
        {"right": pa.int32(), "asked": pa.int32()},
    )
