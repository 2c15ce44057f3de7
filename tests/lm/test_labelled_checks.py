"""What the checks find, on examples made so that the answer is known."""

from typing import Any

import pytest

from lm.labelled.checks import (
    Contradiction,
    Twin,
    agree,
    answer,
    balance,
    contradictions,
    duplicates,
    empty_fields,
    excerpt,
    one_sided,
    overlaps,
    shared_texts,
)
from lm.labelled.examples import Example
from lm.labelled.forms import (
    Chat,
    Classification,
    Generation,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    Tagging,
)

MOOD = Classification(classes=("bad", "good", "mixed"))


def mood(id: str, text: str, label: int, text_b: str | None = None) -> Example:
    return {"id": id, "text": text, "text_b": text_b, "label": label}


TRAIN = [
    mood("a", "Fine film", 1),
    mood("b", "fine  FILM", 1),
    mood("c", "fine film", 0),
    mood("d", "Fine film", 0),
    mood("e", "dull", 0),
    mood("f", " ", 0),
]


def test_duplicates_say_again_what_the_first_with_their_answer_said() -> None:
    assert duplicates(MOOD, "train", TRAIN) == [
        Twin("train", "b", "train", "a", "exact", 1.0, True),
        Twin("train", "d", "train", "c", "exact", 1.0, True),
    ]


def test_contradictions_name_all_examples_of_a_text() -> None:
    assert contradictions(MOOD, "train", TRAIN) == [
        Contradiction("train", ("a", "b", "c", "d"), ("good", "good", "bad", "bad"), "Fine film")
    ]


def test_two_that_agree_with_a_third_may_contradict_each_other() -> None:
    form = Regression(low=0, high=5)
    texts = {"text": "one", "text_b": "two"}
    middle, low, high = ({"id": id, **texts, "label": at} for id, at in (("m", 1.4), ("l", 1.0), ("h", 1.8)))
    assert agree(form, middle, low)
    assert agree(form, middle, high)
    [found] = contradictions(form, "train", [middle, low, high])
    assert (found.ids, found.answers) == (("m", "l", "h"), ("1.4", "1", "1.8"))
    assert contradictions(form, "train", [middle, low]) == []
    asked = {"context": "Ann and Ben came.", "question": "Who came?", "starts": [0]}
    said = (["Ann", "Ben"], ["Ann"], ["Ben"])
    both, ann, ben = ({"id": str(number), **asked, "answers": answers} for number, answers in enumerate(said))
    [found] = contradictions(QuestionAnswering(), "train", [both, ann, ben])
    assert found.ids == ("0", "1", "2")
    assert contradictions(QuestionAnswering(), "train", [both, ann]) == []
    assert contradictions(Generation(), "train", [{"id": n, "source": "a", "target": n} for n in "xy"]) == []


def test_overlaps_say_whether_the_answer_is_the_same() -> None:
    held = {"valid": [mood("v", "FINE film", 0), mood("w", "dull", 1)]}
    assert [(t.id, t.other, t.same) for t in overlaps(MOOD, "train", TRAIN, "valid", held)] == [
        ("a", "v", False),
        ("b", "v", False),
        ("c", "v", True),
        ("d", "v", True),
        ("e", "w", False),
    ]


def test_a_symmetric_pair_is_equal_turned_round() -> None:
    turned = [mood("a", "x", 1, "y"), mood("b", "y", 1, "x")]
    assert duplicates(MOOD, "train", turned) == []
    [twin] = duplicates(MOOD.model_copy(update={"symmetric": True}), "train", turned)
    assert (twin.id, twin.other) == ("b", "a")


def test_shared_texts_are_counted_by_column() -> None:
    train = [mood("a", "one", 0, "two")]
    held = [mood("v", "Two", 0, "three"), mood("w", "four", 0, "two"), mood("x", "one", 0, "one")]
    assert shared_texts(MOOD, train, held) == {"text": 2, "text_b": 2}


