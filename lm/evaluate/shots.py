"""Which examples stand before an item: k of the training split, decided by the seed and the item alone.

The training examples are walked in the order that belongs to (seed, item id); the item itself and its near-copies are
passed over: a prompt that holds the answer asks nothing. A near-copy has the same id, or a text of which at least
`NEAR` of the character 5-grams are the same (Jaccard, lower case, letters and digits only).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lm.evaluate.prompts import Item
from lm.order import Permutation, draw_seed

NEAR = 0.7
GRAM = 5


def draw_shots(train: Sequence[Item], item: Item, k: int, seed: int) -> tuple[list[Item], int]:
    """k examples (fewer only if there are no more), and how many near-copies were passed over on the way."""
    if not k or not train:
        return [], 0
    order = Permutation(len(train), draw_seed(seed, "shots", item.id))
    shots: list[Item] = []
    near = 0
    for position in range(len(train)):
        candidate = train[int(order[np.array([position])][0])]
        if is_near(candidate, item):
            near += 1
            continue
        shots.append(candidate)
        if len(shots) == k:
            break
    return shots, near


def is_near(first: Item, second: Item) -> bool:
    """Whether two items are the same or near-copies."""
    if first.id == second.id:
        return True
    a, b = grams(first.key), grams(second.key)
    if not a or not b:
        return first.key == second.key
    return len(a & b) >= NEAR * len(a | b)


@lru_cache(maxsize=20_000)
def grams(text: str) -> frozenset[str]:
    """The character 5-grams of a text; of a shorter one, itself."""
    plain = "".join(character for character in text.lower() if character.isalnum())
    if len(plain) <= GRAM:
        return frozenset([plain]) if plain else frozenset()
    return frozenset(plain[at : at + GRAM] for at in range(len(plain) - GRAM + 1))
