"""n-gram models from the definitions, with dictionaries and recursion: slow, and easy to believe."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

Gram = tuple[int, ...]


class Reference:
    """p(w | h) over ids 0 .. vocab - 1, `boundary` before (`<s>`) and behind (`</s>`) each sequence."""

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        vocab: int,
        boundary: int,
        order: int,
        smoothing: str,
        prune: Sequence[int] = (0,),
        k: float = 0.01,
        alpha: float = 0.4,
    ) -> None:
        self.vocab, self.boundary, self.order, self.smoothing = vocab, boundary, order, smoothing
        self.k, self.alpha = k, alpha
        self.prune = [*prune, *[prune[-1]] * (order - len(prune))]
        self.raw: Counter[Gram] = Counter()
        before: defaultdict[Gram, set[int]] = defaultdict(set)
        for sequence in sequences:
            padded = [boundary, *sequence, boundary]
            for end in range(1, len(padded)):
                for n in range(1, min(order, end + 1) + 1):
                    gram = tuple(padded[end - n + 1 : end + 1])
                    self.raw[gram] += 1
                    if end - n >= 0:
                        before[gram].add(padded[end - n])
        self.counts: dict[Gram, int] = dict(self.raw)
        if smoothing.endswith("kneser_ney"):
            for gram in self.raw:
                if len(gram) < order and not (len(gram) > 1 and gram[0] == boundary):
                    self.counts[gram] = len(before[gram])
        self.followers: defaultdict[Gram, list[int]] = defaultdict(list)
        for gram in self.raw:
            self.followers[gram[:-1]].append(gram[-1])
        self.discounts = [self._discounts(n) for n in range(1, order + 1)]
        self.p = cache(self._p)

    def _discounts(self, n: int) -> tuple[float, float, float, float]:
        of = Counter(count for gram, count in self.counts.items() if len(gram) == n)
        if self.smoothing in ("absolute_discounting", "kneser_ney"):
            d = of[1] / (of[1] + 2 * of[2]) if of[1] and of[2] else 0.5
            return (0.0, d, d, d)
        if self.smoothing != "modified_kneser_ney":
            return (0.0, 0.0, 0.0, 0.0)
        if of[1] and of[2] and of[3]:
            y = of[1] / (of[1] + 2 * of[2])
            found = (1 - 2 * y * of[2] / of[1], 2 - 3 * y * of[3] / of[2], 3 - 4 * y * of[4] / of[3])
            if all(0 <= d <= i for i, d in enumerate(found, start=1)):
                return (0.0, *found)
        return (0.0, 0.5, 1.0, 1.5)

    def _kept(self, gram: Gram) -> bool:
        return gram in self.raw and (len(gram) == 1 or self.raw[gram] > self.prune[len(gram) - 1])

    def _p(self, h: Gram, w: int) -> float:
        """p(w | h), h being what is looked at: at most order - 1 ids, beginning with the boundary or not."""
        seen = self.followers[h]
        total = sum(self.counts[(*h, v)] for v in seen)
        if self.smoothing == "stupid_backoff":
            if self._kept((*h, w)):
                return self.counts[(*h, w)] / total
            return self.alpha * self.p(h[1:], w) if h else 0.0
        if self.smoothing == "add_k":
            kept = sum(self.counts[(*h, v)] for v in seen if self._kept((*h, v)))
            rest = (total - kept + self.k * self.vocab) / (total + self.k * self.vocab)
            own = self.counts[(*h, w)] / (total + self.k * self.vocab) if self._kept((*h, w)) else 0.0
            return own + rest / self.vocab
        lower = self.p(h[1:], w) if h else 1 / self.vocab
        if not total:
            return lower
        d = self.discounts[len(h)]
        kept_grams = [(*h, v) for v in seen if self._kept((*h, v))]
        pruned = total - sum(self.counts[gram] for gram in kept_grams)
        gamma = (sum(d[min(3, self.counts[gram])] for gram in kept_grams) + pruned) / total
        if not self._kept((*h, w)):
            return gamma * lower
        c = self.counts[(*h, w)]
        return (c - d[min(3, c)]) / total + gamma * lower
