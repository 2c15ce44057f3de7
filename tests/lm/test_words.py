"""Words for a perplexity per word."""

import math

import pytest

from lm.evaluate.words import perplexity_per_word, word_count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("  \n ", 0),
        ("don't  stop, it's 3.14", 5),
        ("今天天气很好。", 7),
        ("我用Python写", 4),
        ("naïve re-entry", 4),
    ],
)
def test_what_is_a_word(text: str, words: int) -> None:
    assert word_count([text]) == words
    assert word_count([text, "two words"]) == words + 2


def test_a_uniform_model_of_letters() -> None:
    """Words of four letters and a space, each of 27 signs equally likely: 27 ** 5 choices a word."""
    assert perplexity_per_word(math.log2(27), 5.0) == pytest.approx(27**5)
