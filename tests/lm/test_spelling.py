"""The character model of unknown words: a distribution over all strings, by hand and after a round trip."""

import json
import math
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.tokenizers.spelling import BEGIN, CHARACTERS, END, Spelling

WORDS = {"aba": 3, "abc": 1, "c": 2, "bb": 1}
SEEN = "abc"


@pytest.fixture
def spelling() -> Spelling:
    return Spelling.learn(WORDS)


@pytest.mark.parametrize("history", [BEGIN * 2, BEGIN + "a", "ab", "ba", "cc", "zz", "az", BEGIN + "z"])
def test_probabilities_sum_to_one_after_every_history(spelling: Spelling, history: str) -> None:
    known = [spelling.probability(c, history) for c in (*SEEN, END)]
    unseen = {spelling.probability(c, history) for c in ("z", "模", "\U0010ffff", " ")}
    assert len(unseen) == 1  # all characters that were never seen are equal
    assert sum(known) + (CHARACTERS - len(SEEN)) * unseen.pop() == pytest.approx(1.0, abs=1e-12)


def test_all_strings_together_have_probability_one(spelling: Spelling) -> None:
    """Strings of up to n characters; "?" is any of the characters that were never seen."""
    other = CHARACTERS - len(SEEN)
    at = {BEGIN * 2: 1.0}
    ended = []
    for _ in range(400):
        after: dict[str, float] = {}
        done = 0.0
        for history, mass in at.items():
            done += mass * spelling.probability(END, history)
            for c, many in (*((c, 1) for c in SEEN), ("?", other)):
                following = (history + c)[-2:]
                after[following] = after.get(following, 0.0) + mass * many * spelling.probability(c, history)
        ended.append((ended[-1] if ended else 0.0) + done)
        at = after
    assert ended == sorted(ended)
    assert ended[-1] <= 1 + 1e-9
    assert ended[-1] + sum(at.values()) == pytest.approx(1.0, abs=1e-9)
    assert ended[10] > 0.9  # and it does end


def test_probabilities_by_hand(spelling: Spelling) -> None:
    # after "ab": 3 a, 1 c; after "b": 3 a, 1 c, 1 b, 1 end; in all: 7 a, 6 b, 3 c, 7 ends
    uniform = 1 / (CHARACTERS + 1)
    anywhere = (7 + 4 * uniform) / (23 + 4)
    after_b = (3 + 4 * anywhere) / (6 + 4)
    assert spelling.probability("a", "ab") == pytest.approx((3 + 2 * after_b) / (4 + 2), rel=1e-12)


@given(word=st.text(max_size=8))
def test_bits_are_those_of_the_product(word: str) -> None:
    spelling = Spelling.learn(WORDS)
    p, history = 1.0, BEGIN * 2
    for c in (*word, END):
        p *= spelling.probability(c, history)
        history = (history + c)[-2:]
    assert spelling.bits(word) == pytest.approx(-math.log2(p), rel=1e-9)


def test_words_like_those_learned_are_cheap(spelling: Spelling) -> None:
    assert spelling.bits("aba") < spelling.bits("cab") < spelling.bits("模型")
    strings = ["".join(s) for n in range(7) for s in product(SEEN, repeat=n)]
    assert 0.8 < sum(2 ** -spelling.bits(s) for s in strings) < 1


def test_nothing_learned_makes_all_characters_equal(tmp_path: Path) -> None:
    uniform = Spelling.load(tmp_path)  # no file: a tokenizer that was made elsewhere
    assert uniform.bits("模a") == pytest.approx(3 * math.log2(CHARACTERS + 1))


def test_round_trip(spelling: Spelling, tmp_path: Path) -> None:
    spelling.save(tmp_path)
    again = Spelling.load(tmp_path)
    assert again.counts == spelling.counts
    for word in ("", "aba", "模型", "\n"):
        assert again.bits(word) == spelling.bits(word)
    assert (tmp_path / "spelling.json").read_bytes().isascii()


def test_another_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spelling.json").write_text(json.dumps({"history": 5, "counts": {}}))
    with pytest.raises(ValueError, match=r"spelling\.json: made with a history of 5 characters, not 2"):
        Spelling.load(tmp_path)
