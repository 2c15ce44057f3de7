"""From a record to an example of a form; what had to be mended or left out is counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lm.chat.messages import ROLES, BadConversation, check_messages
from lm.labelled.conll import to_iob2
from lm.labelled.fields import Fields
from lm.labelled.forms import (
    AnyForm,
    Chat,
    Classification,
    Generation,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    Tagging,
)
from lm.labelled.squad import checked_answers
from lm.labelled.streams import BadInput

Example = dict[str, Any]
SHOWN = 20


@dataclass
class Notes:
    """What reading met that is no error: how often, and where the first of them were."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, where: str, times: int = 1) -> None:
        """Count something."""
        if times:
            self.counts[what] += times
            places = self.places.setdefault(what, [])
            if len(places) < SHOWN:
                places.append(where)


def make_example(form: AnyForm, fields: Fields, notes: Notes) -> Example | None:
    """The columns of an example but for its id; None for one that is left out, which is noted.

    Raises BadInput naming the record, the field and what to do.
    """
    return MAKERS[type(form)](form, fields, notes)


def _texts(fields: Fields) -> Example:
    return {"text": fields.text("text"), "text_b": fields.text("text_b") if fields.has("text_b") else None}


def _classification(form: Classification, fields: Fields, notes: Notes) -> Example:
    label = fields.choice("label", fields.value("label"), form.classes, "class")
    return {**_texts(fields), "label": label}


def _regression(form: Regression, fields: Fields, notes: Notes) -> Example:
    return {**_texts(fields), "label": fields.number("label", form.low, form.high)}


def _multiple_choice(form: MultipleChoice, fields: Fields, notes: Notes) -> Example:
    choices = fields.texts("choices")
    if len(choices) < 2:
        raise fields.bad("choices", f"{len(choices)} choices: two or more are needed")
    numbers = [str(number) for number in range(len(choices))]
    label = fields.choice("label", fields.value("label"), numbers, "number of a choice")
    context, question = (fields.text(name) if fields.has(name) else "" for name in ("context", "question"))
    return {"context": context, "question": question, "choices": choices, "label": label}


def _tagging(form: Tagging, fields: Fields, notes: Notes) -> Example:
    words = fields.texts("words")
    raw = fields.value("tags")
    if not isinstance(raw, list | tuple) or len(raw) != len(words):
        count = f"{len(raw)} tags" if isinstance(raw, list | tuple) else "no list of tags"
        raise fields.bad("tags", f"{count} for {len(words)} words: one for each is needed")
    # a number is the place of a tag; names are read by their scheme before they are looked up
    given = [form.tags[fields.choice("tags", tag, form.tags, "tag")] if isinstance(tag, int) else tag for tag in raw]
    named = [fields.config.labels.get(str(tag), str(tag)) for tag in given]
    try:
        tags, wrong = to_iob2(named, fields.config.scheme if form.spans else "none")
    except ValueError as error:
        raise fields.bad("tags", f"{error}; set read.scheme") from error
    if (unknown := next((tag for tag in tags if tag not in form.tags), None)) is not None:
        raise fields.bad("tags", f"{unknown!r} is no tag ({', '.join(form.tags)}); name it in read.labels")
    notes.add("tags_mended", fields.record.short, wrong)
    return {"words": words, "tags": tags}


def _question_answering(form: QuestionAnswering, fields: Fields, notes: Notes) -> Example | None:
    context, where = fields.text("context"), fields.record.short
    answers, starts = fields.value("answers"), fields.value("starts") if fields.has("starts") else None
    answers = [answers] if isinstance(answers, str) else answers or []
    starts = [starts] if isinstance(starts, int) else starts
    if not all(isinstance(answer, str) for answer in answers):
        raise fields.bad("answers", "a text or a list of texts is needed")
    if starts is not None and (len(starts) != len(answers) or not all(type(start) is int for start in starts)):
        raise fields.bad("starts", f"a whole number for each of {len(answers)} answers is needed, in characters")
    if not answers and not form.unanswerable:
        raise fields.bad("answers", "there is none; set ask.unanswerable to true if there may be none (SQuAD 2.0)")
    checked = checked_answers(context, answers, starts)
    notes.add("answers_moved", where, checked.moved)
    notes.add("answers_left_out", where, len(checked.left_out))
    if answers and not checked.texts:
        notes.add("questions_left_out", where)
        return None
    question = fields.text("question")
    return {"context": context, "question": question, "answers": checked.texts, "starts": checked.starts}


def _generation(form: Generation, fields: Fields, notes: Notes) -> Example:
    return {"source": fields.text("source"), "target": fields.text("target")}


def _chat(form: Chat, fields: Fields, notes: Notes) -> Example:
    if fields.has("prompt"):
        messages = [
            {"role": role, "content": fields.text(name)}
            for role, name in zip(ROLES, ("system", "prompt", "response"), strict=True)
            if name != "system" or fields.has("system")
        ]
        messages = [message for message in messages if message["role"] != "system" or message["content"]]
        return {"messages": _checked(fields, messages)}
    messages = fields.value("messages")
    if not isinstance(messages, list) or not messages:
        raise fields.bad("messages", "a list of objects with role and content is needed, or prompt and response")
    made = []
    for number, message in enumerate(messages):
        role, content = (message.get(key) if isinstance(message, dict) else None for key in ("role", "content"))
        if role not in ROLES or not isinstance(content, str):
            raise fields.bad(
                "messages", f"message {number}: a role of {', '.join(ROLES)} and a text as content are needed"
            )
        made.append({"role": role, "content": content})
    return {"messages": _checked(fields, made)}


def _checked(fields: Fields, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """What `instruct` would refuse is refused here."""
    try:
        check_messages(messages, fields.record.where)
    except BadConversation as error:
        raise BadInput(str(error)) from error
    return messages


MAKERS: dict[type, Callable[..., Example | None]] = {
    Classification: _classification,
    Regression: _regression,
    MultipleChoice: _multiple_choice,
    Tagging: _tagging,
    QuestionAnswering: _question_answering,
    Generation: _generation,
    Chat: _chat,
}
