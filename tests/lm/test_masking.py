"""Masks: which tokens, how many, and what stands in their place."""

from itertools import pairwise

import numpy as np
import pytest

from lm.masking import Masking
from lm.masking_config import MASKING_PRESETS, SPANBERT_SPANS, MaskingConfig
from lm.similar_words import SimilarWords

CLS, SEP, MASK, VOCAB = 1, 2, 3, 500
ORDINARY = np.arange(5, VOCAB)


def draw(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def example(length: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[CLS] text [SEP] text [SEP], what of it is text, and words of one to four tokens."""
    random = draw(length, seed)
    ids = random.integers(5, VOCAB, length)
    special = [0, length // 2, length - 1]
    ids[special] = [CLS, SEP, SEP]
    text = np.ones(length, dtype=bool)
    text[special] = False
    return ids, text, random.random(length) < 0.6


def words_of(text: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Which word, or special token, each token belongs to."""
    begins = starts | ~text
    begins[1:] |= ~text[:-1]
    return np.cumsum(begins)


def chi_squared(observed: list[int], expected: list[float]) -> float:
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


def test_a_million_tokens_are_masked_as_bert_says() -> None:
    """15 % of the tokens, 80/10/10 of them, all places alike: chi-squared, p > .01."""
    length, examples = 128, 8_000
    masking = Masking(MASKING_PRESETS["bert"], MASK, ORDINARY)
    ids, text, starts = example(length, 0)
    chosen, fates, random_tokens = np.zeros(length, dtype=int), np.zeros(3, dtype=int), []
    for number in range(examples):
        got = masking(ids, text, np.ones_like(starts), draw(number))
        assert len(got.positions) == 19  # round(128 * .15)
        assert np.array_equal(got.targets, ids[got.positions])
        seen = got.tokens[got.positions]
        kinds = np.where(seen == MASK, 0, np.where(seen != got.targets, 1, 2))
        fates += np.bincount(kinds, minlength=3)
        chosen[got.positions] += 1
        random_tokens.append(seen[kinds == 1])
        untouched = np.setdiff1d(np.arange(length), got.positions)
        assert np.array_equal(got.tokens[untouched], ids[untouched])
    total = 19 * examples
    assert not chosen[~text].any()
    assert chi_squared(chosen[text].tolist(), [total / text.sum()] * int(text.sum())) < 166.9  # 124 degrees
    same = 1 / len(ORDINARY)  # a replacement may be the token itself
    assert chi_squared(fates.tolist(), [0.8 * total, 0.1 * total * (1 - same), 0.1 * total * (1 + same)]) < 9.21  # 2
    counts = np.bincount(np.concatenate(random_tokens), minlength=VOCAB)
    assert not counts[:5].any()  # never a special token
    assert chi_squared(counts[5:].tolist(), [counts.sum() / len(ORDINARY)] * len(ORDINARY)) < 571  # 494


@pytest.mark.parametrize("length", [3, 4, 10, 17, 50, 129, 512])
def test_how_many_are_predicted(length: int) -> None:
    ids, text, starts = example(length, 1)
    for most in (None, 20):
        masking = Masking(MaskingConfig(max_predictions=most), MASK, ORDINARY)
        wanted = min(most or 1000, max(1, round(length * 0.15)))
        assert len(masking(ids, text, np.ones_like(starts), draw(0)).positions) == min(wanted, int(text.sum()))


def test_whole_words_are_predicted_together_within_the_budget() -> None:
    masking = Masking(MASKING_PRESETS["bert-whole-word"], MASK, ORDINARY)
    for seed in range(200):
        ids, text, starts = example(80, seed)
        got = masking(ids, text, starts, draw(seed))
        assert 0 < len(got.positions) <= 12
        chosen = set(got.positions.tolist())
        begins = starts | ~text
        begins[1:] |= ~text[:-1]
        for word in np.split(np.arange(80), np.flatnonzero(begins)[1:]):
            assert len(chosen & set(word.tolist())) in (0, len(word))


def test_lengths_of_spans_have_the_mean_that_spanbert_gives() -> None:
    masking = Masking(MASKING_PRESETS["spanbert"], MASK, ORDINARY)
    random = draw(0)
    lengths = np.array([masking.span_length(random) for _ in range(100_000)])
    assert (lengths.min(), lengths.max()) == (1, 10)
    assert lengths.mean() == pytest.approx(3.8, abs=0.05)
    weights = np.array(SPANBERT_SPANS) / sum(SPANBERT_SPANS)
    observed = np.bincount(lengths, minlength=11)[1:].tolist()
    assert chi_squared(observed, (weights * len(lengths)).tolist()) < 21.67  # 9 degrees, p > .01
    mac = Masking(MASKING_PRESETS["macbert"], MASK, ORDINARY, np.zeros((VOCAB, 1), dtype=np.int64))
    lengths = np.array([mac.span_length(random) for _ in range(20_000)])
    assert np.allclose(np.bincount(lengths)[1:] / 20_000, [0.4, 0.3, 0.2, 0.1], atol=0.012)


def test_spans_are_words_that_never_touch_and_share_a_fate() -> None:
    masking = Masking(MASKING_PRESETS["spanbert"], MASK, ORDINARY)
    longest = 0
    for seed in range(200):
        ids, text, starts = example(200, seed)
        got = masking(ids, text, starts, draw(seed))
        assert len(got.positions) <= 30
        spans = sorted({(int(a), int(b)) for a, b in zip(got.span_low, got.span_high, strict=True)})
        assert sorted(i for low, high in spans for i in range(low, high)) == got.positions.tolist()
        for (_, end), (begin, _) in pairwise(spans):
            assert begin > end  # what stands before and behind a span is seen
        for low, high in spans:
            assert starts[low] or not text[low - 1]
            assert starts[high] or not text[high]
            hidden = got.tokens[low:high] == MASK
            assert hidden.all() or not hidden.any()
            longest = max(longest, high - low)
    assert longest > 10


def test_macbert_never_shows_a_mask_and_puts_whole_similar_words_in_place() -> None:
    """Every word of one or two tokens has two similar ones: its tokens plus 1, plus 2. Longer words have none."""
    count, low = len(ORDINARY), int(ORDINARY[0])
    one, first, second = np.arange(count), *divmod(np.arange(count**2), count)
    known = {1: ORDINARY[one][:, None].astype(np.int32), 2: ORDINARY[np.stack([first, second], 1)].astype(np.int32)}
    near = {
        1: np.stack([(one + by) % count for by in (1, 2)], 1).astype(np.int32),
        2: np.stack([(first + by) % count * count + (second + by) % count for by in (1, 2)], 1).astype(np.int32),
    }

    def moved(word: list[int], by: int) -> tuple[int, ...]:
        return tuple((token - low + by) % count + low for token in word)

    masking = Masking(MASKING_PRESETS["macbert"], MASK, ORDINARY, SimilarWords(known, near))
    fates = {"similar": 0, "kept": 0, "other": 0}
    for seed in range(300):
        ids, text, starts = example(128, seed)
        got = masking(ids, text, starts, draw(seed))
        assert MASK not in got.tokens
        word_of = words_of(text, starts)
        for word in np.unique(word_of[got.positions]):
            at = np.flatnonzero(word_of == word)
            if len(at) > 2 or not np.isin(at, got.positions).all():
                continue
            was, now = ids[at].tolist(), tuple(got.tokens[at].tolist())
            similar = now in (moved(was, 1), moved(was, 2))
            fates["similar" if similar else "kept" if now == tuple(was) else "other"] += 1
    total = sum(fates.values())
    assert fates["similar"] / total == pytest.approx(0.8, abs=0.02)
    assert fates["kept"] / total == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match="go with hidden_by: similar"):
        Masking(MASKING_PRESETS["macbert"], MASK, ORDINARY)


def test_a_word_without_a_similar_one_is_hidden_by_any() -> None:
    masking = Masking(MASKING_PRESETS["macbert"], MASK, ORDINARY, SimilarWords({}, {}))
    changed = total = 0
    for seed in range(50):
        ids, text, starts = example(128, seed)
        got = masking(ids, text, starts, draw(seed))
        assert np.isin(got.tokens[got.positions], ORDINARY).all()
        changed += int((got.tokens[got.positions] != got.targets).sum())
        total += len(got.positions)
    assert changed / total == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("fate", ["token", "word", "span"])
def test_what_shares_a_fate_is_hidden_together(fate: str) -> None:
    config = MaskingConfig(unit="word", spans=(0.5, 0.5), fate=fate, masked=0.5, random=0.0)
    mixed = {"word": 0, "span": 0}
    for seed in range(100):
        ids, text, starts = example(128, seed)
        got = Masking(config, MASK, ORDINARY)(ids, text, starts, draw(seed))
        for name, owner in (("word", words_of(text, starts)[got.positions]), ("span", got.span_low)):
            for one in np.unique(owner):
                hidden = got.tokens[got.positions[owner == one]] == MASK
                mixed[name] += hidden.any() and not hidden.all()
    assert (mixed["word"] > 0) == (fate == "token")
    assert (mixed["span"] > 0) == (fate != "span")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masked": 0.8, "random": 0.3}, "more than all tokens"),
        ({"spans": ()}, "spans must be weights"),
        ({"spans": (0.5, -0.1)}, "none negative"),
        ({"chinese_words": True}, "chinese_words is for unit: word"),
        ({"hidden_by": "similar", "fate": "word"}, "it is for unit: word"),
        ({"hidden_by": "similar", "unit": "word"}, "fate: word or span"),
        ({"rate": 0.0}, "greater than 0"),
        ({"mask_rate": 0.1}, "Extra inputs"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskingConfig.model_validate(settings)
