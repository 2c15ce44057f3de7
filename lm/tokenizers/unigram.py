"""Unigram language model (Kudo 2018, "Subword Regularization", section 3.2; SentencePiece's `unigram`).

p(text) is the product of the probabilities of its pieces, and a text is encoded as its most probable segmentation.
Training begins with the frequent substrings of the sample, fits their probabilities by expectation-maximisation,
drops the pieces whose loss would cost least, and goes on until the vocabulary has its size. The trainer of the
`tokenizers` library sums its floats in the order of a hash table and of threads, so that its scores differ from run
to run; this one depends on the counts of pre-tokens only. Encoding is the library's.

Unlike in SentencePiece a space is written as a space, there is none before a text, and nothing is normalised.
Characters that the vocabulary does not cover become UTF-8 bytes, so that decoding gives back every text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from lm.stop import ShouldStop, check
from lm.tokenizers.common import (
    BYTES,
    END_OF_TEXT,
    UNKNOWN,
    Trained,
    by_frequency,
    pre_token_counts,
    pre_token_pattern,
    special,
)
from lm.tokenizers.config import UnigramConfig
from lm.tokenizers.substrings import Strings, frequent_substrings
from lm.tokenizers.unigram_em import Arcs, alternatives, expected_counts, viterbi_counts

FIRST = (END_OF_TEXT, UNKNOWN, *BYTES)
LEAST_COUNT = 0.5
"""Pieces expected to occur less often than this are dropped at once, as in SentencePiece."""
SPARE = 1.1
"""Pruning stops when this many times the vocabulary is left; the least probable pieces go last."""
EM_ROUNDS = 2


def train(texts: Iterable[str], config: UnigramConfig, should_stop: ShouldStop) -> Trained:
    """Learn pieces and their ln-probabilities; `<unk>` is in the vocabulary because the library wants one."""
    tokenizer = Tokenizer(models.Unigram([(UNKNOWN, 0.0)], 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(pre_token_pattern(config.max_word_length, config.max_unsegmented_length)), "isolated"
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    counts = pre_token_counts(tokenizer, texts)
    scored = learn_scores(counts, config, should_stop)
    # No text can choose these: pre-tokens never hold a whole one of their names.
    least = min((score for _, score in scored), default=0.0)
    tokenizer.model = models.Unigram([*((name, least) for name in FIRST), *scored], FIRST.index(UNKNOWN), True)
    tokenizer.add_special_tokens(special([END_OF_TEXT, UNKNOWN]))
    return Trained(tokenizer)


def learn_scores(counts: Mapping[str, int], config: UnigramConfig, should_stop: ShouldStop) -> list[tuple[str, float]]:
    """Pieces with ln p, the most probable first; all covered characters and at most the vocabulary's size."""
    room = config.vocab_size - len(FIRST)
    characters = covered_characters(counts, config.character_coverage, max(1, int(config.character_share * room)))
    if not characters:
        return []
    strings = _strings(counts, characters)
    text = "".join(characters)
    seeds, occurrences = _seeds(strings, config)
    starts, sizes = seeds[:, 0], seeds[:, 1]
    scores = np.log(seeds[:, 2] / seeds[:, 2].sum())
    arcs = Arcs.of(*occurrences, len(strings.characters))
    target = max(len(characters), room)
    while True:
        for _ in range(EM_ROUNDS):
            check(should_stop, "fitting the pieces of a Unigram tokenizer")
            expected, _ = expected_counts(strings, arcs, scores)
            kept = (expected >= LEAST_COUNT) | (sizes == 1)
            starts, sizes, expected, arcs = _keep(kept, starts, sizes, expected, arcs)
            expected = np.maximum(expected, LEAST_COUNT)
            scores = _digamma(expected) - _digamma(np.array([expected.sum()]))
        if len(scores) <= SPARE * target:
            break
        wanted = max(int(SPARE * target), int(config.shrink * len(scores)))
        kept = _worth_keeping(strings, starts, sizes, arcs, scores, wanted)
        starts, sizes, scores, arcs = _keep(kept, starts, sizes, scores, arcs)
    names = ["".join(text[c] for c in strings.characters[s : s + n]) for s, n in zip(starts, sizes, strict=True)]
    ranked = sorted(zip(names, scores.round(6).tolist(), strict=True), key=lambda piece: (-piece[1], piece[0]))
    singles = [piece for piece in ranked if len(piece[0]) == 1]
    longer = [piece for piece in ranked if len(piece[0]) > 1][: max(0, room - len(singles))]
    return sorted([*singles, *longer], key=lambda piece: (-piece[1], piece[0]))