def test_empty_fields_are_named() -> None:
    assert list(empty_fields(MOOD, "train", TRAIN)) == [("train", "f", "text")]
    pairs = [mood("a", "x", 0, "y"), mood("b", "x", 0, "")]
    assert list(empty_fields(MOOD, "train", pairs)) == [("train", "b", "text_b")]
    choice = MultipleChoice()
    whole = {"id": "a", "context": "", "question": "q", "choices": ["x", "y"], "label": 0}
    assert list(empty_fields(choice, "train", [whole])) == []
    assert list(empty_fields(choice, "train", [{**whole, "choices": ["x", " "]}])) == [("train", "a", "choices")]
    tagged = {"id": "t", "words": [], "tags": []}
    assert {name for _, _, name in empty_fields(Tagging(tags=("O", "B-X")), "valid", [tagged])} == {"words", "tags"}
    turns = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    found = list(empty_fields(Chat(), "train", [{"id": "c", "messages": turns}]))
    assert found == [("train", "c", "messages")]


def test_balance_and_labels_that_stand_on_one_side_only() -> None:
    table = balance(MOOD, {"train": TRAIN, "valid": [mood("v", "x", 2)]})
    assert table == {
        "bad": {"train": 4, "valid": 0},
        "good": {"train": 2, "valid": 0},
        "mixed": {"train": 0, "valid": 1},
    }
    assert one_sided(table) == {"unseen": ["mixed"], "train_only": ["bad", "good"], "nowhere": []}
    names = Tagging(tags=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    sentence = {"id": "s", "words": ["a", "b", "c"], "tags": ["B-PER", "I-PER", "O"]}
    assert balance(names, {"train": [sentence]}) == {"PER": {"train": 1}, "LOC": {"train": 0}}
    assert one_sided(balance(names, {"train": [sentence]}))["nowhere"] == ["LOC"]
    scores = Regression(low=0, high=5)
    rows = [{"id": str(n), "text": "t", "text_b": None, "label": value} for n, value in enumerate((0.0, 0.9, 1.0, 5.0))]
    assert balance(scores, {"train": rows}) == {"0..1": {"train": 2}, "1..2": {"train": 1}, "4..5": {"train": 1}}
    asked = [{"id": "a", "context": "c", "question": "q", "answers": answers} for answers in (["c"], [])]
    assert balance(QuestionAnswering(), {"train": asked}) == {"answered": {"train": 1}, "no answer": {"train": 1}}


@pytest.mark.parametrize(
    ("form", "one", "other", "agreed"),
    [
        (Regression(low=0, high=5), {"label": 2.0}, {"label": 2.5}, True),
        (Regression(low=0, high=5), {"label": 2.0}, {"label": 2.6}, False),
        (QuestionAnswering(), {"answers": ["A cat", "cat"]}, {"answers": ["a CAT"]}, True),
        (QuestionAnswering(), {"answers": ["cat"]}, {"answers": []}, False),
        (QuestionAnswering(), {"answers": []}, {"answers": []}, True),
        (MultipleChoice(), {"choices": ["x", "y"], "label": 0}, {"choices": ["x", "y"], "label": 1}, False),
        (Generation(), {"target": "Hund"}, {"target": "Köter"}, True),  # both may be right
        (Tagging(tags=("O", "B-X")), {"tags": ["O"]}, {"tags": ["B-X"]}, False),
    ],
)
def test_when_two_answers_contradict(form: Any, one: Example, other: Example, agreed: bool) -> None:
    assert agree(form, one, other) is agree(form, other, one) is agreed


def test_texts_that_may_become_several_are_duplicates_only_with_one_answer() -> None:
    rows = [{"id": n, "source": "a dog", "target": t} for n, t in (("a", "Hund"), ("b", "Köter"), ("c", "hund"))]
    assert [(t.id, t.other) for t in duplicates(Generation(), "train", rows)] == [("c", "a")]
    assert contradictions(Generation(), "train", rows) == []


def test_answers_and_excerpts_can_be_read() -> None:
    question = {"context": "The cat\n sat.", "question": "Who?", "answers": ["the cat", "cat"]}
    assert answer(QuestionAnswering(), question) == "cat | the cat"
    assert excerpt(QuestionAnswering(), question) == "The cat sat. ⇥ Who?"
    assert excerpt(MOOD, mood("a", "x" * 300, 0), 10) == "xxxxxxxxx…"
    assert answer(Regression(), {"label": 3.5}) == "3.5"
