"""RefinedWeb's line edits against DCLM's description of them, step by step over the whole text."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.config import RefinedWebLineEdits, SignalsConfig
from data_quality.line_edits import edit_lines
from data_quality.spans import Edit, apply_edits
from data_quality.text_lines import text_lines
from data_quality.vocabulary import Vocabulary
from tests.data_quality.measured import text_signals

PIECES = [
    "A good line of text.",
    "3 likes",
    "1,204K Views!",
    "3 likes of it",
    "SHOUTING IS loud",
    "AB cd",
    "1234",
    "12 34",
    "word",
    "  indented as it is",
    "Sign-in now",
    "please Sign-in",
    "sign-in",
    "More here Read more...",
    "Read more...",
    "2 items in cart today",
    "so many words are in this long line that items in cart may stay",
    "",
    "   ",
    "好。",
    "ÄÖÜ äö",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("\n".join)


def without(text: str, spans: np.ndarray) -> str:
    return apply_edits(text, [Edit(*span) for span in spans.tolist()])


def edited(text: str, config: RefinedWebLineEdits | None = None) -> str:
    return without(text, edit_lines(text_lines([text]), 0, config or RefinedWebLineEdits()).removed)


def oracle(text: str) -> str:
    """The modifiers of DCLM's pipeline in its order, each over all lines; at most one blank line in a row."""
    lines = [line.rstrip() for line in text.split("\n")]
    lines = [line for line in lines if not line or sum(c.isupper() for c in line) / len(line) <= 0.5]
    lines = [line for line in lines if not line or sum(c.isdigit() for c in line) < len(line)]
    nouns = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers"
    lines = [line for line in lines if not re.search(rf"^\W*\d[,.\d]*[kmb]?\s+({nouns})\W*$", line.lower())]
    lines = [line for line in lines if not line or len(re.sub("([好])", r" \1 ", line).split()) >= 2]
    for pattern in (r"\s?items in cart", r"\s?read more\.\.\.$", r"^sign-in\s?"):
        cut = [re.sub(pattern, "", line, flags=re.I) if len(line.split()) <= 10 else line for line in lines]
        lines = [new for new, line in zip(cut, lines, strict=True) if new.strip() or not line]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip()


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_edits_are_those_that_dclm_describes(text: str) -> None:
    assert edited(text) == oracle(text)


@pytest.mark.parametrize(
    ("switch", "line"),
    [
        ({"max_uppercase_ratio": 1}, "SHOUTING ALL DAY"),
        ({"filter_numeric": False, "min_words_per_line": 0}, "1234"),
        ({"filter_counters": False}, "3 likes"),
        ({"min_words_per_line": 1}, "alone"),
        ({"phrase_words": 0}, "2 items in cart"),
    ],
)
def test_every_switch_keeps_the_line_it_is_for(switch: dict[str, object], line: str) -> None:
    text = f"This stays as it is.\n{line}\nThis stays, too."
    assert edited(text) != text
    assert edited(text, RefinedWebLineEdits.model_validate(switch)) == text


def test_removed_words_do_not_count_symbols() -> None:
    config = SignalsConfig(c4=None, refinedweb=RefinedWebLineEdits())
    text = "A title of it\n=============\nThere are ten words in all, so one is tenth.\nAlone\n"
    values, edits = text_signals(text, config, Vocabulary())
    assert without(text, edits["refinedweb"]) == "A title of it\nThere are ten words in all, so one is tenth."
    assert values["refinedweb__removed_word_ratio"] == 1 / 15
    assert values["refinedweb__removed_ratio"] == (14 + 7) / len(text)


def test_blank_lines_that_stay_are_no_sentences() -> None:
    config = SignalsConfig(c4=None, refinedweb=RefinedWebLineEdits())
    values = text_signals("It is one.\n\n\nIt is two.\n", config, Vocabulary())[0]
    assert values["refinedweb__sentences"] == values["sentences"] == 2
    assert values["refinedweb__nonblank_lines"] == 2
