"""word2vec's inner loop (Mikolov et al. 2013a, b; the order of updates as in the released program).

A prediction has an input vector h and some outputs o with a sign s, +1 or -1: its loss is -Σ ln σ(s o·h), over the true
word and the drawn ones (negative sampling), or over the inner nodes on the true word's path (hierarchical softmax, s
being the turn). One step of gradient descent, of rate α, is

    g = s (1 - σ(s o·h))        h += α Σ g o        o += α g h

Skip-gram (Mikolov's input and output exchanged, which over a text makes the same pairs): h is the vector of a word
around, the outputs are those of the word in the middle. CBOW: h is the mean of the vectors around.
"""

import math

import numpy as np

from lm.compiled import vector_kernel

LEAST = -30.0  # ln σ is linear there: nothing is lost but the loss beyond
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LOW, _HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)
_C1, _C2, _S1, _S2, _S3 = (np.uint64(c) for c in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 30, 27, 31))


@vector_kernel
def draw(state):  # type: ignore[no-untyped-def]
    """64 random bits (splitmix64, Steele, Lea & Flood 2014): the state itself goes on by GOLDEN."""
    x = (state ^ (state >> _S1)) * _C1
    x = (x ^ (x >> _S2)) * _C2
    return x ^ (x >> _S3)


@vector_kernel
def dot(a, b):  # type: ignore[no-untyped-def]
    """a·b in the type of a."""
    total = a.dtype.type(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@vector_kernel
def descend(h, outputs, targets, signs, number, rate, scores, error):  # type: ignore[no-untyped-def]
    """One prediction: outputs move, `error` becomes what h is to be moved by. Returns Π σ(s o·h), float64.

    targets, signs: [number] and more, rows of `outputs` and ±1; scores: room for as many.
    """
    one, least = signs.dtype.type(1), signs.dtype.type(LEAST)
    for t in range(number):  # a loop of its own: all rows are on their way from memory before the first is written to
        scores[t] = signs[t] * dot(h, outputs[targets[t]])
    error[:] = 0
    likelihood = 1.0
    for t in range(number):
        o = outputs[targets[t]]
        p = one / (one + math.exp(-max(scores[t], least)))
        likelihood *= p
        g = signs[t] * (one - p) * rate
        for k in range(len(h)):
            before = o[k]
            error[k] += g * before
            o[k] = before + g * h[k]
    return likelihood


@vector_kernel
def subsample(rows, begin, end, keep, state, kept):  # type: ignore[no-untyped-def]
    """Copy the words of a sequence that stay to `kept`; returns how many and the state of the draws."""
    n = 0
    for at in range(begin, end):
        word = rows[at]
        state += GOLDEN
        if (draw(state) >> _HIGH) < keep[word]:
            kept[n] = word
            n += 1
    return n, state


@vector_kernel
def draw_negatives(word, tables, negatives, state, targets):  # type: ignore[no-untyped-def]
    """Put `word` and so many drawn ones to `targets`, less those that are `word` itself; returns number and state."""
    share, other = tables
    words = np.uint64(len(share))
    targets[0] = word
    number = 1
    for _ in range(negatives):
        state += GOLDEN
        bits = draw(state)
        cell = ((bits >> _HIGH) * words) >> _HIGH
        drawn = np.int64(cell) if (bits & _LOW) < share[cell] else np.int64(other[cell])
        if drawn != word:
            targets[number] = drawn
            number += 1
    return number, state


@vector_kernel
def follow_path(word, tree, targets, signs):  # type: ignore[no-untyped-def]
    """Put the inner nodes above `word` to `targets`, the turn at each (+1: code 0) to `signs`; returns how many."""
    starts, nodes, turns = tree
    begin = starts[word]
    number = starts[word + 1] - begin
    for t in range(number):
        targets[t] = nodes[begin + t]
        signs[t] = turns[begin + t]
    return number


@vector_kernel
def train(rows, offsets, inputs, outputs, keep, tables, tree, negatives, window, cbow, shared, rates, state):  # type: ignore[no-untyped-def]
    """Train on sequences; returns the sum of their losses in nats, float64, and the number of predictions.

    Args:
        rows, offsets: sequence s is rows[offsets[s]:offsets[s + 1]], rows of `inputs`.
        keep: uint64 [words], the chance to stay in 2**-32.
        tables: `lm.vectors.sampling.alias_table`; tree: `lm.vectors.hierarchical.Tree`, for negatives = 0.
        rates: float64 [sequences], the learning rate of each.
        state: uint64, what all draws follow from.
    """
    width = inputs.shape[1]
    longest = 0
    for s in range(len(offsets) - 1):
        longest = max(longest, offsets[s + 1] - offsets[s])
    kept = np.empty(longest, np.int64)
    mean, error = np.empty(width, inputs.dtype), np.empty(width, inputs.dtype)
    most = max(negatives + 1, tree[3])
    targets, signs = np.empty(most, np.int64), np.full(most, -1, inputs.dtype)
    scores = np.empty(most, inputs.dtype)
    signs[0] = 1
    loss, product, predictions = 0.0, 1.0, 0
    for s in range(len(offsets) - 1):
        rate = inputs.dtype.type(rates[s])
        n, state = subsample(rows, offsets[s], offsets[s + 1], keep, state, kept)
        for i in range(n):
            word = kept[i]
            state += GOLDEN
            reach = 1 + np.int64(((draw(state) >> _HIGH) * np.uint64(window)) >> _HIGH)
            low, high = max(0, i - reach), min(n, i + reach + 1)
            if high - low == 1:
                continue
            number = 0
            if negatives == 0:
                number = follow_path(word, (tree[0], tree[1], tree[2]), targets, signs)
            if cbow:
                if negatives > 0:
                    number, state = draw_negatives(word, tables, negatives, state, targets)
                mean[:] = 0
                for j in range(low, high):
                    if j != i:
                        mean += inputs[kept[j]]
                share = inputs.dtype.type(1) / inputs.dtype.type(high - low - 1)
                mean *= share
                product *= descend(mean, outputs, targets, signs, number, rate, scores, error)
                if shared:
                    error *= share
                for j in range(low, high):
                    if j != i:
                        h = inputs[kept[j]]
                        for k in range(width):
                            h[k] += error[k]
                predictions += 1
            else:
                for j in range(low, high):
                    if j == i:
                        continue
                    if negatives > 0:
                        number, state = draw_negatives(word, tables, negatives, state, targets)
                    h = inputs[kept[j]]
                    product *= descend(h, outputs, targets, signs, number, rate, scores, error)
                    for k in range(width):
                        h[k] += error[k]
                    predictions += 1
                    if product < 1e-100:
                        loss -= math.log(product)
                        product = 1.0
            if product < 1e-100:
                loss -= math.log(product)
                product = 1.0
    return loss - math.log(product), predictions