def covered_characters(counts: Mapping[str, int], coverage: float, limit: int) -> list[str]:
    """The most frequent characters, sorted, that together are `coverage` of the text; at most `limit`."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    ranked = by_frequency(characters, 1, len(characters))
    enough = coverage * sum(characters.values())
    before = np.cumsum([0, *(characters[c] for c in ranked)])[:-1]
    return sorted(c for c, sum_before in zip(ranked[:limit], before, strict=False) if sum_before < enough)


def _strings(counts: Mapping[str, int], characters: list[str]) -> Strings:
    """Pre-tokens cut at characters that are not covered."""
    covered = {character: number for number, character in enumerate(characters)}
    runs: Counter[str] = Counter()
    for word, count in counts.items():
        for inside, run in groupby(word, covered.__contains__):
            if inside:
                runs["".join(run)] += count
    words = sorted(runs)
    sizes = np.array([len(word) for word in words], dtype=np.int64)
    return Strings(
        np.array([covered[c] for word in words for c in word], dtype=np.int64),
        np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        sizes,
        np.array([runs[word] for word in words], dtype=np.int64),
    )


def _seeds(strings: Strings, config: UnigramConfig) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All characters and the longer substrings of most text: [start, size, count] of each, and their occurrences."""
    levels = frequent_substrings(strings, config.max_piece_length, 2)
    limit = config.seed_factor * config.vocab_size
    candidates = np.concatenate([level.counts * level.length * level.maximal for level in levels[1:]] or [[]])
    chosen = np.zeros(len(candidates), dtype=bool)
    chosen[np.argsort(-candidates, kind="stable")[:limit]] = True
    chosen &= candidates > 0
    seeds, ends, lengths, pieces = [], [], [], []
    count = offset = 0
    for level in levels:
        known = len(level.counts)
        here = np.ones(known, dtype=bool) if level.length == 1 else chosen[offset : offset + known]
        offset += known if level.length > 1 else 0
        number = np.where(here, np.cumsum(here) - 1 + count, -1)
        one_place = np.zeros(known, dtype=np.int64)
        one_place[level.numbers[::-1]] = level.positions[::-1]
        seeds.append(np.stack([one_place, np.full(known, level.length), level.counts], axis=1)[here])
        inside = here[level.numbers]
        ends.append(level.positions[inside] + level.length - 1)
        lengths.append(np.full(int(inside.sum()), level.length, dtype=np.int64))
        pieces.append(number[level.numbers[inside]])
        count += int(here.sum())
    return np.concatenate(seeds), (np.concatenate(ends), np.concatenate(lengths), np.concatenate(pieces))


def _keep(
    kept: np.ndarray, starts: np.ndarray, sizes: np.ndarray, values: np.ndarray, arcs: Arcs
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arcs]:
    return starts[kept], sizes[kept], values[kept], arcs.only(kept, np.cumsum(kept) - 1)


def _worth_keeping(
    strings: Strings, starts: np.ndarray, sizes: np.ndarray, arcs: Arcs, scores: np.ndarray, wanted: int
) -> np.ndarray:
    """bool [pieces]: the characters, and the pieces without which the text would lose most of its likelihood.

    loss = n (ln p(piece) - ln p(its best segmentation without it)), n its count in the Viterbi segmentations, the
    probabilities those after its count has gone to the pieces of that segmentation.
    """
    counts = viterbi_counts(strings, arcs, scores).astype(np.float64)
    offsets, parts = alternatives(starts, sizes, arcs, scores)
    pieces = np.repeat(np.arange(len(sizes)), np.diff(offsets))
    total = counts.sum()
    new_total = total + counts * (np.diff(offsets) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.log(counts[parts] + counts[pieces]) - np.log(new_total[pieces])
        without = np.bincount(pieces, weights=shares, minlength=len(sizes))
        loss = counts * (np.log(counts) - np.log(total) - without)
    loss[counts == 0] = -np.inf
    loss[sizes == 1] = np.inf
    kept = np.zeros(len(sizes), dtype=bool)
    kept[np.argsort(-loss, kind="stable")[:wanted]] = True
    return kept


def _digamma(x: np.ndarray) -> np.ndarray:
    """The derivative of ln gamma, for x > 0: the recurrence up to 10, then the asymptotic series."""
    x, below = x.astype(np.float64), np.zeros(len(x))
    while (small := x < 10).any():
        below[small] += 1 / x[small]
        x = np.where(small, x + 1, x)
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse / 132))))
    return np.asarray(np.log(x) - 0.5 / x - series - below)
