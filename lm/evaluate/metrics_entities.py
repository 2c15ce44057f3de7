"""Entities of tagged sentences and their F1 (Tjong Kim Sang & De Meulder 2003, `conlleval`; as seqeval counts them).

An entity is a stretch of words and a type; it is found if both are right. Tags are O, or a prefix and a type: B begins
(IOB2), I goes on, E ends and S is alone (BIOES). A tag begins an entity if it has B or S, or if none of its type goes
on to it: I behind O, behind E or S, or behind another type (which makes IOB1 readable too).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Entity(NamedTuple):
    """Words first .. last."""

    type: str
    first: int
    last: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """Those of one sentence, in order."""
    found: list[Entity] = []
    before, kind, first = "O", "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, this = tag.partition("-")
        begins = prefix != "O" and (prefix in "BS" or before in "OES" or this != kind)
        if before != "O" and (begins or prefix == "O"):
            found.append(Entity(kind, first, place - 1))
        if begins:
            first = place
        before, kind = prefix, this
    return found


def entity_counts(labels: Sequence[str], predicted: Sequence[str]) -> tuple[int, int, int]:
    """Of one sentence: entities found, entities there, entities predicted.

    Raises ValueError for lists of unequal length.
    """
    if len(labels) != len(predicted):
        raise ValueError(f"{len(labels)} tags and {len(predicted)} predicted ones for the same sentence")
    there, said = set(entities(labels)), set(entities(predicted))
    return len(there & said), len(there), len(said)


def micro_f1(counts: np.ndarray) -> float:
    """F1 over all sentences, from `entity_counts` of each, [sentences, 3]; 0 where there is nothing to find or say."""
    both, there, said = np.asarray(counts, np.float64).sum(0)
    return float(2 * both / (there + said)) if there + said else 0.0
