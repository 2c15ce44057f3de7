"""Asking the arrays: one walk over each sequence, a state being the longest known n-gram that ends here."""

import numpy as np

from lm.compiled import kernel


@kernel
def find_child(words, children, node, word):  # type: ignore[no-untyped-def]
    """The n-gram that goes on from `node` by `word`, or -1."""
    low, high = np.int64(children[node]), np.int64(children[node + 1])
    end = high
    while low < high:
        middle = (low + high) >> 1
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and words[low] == word else -1


@kernel
def score(ids, offsets, arrays, boundary, order, at_start, unseen, uniform, p):  # type: ignore[no-untyped-def]
    """p[i] of ids[i] given those before it in its sequence, sequence s being ids[offsets[s]:offsets[s + 1]].

    `at_start`: sequences begin behind a boundary; else with nothing. A boundary within a sequence ends its context.
    p(w | h) is that of the node h w; where there is none, γ(h) p(w | h'). A context that is no node has γ `unseen`.
    `uniform` > 0: what lies below is that at once, not the next shorter context (add-k).
    """
    words, probs, links, backoffs, children = arrays
    nothing, inner = len(words), len(backoffs)
    for s in range(len(offsets) - 1):
        behind_edge = at_start and order > 1
        node = np.int64(boundary if behind_edge else nothing)
        known = available = 1 if behind_edge else 0  # lengths of the state and of the context it is the end of
        for i in range(offsets[s], offsets[s + 1]):
            word = ids[i]
            weight = unseen ** (available - known) if unseen != 1.0 else 1.0
            below = 1.0 if known < available else -1.0  # add-k: the share of 1 / V
            while True:
                if node == nothing:
                    child = np.int64(word)
                    break
                child = find_child(words, children, node, word)
                if child >= 0:
                    break
                weight *= backoffs[node]
                if below < 0.0:
                    below = weight
                node = np.int64(links[node])
                known -= 1
            if uniform > 0.0 and below >= 0.0:
                p[i] = below * uniform
            else:
                p[i] = weight * probs[child]
            if word == boundary and order > 1:
                node, known, available = np.int64(boundary), 1, 1
            elif child < inner:
                node, known, available = child, known + 1, min(available + 1, order - 1)
            else:
                node, known, available = np.int64(links[child]), order - 1, min(available + 1, order - 1)
