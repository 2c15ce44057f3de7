"""Cutting by hash keeps texts that belong together on one side, and small parts are inside larger ones."""

import random
from typing import Any

import networkx
import pytest

from lm.labelled.cut import cut, first_by_hash, groups, input_texts, normal, point
from lm.labelled.examples import Example
from lm.labelled.forms import Chat, Classification, MultipleChoice

PAIRS = Classification(classes=("no", "yes"))


def pairs(count: int, texts: int, seed: int = 0) -> list[Example]:
    draw = random.Random(seed)
    return [
        {"id": f"e{n}", "text": f"text {draw.randrange(texts)}", "text_b": f"text {draw.randrange(texts)}", "label": 0}
        for n in range(count)
    ]


def test_groups_are_the_connected_components() -> None:
    examples = pairs(300, 400)
    graph: Any = networkx.Graph((e["text"], e["text_b"]) for e in examples)
    component = {text: min(part) for part in networkx.connected_components(graph) for text in part}
    assert groups(examples, ("text", "text_b")) == [component[e["text"]] for e in examples]
    assert len(set(component.values())) > 20


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cut_shares_no_text_and_does_not_depend_on_order(seed: int) -> None:
    examples = pairs(600, 1500, seed)
    parts = cut(examples, ("text", "text_b"), 0.2, 0.1, "s")
    shown = {split: {normal(e[c]) for e in part for c in ("text", "text_b")} for split, part in parts.items()}
    assert not shown["train"] & shown["valid"]
    assert not shown["train"] & shown["test"]
    assert not shown["valid"] & shown["test"]
    assert sum(map(len, parts.values())) == 600
    assert 60 < len(parts["valid"]) < 180
    assert 20 < len(parts["test"]) < 110
    shuffled = random.Random(seed).sample(examples, len(examples))
    again = cut(shuffled, ("text", "text_b"), 0.2, 0.1, "s")
    assert {s: {e["id"] for e in part} for s, part in again.items()} == {
        s: {e["id"] for e in part} for s, part in parts.items()
    }
    assert {e["id"] for e in cut(examples, ("text",), 0.2, 0.1, "other")["valid"]} != {
        e["id"] for e in cut(examples, ("text",), 0.2, 0.1, "s")["valid"]
    }


def test_a_larger_share_only_adds() -> None:
    examples = pairs(500, 2000)
    few, many = ({e["id"] for e in cut(examples, ("text",), share, 0.0, "s")["valid"]} for share in (0.1, 0.3))
    assert few < many


def test_case_and_space_do_not_part_texts_and_empty_ones_do_not_join() -> None:
    one, two = groups([{"id": "a", "text": "The  Cat"}, {"id": "b", "text": "the cat"}], ("text",))
    assert one == two
    empty = [
        {"id": name, "context": "", "question": question} for name, question in (("a", "Q"), ("b", "R"), ("c", "q"))
    ]
    assert groups(empty, ("context",))[0] == groups(empty, ("context",))[2] != groups(empty, ("context",))[1]
    nothing = groups([{"id": "a", "text": ""}, {"id": "b", "text": " "}], ("text",))
    assert nothing[0] != nothing[1]


def test_smaller_parts_are_inside_larger_ones_whatever_the_order() -> None:
    examples = [{"id": f"e{n}", "text": f"text {n}", "text_b": None, "label": 0} for n in range(400)]
    parts = {count: first_by_hash(PAIRS, examples, count, "s") for count in (10, 100, 399)}
    names = {count: [e["id"] for e in part] for count, part in parts.items()}
    assert [len(part) for part in parts.values()] == [10, 100, 399]
    assert set(names[10]) < set(names[100]) < set(names[399])
    assert names[100] == [e["id"] for e in examples if e["id"] in set(names[100])]  # in the order of the set
    shuffled = random.Random(1).sample(examples, 400)
    assert {e["id"] for e in first_by_hash(PAIRS, shuffled, 100, "s")} == set(names[100])
    assert first_by_hash(PAIRS, examples, None, "s") == first_by_hash(PAIRS, examples, 400, "s") == examples
    more = [*examples, {"id": "new", "text": "another", "text_b": None, "label": 0}]
    assert len(set(names[100]) - {e["id"] for e in first_by_hash(PAIRS, more, 100, "s")}) <= 1


def test_hashes_are_spread_evenly_and_known() -> None:
    points = sorted(point(str(n), "salt") for n in range(10_000))
    assert max(abs(p - n / 10_000) for n, p in enumerate(points)) < 0.02  # Kolmogorov-Smirnov, p about 0.001
    assert point("a", "b") == pytest.approx(0.1450556661912803)


def test_what_is_shown_of_each_form() -> None:
    pair = {"text": "B", "text_b": "A"}
    assert input_texts(PAIRS, pair) == ("b", "a")
    assert input_texts(PAIRS.model_copy(update={"symmetric": True}), pair) == ("a", "b")
    choice = {"context": "C", "question": "Q", "choices": ["x", "y"]}
    assert input_texts(MultipleChoice(), choice) == ("c", "q", "x y")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert input_texts(Chat(), {"messages": turns}) == ("user: hi",)
