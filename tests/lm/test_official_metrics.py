"""Entity F1 against seqeval, answers against SQuAD's own functions, on sequences and answers that hypothesis makes up.

Neither comes with Textmill; in an environment that has them (`seqeval`; `transformers` of version 4, which holds the
script of SQuAD 2.0) these tests run, elsewhere they are skipped. `tests/lm/test_task_metrics.py` needs neither.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.evaluate.metrics_answers import best, exact_match, normal_answer, scores_of, token_f1, token_f1_or_none
from lm.evaluate.metrics_entities import entity_counts, micro_f1
from lm.finetune.predictions import Predictions
from lm.finetune.threshold import best_threshold
from lm.labelled.conll import to_iob2
from lm.labelled.folder import Task
from lm.labelled.forms import QuestionAnswering

TYPES = ("PER", "LOC", "A-B")
Spans = list[tuple[str, int]]
"""Stretches of words: a type, or "" outside of any, and how many words."""


def iob1(spans: Spans) -> list[str]:
    """B- only where an entity touches one of its type before it."""
    tags: list[str] = []
    for kind, size in spans:
        touches = bool(kind) and bool(tags) and tags[-1].partition("-")[2] == kind
        tags += [f"{'B' if touches else 'I'}-{kind}", *[f"I-{kind}"] * (size - 1)] if kind else ["O"] * size
    return tags


def iob2(spans: Spans) -> list[str]:
    return [tag for kind, n in spans for tag in ([f"B-{kind}", *[f"I-{kind}"] * (n - 1)] if kind else ["O"] * n)]


def bioes(spans: Spans) -> list[str]:
    tags: list[str] = []
    for kind, size in spans:
        several = [f"B-{kind}", *[f"I-{kind}"] * (size - 2), f"E-{kind}"]
        tags += ["O"] * size if not kind else [f"S-{kind}"] if size == 1 else several
    return tags


SCHEMES = {"iob1": (iob1, "IOB1"), "iob2": (iob2, "IOB2"), "bioes": (bioes, "IOBES")}
"""How spans are written, and what seqeval calls it."""


def ours(labels: list[list[str]], said: list[list[str]]) -> float:
    return micro_f1(np.array([entity_counts(*pair) for pair in zip(labels, said, strict=True)]))


@st.composite
def two_taggings(draw: st.DrawFn) -> list[tuple[Spans, Spans]]:
    """Of each sentence two lists of spans over the same words, which are often alike."""
    sentences = []
    for _ in range(draw(st.integers(1, 4))):
        true: Spans = draw(
            st.lists(st.tuples(st.sampled_from(("", *TYPES)), st.integers(1, 3)), min_size=1, max_size=5)
        )
        said: Spans = []
        for kind, size in true:
            other = draw(st.sampled_from((kind, kind, *TYPES, "")))
            cut = draw(st.integers(0, size - 1))
            said += [(other, size)] if not cut else [(other, cut), (draw(st.sampled_from(("", *TYPES))), size - cut)]
        sentences.append((true, said))
    return sentences


@pytest.mark.parametrize("scheme", SCHEMES)
@given(made=two_taggings())
@settings(max_examples=150, deadline=None)
def test_entity_f1_equals_seqeval_in_every_scheme(scheme: str, made: list[tuple[Spans, Spans]]) -> None:
    """As it counts by default, and where it insists on the scheme; and however we read it, as IOB2 too."""
    seqeval = pytest.importorskip("seqeval.metrics")
    schemes = pytest.importorskip("seqeval.scheme")
    write, name = SCHEMES[scheme]
    labels, said = [write(true) for true, _ in made], [write(guess) for _, guess in made]
    found = ours(labels, said)
    assert found == pytest.approx(seqeval.f1_score(labels, said, zero_division=0), abs=1e-12)
    strict = seqeval.f1_score(labels, said, mode="strict", scheme=getattr(schemes, name), zero_division=0)
    assert found == pytest.approx(strict, abs=1e-12)
    as_read = [[to_iob2(tags, scheme)[0] for tags in of] for of in (labels, said)]  # type: ignore[arg-type]
    assert found == pytest.approx(ours(*as_read), abs=1e-12)


TAGS = st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in TYPES)])


@given(
    pairs=st.lists(
        st.integers(0, 8).flatmap(lambda n: st.tuples(*[st.lists(TAGS, min_size=n, max_size=n)] * 2)), min_size=1
    )
)
@settings(max_examples=300, deadline=None)
def test_entity_f1_equals_seqeval_on_tags_of_no_scheme(pairs: list[tuple[list[str], list[str]]]) -> None:
    """What a tagger may say: I- behind nothing, E- alone, another type in the middle."""
    seqeval = pytest.importorskip("seqeval.metrics")
    labels, said = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if not any(labels):
        return  # seqeval refuses no words at all
    assert ours(labels, said) == pytest.approx(seqeval.f1_score(labels, said, zero_division=0), abs=1e-12)


# --- answers ---------------------------------------------------------------------------------------------------------

WORDS = ["Paris", "paris", "theatre", "an", "A", "a", "The", "the", "U.S.", "it's", "10th", "1,000", "naïve", "STRASSE"]
MARKS = [
    " ",
    "  ",
    "\n",
    "\t",
    "\u00a0",
    "\u3000",
    "\u200b",
    "-",
    "—",
    ",",
    ".",
    "“",
    "”",
    "’",
    "'",
    '"',
    "!",
    "$",
    "_",
]
ODD = ["ß", "İ", "ﬁ", "é", "e\u0301", "Æ", "北京", "한국", "ʼ", "²", "🙂", "\u2028", "\u0000", ""]
ANSWERS = st.one_of(
    st.lists(st.sampled_from(WORDS + MARKS + ODD), max_size=9).map("".join),
    st.lists(st.sampled_from(WORDS + ODD), max_size=6).map(" ".join),
    st.text(max_size=12),
)


class Question(NamedTuple):
    """As SQuAD's functions want one."""

    qas_id: str
    answers: list[dict[str, str]]


