"""A dictionary learned from pairs: IBM model 1 (Brown et al. 1993), what a translation without any grammar gets.

p(f, a | e) is proportional to the product over target words of t(f_j | e_a(j)): which source word a target word comes
from is as likely for each. Expectation-maximisation from equal t finds the one maximum there is. A source word is
translated by its likeliest target word, in the source's order.
"""

import numpy as np

NOTHING = "\0"
"""Stands in every source, for target words that come from none."""


def learn(sources: list[list[str]], targets: list[list[str]], iterations: int = 5) -> dict[str, str]:
    """Each source word's likeliest translation, by so many iterations over the pairs."""
    e_of = {word: i for i, word in enumerate(sorted({w for s in sources for w in s} | {NOTHING}))}
    f_of = {word: i for i, word in enumerate(sorted({w for t in targets for w in t}))}
    rows_e, rows_f, place, places = [], [], [], 0
    for source, target in zip(sources, targets, strict=True):
        e = np.array([e_of[NOTHING], *(e_of[w] for w in source)])
        f = np.array([f_of[w] for w in target], dtype=np.int64)
        rows_e.append(np.tile(e, len(f)))
        rows_f.append(np.repeat(f, len(e)))
        place.append(places + np.repeat(np.arange(len(f)), len(e)))
        places += len(f)
    e, f, position = (np.concatenate(parts) for parts in (rows_e, rows_f, place))
    links, link = np.unique(e.astype(np.int64) * len(f_of) + f, return_inverse=True)
    link_e = links // len(f_of)
    t = np.ones(len(links)) / len(f_of)
    for _ in range(iterations):
        weight = t[link]
        weight /= np.bincount(position, weights=weight, minlength=places)[position]
        counts = np.bincount(link, weights=weight)
        t = counts / np.bincount(link_e, weights=counts)[link_e]
    order = np.lexsort((t, link_e))
    last = np.flatnonzero(np.append(np.diff(link_e[order]) != 0, True))
    names_e, names_f = list(e_of), list(f_of)
    best = order[last]
    return {names_e[link_e[i]]: names_f[links[i] % len(f_of)] for i in best}


def translate(words: list[str], dictionary: dict[str, str]) -> list[str]:
    """Word by word; a word that is not in the dictionary stays."""
    return [dictionary.get(word, word) for word in words]
