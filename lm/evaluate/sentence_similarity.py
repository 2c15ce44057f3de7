"""Vectors of sentences against people: cosines beside the scores that pairs of sentences were given (STS).

Spearman's rank correlation, the figure of SemEval's later years and of Reimers & Gurevych 2019; Pearson's, that of the
earlier ones, stands beside it. Intervals are by bootstrap over the pairs.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from lm.evaluate.decisions import Figure, correlation, decisions_table
from lm.evaluate.metrics_labels import pearson, rank_distances, spearman

COLUMNS = {"cosine": pa.float64(), "human": pa.float64()}
Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to vectors, [texts, width]; zeros where a text has none."""


def similarity_decisions(embed: Embed, rows: Sequence[tuple[str, str, str, float]]) -> pa.Table:
    """A row for each (id, text, other text, human score): the cosine of the two vectors (0 where one is zeros).

    `score` is less the distance between the pair's rank by cosine and its rank by people, in shares of all ranks.
    """
    if len(rows) < 3:
        raise ValueError(f"{len(rows)} pairs of sentences: there is nothing to rank")
    first, second = (directions(embed(texts)) for texts in ([row[1] for row in rows], [row[2] for row in rows]))
    cosines = (first * second).sum(axis=1)
    human = np.array([row[3] for row in rows], dtype=np.float64)
    distance = rank_distances(cosines, human)
    return decisions_table(
        [
            {"id": row[0], "group": "all", "score": -float(d), "cosine": float(c), "human": row[3]}
            for row, c, d in zip(rows, cosines, distance, strict=True)
        ],
        COLUMNS,
    )


def similarity_figures(table: pa.Table, seed: int = 0) -> dict[str, Figure]:
    """spearman and pearson with bootstrap intervals."""
    cosines, human = table["cosine"].to_numpy(), table["human"].to_numpy()
    return {name: correlation(of, cosines, human, seed) for name, of in (("spearman", spearman), ("pearson", pearson))}


def directions(vectors: np.ndarray) -> np.ndarray:
    """At length 1, float64; a vector of zeros stays one."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return np.asarray(wide / np.where(lengths > 0, lengths, 1))
