"""ROUGE-L against subsequences counted one by one, and against values of Google's rouge-score."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.evaluate.rouge import corpus_rouge_l, longest_common_subsequence, rouge_l, words

LETTERS = st.lists(st.sampled_from("abc"), max_size=7)


def subsequences(sequence: list[str]) -> set[tuple[str, ...]]:
    places = range(len(sequence))
    return {tuple(sequence[i] for i in chosen) for n in range(len(sequence) + 1) for chosen in combinations(places, n)}


@given(LETTERS, LETTERS)
@settings(max_examples=200, deadline=None)
def test_the_longest_is_that_of_all_subsequences(first: list[str], second: list[str]) -> None:
    both = subsequences(first) & subsequences(second)
    assert longest_common_subsequence(first, second) == max(map(len, both))


# text, reference, rougeL F1 of rouge-score 0.1.2, use_stemmer=False
GOOGLE = [
    ("the cat sat on the mat", "the cat was on a mat", 0.6666666666666666),
    ("Return a new array of given shape.", "Return an array, filled with zeros, of given shape", 0.625),
    ("a b c", "c b a", 0.3333333333333333),
    ("x_y z-1", "X Y Z 1", 1.0),
    ("nothing alike", "so it is", 0.0),
    ("", "the", 0.0),
]


@pytest.mark.parametrize(("text", "reference", "value"), GOOGLE)
def test_it_is_what_rouge_score_gives(text: str, reference: str, value: float) -> None:
    assert rouge_l(text, reference) == pytest.approx(value, abs=1e-12)


def test_words_of_other_scripts_count() -> None:
    assert words("Crème brûlée, 3 mal: 深度学习のAI模型!") == [
        "crème",
        "brûlée",
        "3",
        "mal",
        "深",
        "度",
        "学",
        "习",
        "の",
        "ai",
        "模",
        "型",
    ]
    assert rouge_l("绿色的草", "草是绿色") == pytest.approx(2 * 2 / 8)


def test_a_corpus_is_the_mean_in_percent() -> None:
    assert corpus_rouge_l(["a b", "c"], ["a b", "d"]) == 50.0
    with pytest.raises(ValueError, match="1 texts for 2 references: one each is needed"):
        corpus_rouge_l(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="0 texts for 0 references"):
        corpus_rouge_l([], [])
