"""The graded corpus in small, on docstrings and Chinese pages.

Candidates are on the S-curve, removals right, there are no chains, templates are kept.
"""

import pytest

from benchmarks.dedupe_graded import (
    Pair,
    chained,
    chains,
    graded_pairs,
    jaccard,
    judged,
    ours,
    s_curve,
    template_pages,
    templates_kept,
)
from data_quality.config import SignatureConfig

CONFIG = SignatureConfig()
KINDS = {"en": {"words", "sentences", "header", "truncated"}, "zh": {"characters"}}


@pytest.fixture(scope="module", params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pairs(language: str) -> list[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEXTMILL_DATA", raising=False)
        return graded_pairs(language, 216)


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_recall_is_the_s_curve_and_every_removal_is_right(pairs: list[Pair], threshold: float) -> None:
    chances = [s_curve(pair.similarity, CONFIG) for pair in pairs if pair.similarity >= threshold]
    found = judged(ours(CONFIG), pairs, threshold)
    assert len(chances) >= 20
    spread = sum(chance * (1 - chance) for chance in chances) ** 0.5
    assert abs(found["recall"] * len(chances) - sum(chances)) <= 4 * spread + 0.5
    assert found["precision"] == 1.0


def test_the_corpus_is_graded(pairs: list[Pair], language: str) -> None:
    assert {pair.kind for pair in pairs} == KINDS[language]
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99)):
        assert sum(low <= pair.similarity < high for pair in pairs) >= 10


def test_pages_on_a_template_stay() -> None:
    one, other = template_pages(2)
    assert 0.35 < jaccard(one, other) < 0.5
    assert templates_kept(ours(CONFIG), 60) >= 0.95


def test_nothing_goes_by_a_chain() -> None:
    for first, second, third in chains(5):
        assert min(jaccard(first, second), jaccard(second, third)) >= 0.8 > jaccard(first, third)
    assert chained(ours(CONFIG), 20) == 0.0
