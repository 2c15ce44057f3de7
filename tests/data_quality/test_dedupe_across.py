"""Near-twins across two sets are those of a brute-force comparison of all pairs."""

import random
from functools import cache
from pathlib import Path

import pytest

from data_quality.config import SignatureConfig
from data_quality.dedupe.across import near_twins
from data_quality.dedupe.shingles import shingle_text

WORDS = [f"word{n}" for n in range(200)]
MANY_BANDS = SignatureConfig(size=2, bands=64, rows=3, numbers="keep")


def texts(prefix: str, count: int, draw: random.Random) -> dict[str, str]:
    return {f"{prefix}{n}": " ".join(draw.choices(WORDS, k=draw.randint(4, 15))) for n in range(count)}


@cache
def shingles(text: str) -> frozenset[int]:
    return frozenset(shingle_text(text, size=2, numbers="keep").tolist())


def jaccard(one: str, other: str) -> float:
    mine, theirs = shingles(one), shingles(other)
    return len(mine & theirs) / len(mine | theirs)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_the_best_twin_of_each_is_found(tmp_path: Path, threshold: float) -> None:
    draw = random.Random(4)
    theirs = texts("t", 150, draw)
    ours = texts("o", 100, draw)
    for n, text in enumerate(theirs.values()):  # copies with some words changed, the ids of both sets the same
        words = text.split()
        for _ in range(n % 4):
            words[draw.randrange(len(words))] = draw.choice(WORDS)
        ours[f"t{n}"] = " ".join(words)
    wanted = []
    for name, text in sorted(ours.items()):
        less, twin = min((-jaccard(text, other), twin) for twin, other in theirs.items())
        if -less >= threshold:
            wanted.append((name, twin, -less))
    found = near_twins(ours, theirs, MANY_BANDS, threshold, temp_directory=tmp_path)
    assert len(found) > 30
    assert found == wanted
    shuffled = dict(draw.sample(sorted(ours.items()), len(ours)))
    assert near_twins(shuffled, theirs, MANY_BANDS, threshold, temp_directory=tmp_path, threads=2) == found
    assert list(tmp_path.iterdir()) == []


def test_an_empty_side_has_no_twins(tmp_path: Path) -> None:
    assert near_twins({}, {"a": "b"}, MANY_BANDS, 0.5, temp_directory=tmp_path) == []
    assert near_twins({"a": "b"}, {}, MANY_BANDS, 0.5, temp_directory=tmp_path) == []


def test_equal_texts_are_twins_of_jaccard_one(tmp_path: Path) -> None:
    ours = {"a": "one two three", "b": "one, two three!", "c": "four five six"}
    found = near_twins(ours, {"z": "One two three"}, MANY_BANDS, 0.9, temp_directory=tmp_path)
    assert found == [("a", "z", 1.0), ("b", "z", 1.0)]
