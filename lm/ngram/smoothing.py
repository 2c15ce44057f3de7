"""The smoothings, as one equation.

For an n-gram h w, h' being h without its first word,

    p(w | h) = (c(h w) - D(c(h w))) / (Σ c(h v) + m) + γ(h) p(w | h')
    γ(h)     = (Σ D(c(h v)) + m + Σ' c(h v)) / (Σ c(h v) + m)

with sums over the v seen behind h, Σ' over those that were pruned, so that Σ p = 1 whatever the discounts are. Below
the unigrams lies p(w | nothing) = 1 / V. A w never seen behind h has the second term alone.

| smoothing | c | D | m |
|---|---|---|---|
| mle | count | 0 | 0 |
| add_k (Lidstone) | count | 0 | k V, and p(w given h') is 1 / V at once |
| absolute_discounting (Ney et al. 1994) | count | one per order, n1 / (n1 + 2 n2) | 0 |
| kneser_ney (Kneser & Ney 1995; interpolated: Chen & Goodman 1998) | adjusted count | the same | 0 |
| modified_kneser_ney (Chen & Goodman 1998) | adjusted count | D1, D2, D3+ per order | 0 |
| stupid_backoff (Brants et al. 2007) | count | 0 | 0; γ is α, for w never seen only: no distribution |

The adjusted count of an n-gram of a lower order is how many different words stand before it, `<s>` among them; that
of an n-gram that begins with `<s>`, before which nothing can stand, is its count (Heafield et al. 2013, section 3.2).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lm.compiled import kernel
from lm.ngram.config import NgramConfig
from lm.ngram.levels import Level, new_array, over_parents
from lm.stop import ShouldStop, check

SINGLE_FALLBACK = 0.5


def single_discount(n: Sequence[int]) -> float:
    """D = n1 / (n1 + 2 n2), n[i] n-grams having the count i; 0.5 where there are none of the one or the other."""
    return n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else SINGLE_FALLBACK


def modified_discounts(n: Sequence[int], fallback: tuple[float, float, float]) -> tuple[float, float, float]:
    """D1, D2, D3+ = i - (i + 1) Y n[i + 1] / n[i], Y = n1 / (n1 + 2 n2) (Chen & Goodman 1998, equation 26).

    The fallback where n1, n2 or n3 is 0, as among the unigrams of a small vocabulary, or a D_i is not within 0..i:
    then the counts are not those of natural text and the estimate means nothing (lmplz --discount_fallback).
    """
    if not (n[1] and n[2] and n[3]):
        return fallback
    y = n[1] / (n[1] + 2 * n[2])
    found = tuple(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))
    return found if all(0 <= d <= i for i, d in enumerate(found, start=1)) else fallback  # type: ignore[return-value]


def counts_of_counts(counts: np.ndarray) -> list[int]:
    """[0, n1, n2, n3, n4]: how many n-grams have each count."""
    n = np.zeros(6, dtype=np.int64)
    for at in range(0, len(counts), 1 << 20):
        n += np.bincount(np.minimum(counts[at : at + (1 << 20)], 5).astype(np.int64), minlength=6)
    return [0, *n[1:5].tolist()]


def discounts_of(counts: np.ndarray, order: int, config: NgramConfig) -> tuple[float, float, float]:
    """The three discounts of one order (1-based), of counts 1, 2 and 3 or more."""
    if config.smoothing in ("mle", "add_k", "stupid_backoff"):
        return (0.0, 0.0, 0.0)
    if config.smoothing == "modified_kneser_ney":
        return modified_discounts(counts_of_counts(counts), config.discount_fallback)
    given = config.discounts
    discount = given[min(order, len(given)) - 1] if given else single_discount(counts_of_counts(counts))
    return (discount, discount, discount)


@kernel
def count_links(links: np.ndarray, counts: np.ndarray) -> None:
    """counts[suffix] += 1 for each n-gram."""
    for i in range(len(links)):
        counts[links[i]] += counts.dtype.type(1)


def adjusted_counts(levels: list[Level], n: int, boundary: int, path: Path) -> np.ndarray:
    """The adjusted counts of the n-grams of order n."""
    if n == len(levels):
        return levels[-1].counts
    adjusted = new_array(path, len(levels[n - 1]), levels[n - 1].counts.dtype)
    count_links(levels[n].links, adjusted)
    if n > 1:  # the unigram B is </s>, which has words before it
        begin, end = boundary, boundary + 1
        for level in levels[: n - 1]:
            begin, end = int(level.first[begin]), int(level.first[end])
        adjusted[begin:end] = levels[n - 1].counts[begin:end]
    return adjusted


@kernel
def interpolate(first, counts, raw, threshold, d1, d2, d3, m, alpha, links, lower, gammas, probs, begin, end):  # type: ignore[no-untyped-def]
    """γ of the contexts begin .. end - 1 and p of their children: the two equations above.

    `raw` count <= `threshold`: pruned. `lower`: p of the order below, reached by `links`; of length 1: the uniform
    distribution. `alpha` > 0: that for γ, and no second term (stupid back-off).
    """
    uniform = len(lower) == 1
    for h in range(begin, end):
        total, pruned = m, 0.0
        ones = twos = more = kept = 0
        for i in range(np.int64(first[h]), np.int64(first[h + 1])):
            c = np.int64(counts[i])
            total += c
            if np.int64(raw[i]) <= threshold:
                pruned += c
            else:
                kept += 1
                ones += c == 1
                twos += c == 2
                more += c > 2
        if alpha > 0.0:
            gammas[h] = alpha
        elif kept == 0:
            gammas[h] = 1.0
        else:
            gammas[h] = (d1 * ones + d2 * twos + d3 * more + m + pruned) / total
        for i in range(np.int64(first[h]), np.int64(first[h + 1])):
            c = np.int64(counts[i])
            discount = d3 if c > 2 else (d2 if c == 2 else (d1 if c == 1 else 0.0))
            below = 0.0 if alpha > 0.0 else gammas[h] * (lower[0] if uniform else lower[links[i]])
            probs[i] = (c - discount) / total + below


def smooth_level(
    levels: list[Level],
    n: int,
    counts: np.ndarray,
    discounts: tuple[float, float, float],
    lower: np.ndarray,
    config: NgramConfig,
    folder: Path,
    threads: int,
    should_stop: ShouldStop,
) -> tuple[np.ndarray, np.ndarray]:
    """γ of the contexts of order n - 1 and p of the n-grams of order n, float64 in files."""
    check(should_stop, "building an n-gram model")
    raw, vocab, links = levels[n - 1].counts, len(levels[0]), levels[n - 1].links
    if n == 1:
        first, threshold = np.array([0, vocab], dtype=raw.dtype), -1
    else:
        first, threshold = levels[n - 2].first, config.threshold(n)
    m = config.k * vocab if config.smoothing == "add_k" else 0.0
    alpha = config.backoff if config.smoothing == "stupid_backoff" else 0.0
    if n == 1 or config.smoothing == "add_k":
        lower = np.array([1.0 / vocab])
    gammas = new_array(folder / f"gammas-{n - 1}.npy", len(first) - 1, np.dtype("<f8"))
    probs = new_array(folder / f"probs-{n}.npy", len(raw), np.dtype("<f8"))

    def work(begin: int, end: int) -> None:
        interpolate(first, counts, raw, threshold, *discounts, m, alpha, links, lower, gammas, probs, begin, end)

    over_parents(first, threads, should_stop, work)
    return gammas, probs