@given(answer=ANSWERS, said=ANSWERS)
@settings(max_examples=1500, deadline=None)
def test_answers_equal_the_official_functions(answer: str, said: str) -> None:
    official = pytest.importorskip("transformers.data.metrics.squad_metrics")
    assert normal_answer(answer) == official.normalize_answer(answer)
    assert exact_match(answer, said) == official.compute_exact(answer, said)
    f1 = official.compute_f1(answer, said)
    assert token_f1_or_none(answer, said) == pytest.approx(f1, abs=1e-12)
    if normal_answer(answer) or normal_answer(said):  # of neither the script of 1.1 says 0
        assert token_f1(answer, said) == pytest.approx(f1, abs=1e-12)


@given(right=st.lists(ANSWERS, max_size=4), said=st.one_of(st.just(""), ANSWERS))
@settings(max_examples=500, deadline=None)
def test_the_best_of_several_answers_or_of_none_is_the_official_one(right: list[str], said: str) -> None:
    official = pytest.importorskip("transformers.data.metrics.squad_metrics")
    exact, f1 = official.get_raw_scores([Question("q", [{"text": answer} for answer in right])], {"q": said})
    rules = scores_of("en", True)
    assert best(rules["exact_match"], right, said, True) == exact["q"]
    assert best(rules["f1"], right, said, True) == pytest.approx(f1["q"], abs=1e-12)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["", "Paris", "the city of Rome"]), st.sampled_from(["Paris", "Rome", "a city"])),
        min_size=1,
        max_size=12,
    ),
    seed=st.integers(0, 999),
)
@settings(max_examples=200, deadline=None)
def test_the_threshold_reaches_the_official_best(rows: list[tuple[str, str]], seed: int) -> None:
    official = pytest.importorskip("transformers.data.metrics.squad_metrics")
    differences = np.random.default_rng(seed).permutation(len(rows)).astype(float)
    made: list[dict[str, Any]] = [
        {"id": str(n), "label": [answer] if answer else [], "span": span, "null_difference": float(difference)}
        for n, ((answer, span), difference) in enumerate(zip(rows, differences, strict=True))
    ]
    task = Task(name="q", ask=QuestionAnswering(unanswerable=True), metrics=("f1",))
    threshold = best_threshold(Predictions(task, made), "f1")
    rule = scores_of("en", True)["f1"]
    reached = [best(rule, r["label"], "" if r["null_difference"] > threshold else r["span"], True) for r in made]
    questions = [Question(row["id"], [{"text": answer} for answer in row["label"]]) for row in made]
    spans = {row["id"]: row["span"] for row in made}
    has = {row["id"]: bool(row["label"]) for row in made}
    if not any(has.values()):
        return  # the script divides by them
    _, f1 = official.get_raw_scores(questions, spans)
    score, *_ = official.find_best_thresh_v2(spans, f1, {row["id"]: row["null_difference"] for row in made}, has)
    assert 100 * np.mean(reached) == pytest.approx(score)
