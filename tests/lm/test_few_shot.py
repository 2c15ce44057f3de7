"""In-context learning: prompts as written, examples drawn for good and never the item's own, decisions by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.evaluate.continuations import Continuations
from lm.evaluate.few_shot import Few, few_shot_decisions, few_shot_figures, normalised
from lm.evaluate.prompts import Item, Template, items_of, last_word_items, load_template, prompt, shipped_templates
from lm.evaluate.shots import draw_shots, is_near
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, Generation, MultipleChoice, QuestionAnswering
from tests.lm import exam_models
from tests.lm.exam_models import PROSE

SENTIMENT = Task(name="films", ask=Classification(classes=("negative", "positive")), metrics=("accuracy",))
ROWS = [{"id": str(n), "text": text, "text_b": None, "label": n % 2} for n, text in enumerate(PROSE)]


def test_a_prompt_is_written_as_its_template_says() -> None:
    template = load_template("sentiment")
    items = items_of(template, SENTIMENT, ROWS)
    assert prompt(template, items[:1], items[1]) == (
        f"Review: {PROSE[0]}\nSentiment: negative\n\nReview: {PROSE[1]}\nSentiment:"
    )
    topic = load_template("topic").model_copy(update={"choices": None, "instruction": "Say which."})
    asked = items_of(topic, SENTIMENT, ROWS)
    assert prompt(topic, [], asked[0]).startswith("Say which.\n\nQuestion: The harbour")


def test_braces_in_a_text_stay_as_they_are() -> None:
    rows = [{"id": "a", "text": "{text_b} {x} {answer}", "text_b": None, "label": 0}]
    [item] = items_of(load_template("sentiment"), SENTIMENT, rows)
    assert item.question == "Review: {text_b} {x} {answer}\nSentiment:"


def test_every_shipped_template_writes_its_form() -> None:
    tasks: dict[str, tuple[Any, dict[str, Any]]] = {
        "classification": (
            None,
            {"text": "One.", "text_b": "Two.", "label": 0},
        ),
        "multiple_choice": (
            MultipleChoice(),
            {"context": "A story.", "question": "Who?", "choices": ["Ann", "Ben"], "label": 1},
        ),
        "question_answering": (
            QuestionAnswering(),
            {"context": "Ann came.", "question": "Who came?", "answers": ["Ann"], "starts": [0]},
        ),
        "generation": (Generation(), {"source": "The cat sat on the", "target": "mat"}),
    }
    assert {
        "sentiment",
        "topic",
        "entailment",
        "multiple-choice",
        "question-answering",
        "translation",
        "summary",
        "cloze",
    } <= set(shipped_templates())
    for name in shipped_templates():
        template = load_template(name)
        form, row = tasks[template.form]
        ask = form or Classification(classes=tuple(template.choices or ("a", "b")))
        [item] = items_of(template, Task(name=name, ask=ask, metrics=("accuracy",)), [{"id": "1", **row}])
        written = prompt(template, [item], item)
        assert written.count(item.question) == 2
        assert written.endswith(template.hint or item.question[-5:])
        assert item.answers[0]


def test_examples_are_decided_by_seed_and_item_and_are_never_its_own() -> None:
    template = load_template("sentiment")
    train = items_of(template, SENTIMENT, ROWS)
    copy = Item("x", "negative", "", ("negative",), ("negative", "positive"), 0, PROSE[2].replace("She", "she,") + "\n")
    for seed in range(20):
        shots, near = draw_shots(train, copy, 5, seed)
        assert "2" not in {shot.id for shot in shots}
        assert len(shots) == 5
        assert near <= 1
        assert shots == draw_shots(train, copy, 5, seed)[0]
    assert len({tuple(shot.id for shot in draw_shots(train, copy, 3, seed)[0]) for seed in range(20)}) > 5
    one = draw_shots(train, train[0], 3, 0)[0]
    assert train[0] not in one
    assert one != draw_shots(train, train[1], 3, 0)[0]
    assert is_near(train[0], Item("0", "", "", ("",)))
    assert not is_near(train[0], train[1])


def test_choices_are_decided_in_four_ways(tmp_path: Path) -> None:
    model = exam_models.gpt(tmp_path, context=200)
    template = load_template("sentiment").model_copy(
        update={"choices": {"negative": "bad and dull", "positive": "good"}}
    )
    items = items_of(template, SENTIMENT, ROWS)
    few = Few(template, shots=1)
    rows = few_shot_decisions(model, items, items, few).to_pylist()
    scorer = Continuations(model, cached=False)
    for item, row in zip(items, rows, strict=True):
        [shot], _ = draw_shots(items, item, 1, 0)
        scores = scorer.score(prompt(template, [shot], item), [" bad and dull", " good"])
        alone = scorer.score("Sentiment:", [" bad and dull", " good"])
        logs = np.array([-score.nats for score in scores])
        assert row["log_probs"] == pytest.approx(logs.tolist(), rel=1e-4)
        assert row["score"] == float(np.argmax(logs) == item.label)
        for name, wanted in (
            ("per_byte", logs / [13, 5]),
            ("per_token", logs / [score.tokens for score in scores]),
            ("unconditional", logs + [score.nats for score in alone]),
        ):
            np.testing.assert_allclose(normalised(row, name), wanted, rtol=1e-4)  # type: ignore[arg-type]
    table = few_shot_decisions(model, items, items, few)
    figures = few_shot_figures(table, template)
    assert figures["accuracy"] == figures["accuracy_sum"]
    assert figures["chance"]["value"] == 0.5
    assert figures["accuracy/negative"]["n"] == 3
    assert figures["equal"]["value"] == 0


def test_choices_that_are_equally_good_are_counted(tmp_path: Path) -> None:
    """To a unigram an answer is as likely behind any question as behind none."""
    template = load_template("sentiment").model_copy(update={"normalise": "unconditional"})
    items = items_of(template, SENTIMENT, ROWS)
    table = few_shot_decisions(exam_models.ngram(tmp_path, order=1), items, items, Few(template, shots=1))
    figures = few_shot_figures(table, template)
    assert figures["equal"] == {**figures["equal"], "value": len(items), "n": len(items)}
    assert figures["accuracy"]["value"] == 0.5  # all of one class


def test_what_does_not_fit_loses_examples_and_is_counted(tmp_path: Path) -> None:
    template = load_template("sentiment")
    items = items_of(template, SENTIMENT, ROWS)
    model = exam_models.gpt(tmp_path, context=110)
    table = few_shot_decisions(model, items, items, Few(template, shots=4))
    rows = table.to_pylist()
    assert all(row["shots"] + row["dropped"] == 4 for row in rows)
    assert any(row["dropped"] for row in rows)
    assert not any(row["cut"] for row in rows)
    scorer = Continuations(model)
    for item, row in zip(items, rows, strict=True):
        shots, _ = draw_shots(items, item, 4, 0)
        kept, more = shots[4 - row["shots"] :], shots[4 - row["shots"] - 1 :]
        assert scorer.fits(prompt(template, kept, item), [" negative", " positive"])
        if row["dropped"]:
            assert not scorer.fits(prompt(template, more, item), [" negative", " positive"])
    tiny = few_shot_decisions(exam_models.gpt(tmp_path, context=12), items, items, Few(template, shots=2))
    figures = few_shot_figures(tiny, template)
    assert (figures["prompts_cut"]["value"], figures["examples_dropped"]["value"]) == (6, 12)


def test_written_answers_are_scored(tmp_path: Path) -> None:
    template = load_template("cloze")
    task = Task(name="last", ask=Generation(), metrics=("exact",))
    rows = [
        {"id": str(n), "source": text.rsplit(" ", 1)[0], "target": text.rsplit(" ", 1)[1].rstrip(".")}
        for n, text in enumerate(PROSE)
    ]
    model = exam_models.ngram(tmp_path, order=5)  # which has read these
    table = few_shot_decisions(model, items_of(template, task, rows), [], Few(template, shots=0))
    figures = few_shot_figures(table, template)
    assert figures["exact"]["value"] == 1.0, table.to_pylist()
    assert table["answer"].to_pylist() == [row["target"] for row in rows]
    [first] = Continuations(model).score(rows[0]["source"], [" " + rows[0]["target"]])
    assert table["log_prob"].to_pylist()[0] == pytest.approx(-first.nats)


def test_written_summaries_are_scored_by_what_they_share_in_order(tmp_path: Path) -> None:
    template = load_template("summary-written").model_copy(update={"example": "{source}"})
    task = Task(name="docs", ask=Generation(), metrics=("rouge_l",))
    source, rest = PROSE[0].rsplit(" ", 4)[0], " ".join(PROSE[0].split()[-4:])
    items = items_of(template, task, [{"id": "1", "source": source, "target": "the new stone wall, at last"}])
    model = exam_models.ngram(tmp_path, order=5)
    [row] = few_shot_decisions(model, items, [], Few(template.model_copy(update={"stop": (".",)}), 0)).to_pylist()
    assert row["answer"] == rest.rstrip(".") == "the old stone wall"
    assert row["score"] == pytest.approx(2 * 3 / (4 + 6))  # the ... stone wall, of four words and of six


def test_bleu_of_written_answers(tmp_path: Path) -> None:
    template = load_template("translation")
    task = Task(name="same", ask=Generation(), metrics=("bleu",))
    rows = [{"id": str(n), "source": text, "target": text} for n, text in enumerate(PROSE[:2])]
    items = items_of(template, task, rows)
    model = exam_models.gpt(tmp_path)
    figures = few_shot_figures(few_shot_decisions(model, items, items, Few(template, shots=1)), template)
    assert 0 <= figures["bleu"]["value"] < 50
    assert 0 <= figures["chrf"]["value"] <= 100


def test_the_hint_is_a_difference_of_log_probabilities(tmp_path: Path) -> None:
    template = load_template("summary")
    task = Task(name="docs", ask=Generation(), metrics=("gain",))
    items = items_of(template, task, [{"id": "1", "source": PROSE[0], "target": "Boats in a harbour."}])
    model = exam_models.gpt(tmp_path, context=120)
    table = few_shot_decisions(model, items, [], Few(template, shots=0))
    scorer = Continuations(model, cached=False)
    [with_hint] = scorer.score(PROSE[0] + "\nTL;DR:", [" Boats in a harbour."])
    [without] = scorer.score(PROSE[0], [" Boats in a harbour."])
    [row] = table.to_pylist()
    assert row["score"] == pytest.approx(without.nats - with_hint.nats, rel=1e-3)
    assert few_shot_figures(table, template)["gain_nats"]["value"] == pytest.approx(row["score"])


def test_written_answers_are_compared_by_the_rules_of_their_language(tmp_path: Path) -> None:
    template = load_template("question-answering")
    model = exam_models.ngram(tmp_path, order=5)  # goes on as PROSE does
    asked = Item("1", "all", PROSE[0].rsplit(" ", 2)[0], ("the old stone", "Stone Wall!"))
    [row] = few_shot_decisions(model, [asked], [], Few(template, 0)).to_pylist()
    assert (row["answer"], row["exact"], row["f1"]) == ("stone wall.", 1.0, 1.0)  # SQuAD: no case, no signs
    [row] = few_shot_decisions(model, [asked], [], Few(template, 0, language="zh")).to_pylist()
    assert row["exact"] == 0.0  # CMRC leaves the full stop of English where it is
    assert row["f1"] == pytest.approx(2 * 1 / 4)  # its longest common run: "stone" of two words and two


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"example": "{txt}:"}, "example: {txt} is no part of a classification; it has text, text_b"),
        ({"answer": " {label}"}, "answer: must name {answer} once"),
        ({"ask": "hint"}, "`hint` is needed for `ask: hint`"),
        ({"form": "generation", "example": "{source}"}, "a generation has no choices"),
        ({"stop": [""], "ask": "generate"}, "an empty string would stop everything"),
        ({"sepparator": ""}, "sepparator: Extra inputs are not permitted"),
    ],
)
def test_faults_of_templates(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "form": "classification", "example": "{text}:", **changed}))
    with pytest.raises(ValueError, match="mine.yaml.*" + re.escape(message)):
        load_template(path)


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such template; shipped are cloze, entailment"):
        load_template("nowhere")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"bad\.yaml: no readable YAML"):
        load_template(tmp_path / "bad.yaml")
    sentiment = load_template("sentiment")
    with pytest.raises(ValueError, match="is for classification, the set docs is generation"):
        items_of(sentiment, Task(name="docs", ask=Generation(), metrics=("bleu",)), [])
    other = Task(name="stars", ask=Classification(classes=("one", "positive")), metrics=("accuracy",))
    with pytest.raises(ValueError, match="has no choice for 'one' of stars: negative, positive"):
        items_of(sentiment, other, [])
    with pytest.raises(ValueError, match="example 0 of films has no second text"):
        items_of(load_template("entailment-two").model_copy(update={"choices": None}), SENTIMENT, ROWS)
    with pytest.raises(ValueError, match="item 9: label 2 is none of 2 choices"):
        Item("9", "", "", ("a",), ("a", "b"), 2)
    items = items_of(sentiment, SENTIMENT, ROWS)
    with pytest.raises(ValueError, match="7 examples are to stand before each item, the training split has 6"):
        few_shot_decisions(exam_models.ngram(tmp_path), items, items, Few(sentiment, 7))
    template = Template(name="x", form="classification", example="{text}", answer="{answer}")
    with pytest.raises(ValueError, match="a masked language model defines no probability"):
        few_shot_decisions(exam_models.bert(tmp_path), items, items, Few(template, 0))


def test_the_last_word_of_a_text_is_asked() -> None:
    texts = [("a", 'He said: "I am going home."'), ("b", "too short"), ("c", "one two three four  five\n")]
    items = last_word_items(load_template("cloze"), texts)
    assert [(item.id, item.question, item.answers) for item in items] == [
        ("a", 'He said: "I am going', ("home",)),
        ("c", "one two three four", ("five",)),
    ]
