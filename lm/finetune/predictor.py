"""A fine-tuned model as its users see it: records in, answers in the words of the task out."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lm.evaluate.metrics_entities import entities
from lm.finetune.artifact import device_of, load_finetuned
from lm.finetune.features.words import Words, forgetting
from lm.finetune.forms.base import Answer, Example
from lm.finetune.run import answer
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, MultipleChoice, QuestionAnswering, Regression, Tagging
from lm.stop import ShouldStop, never

Record = Mapping[str, Any]


class Predictor:
    """Opens a folder that `lm.finetune.train.finetune` wrote.

    predictor = Predictor(folder)
    predictor([{"text": "a charming film"}])     # [{"label": "positive", "probabilities": {...}}]
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.model, self.form, self.task, self.settings, self.pairs = load_finetuned(folder)
        self.model.to(device)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a record must have."""
        return tuple(name for name, _ in INPUTS[type(self.task.ask)](self.pairs))

    def not_known(self) -> str | None:
        """What is to be said of words of the records so far that a model which gives features does not know."""
        words = getattr(self.model.backbone, "words", None)
        return words.not_known() if isinstance(words, Words) else None

    def __call__(self, records: Iterable[Record], should_stop: ShouldStop = never) -> list[dict[str, Any]]:
        """What the model says of each record, in their order.

        Classification: `label` and `probabilities`, by class. Regression: `score`. Choice: `choice` (its place, from
        0), `answer` (its text) and `probabilities`. Tagging: `tags`, their `probabilities` and, where tags mark spans,
        `entities` (type, first and last word from 0, text). Questions: `answer` ("" for none), `start` and `end` in
        characters of the context (null for none), `probability`.

        Raises ValueError naming the record (from 0) and the column that is missing or of another kind.
        """
        given = list(records)
        examples = [self.example(record, f"record {number}") for number, record in enumerate(given)]
        if not examples:
            return []
        with forgetting():
            found = answer(self.model, self.form, self.form.items(examples), should_stop=should_stop)
        said = SAID[type(self.task.ask)]
        return [said(self.task, *each) for each in zip(examples, found, strict=True)]

    def example(self, record: Record, where: str) -> Example:
        """The example that a record is. Raises ValueError, beginning with `where`, for one that is none."""
        example: dict[str, Any] = {}
        for name, needed in INPUTS[type(self.task.ask)](self.pairs):
            value = record.get(name)
            if value is None and needed:
                if name in record:
                    raise ValueError(f"{where}: {name!r} is null: this model needs a value there")
                has = ", ".join(map(str, record)) or "no column"
                wanted = " and ".join(self.inputs)
                raise ValueError(f"{where}: no {name!r}: this model needs {wanted}; the record has {has}")
            example[name] = value if value is None else KINDS[name](value, where, self.task)
        return example

    @property
    def device(self) -> str:
        """Where the model is."""
        return device_of(self.model).type


def _text(value: Any, where: str, task: Task, name: str = "text") -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {name!r} is {type(value).__name__}, text is needed: {str(value)[:60]!r}")
    return value


def _named(name: str) -> Callable[[Any, str, Task], str]:
    return lambda value, where, task: _text(value, where, task, name)


def _words(value: Any, where: str, task: Task) -> list[str]:
    """A list, or a text that is cut at spaces, or into characters where the task's words stand without any."""
    assert isinstance(task.ask, Tagging)
    if isinstance(value, str):
        value = list("".join(value.split())) if task.ask.joined else value.split()
    words = _strings(value, where, "words")
    if not words:
        raise ValueError(f"{where}: 'words' is empty: there is nothing to tag")
    return words


def _choices(value: Any, where: str, task: Task) -> list[str]:
    """A list of at least two, or the JSON of one (in a csv file)."""
    if isinstance(value, str):
        import json

        try:
            value = json.loads(value)
        except ValueError as error:
            example = '["a", "b"]'
            raise ValueError(f"{where}: 'choices' is no JSON list such as {example}: {value[:60]!r}") from error
    found = _strings(value, where, "choices")
    if len(found) < 2:
        raise ValueError(f"{where}: 'choices' has {len(found)}; at least two are needed to choose from")
    return found


def _strings(value: Any, where: str, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(f"{where}: {name!r} is no list of texts, none of them empty: {str(value)[:60]!r}")
    return value


KINDS: dict[str, Callable[[Any, str, Task], Any]] = {
    "words": _words,
    "choices": _choices,
    **{name: _named(name) for name in ("text", "text_b", "context", "question")},
}
Columns = tuple[tuple[str, bool], ...]
"""Names, and whether a record must have them."""


def _texts(pairs: bool) -> Columns:
    return (("text", True), *((("text_b", True),) if pairs else ()))


INPUTS: dict[type, Callable[[bool], Columns]] = {
    Classification: _texts,
    Regression: _texts,
    MultipleChoice: lambda _: (("context", False), ("question", False), ("choices", True)),
    Tagging: lambda _: (("words", True),),
    QuestionAnswering: lambda _: (("context", True), ("question", True)),
}


def _class(task: Task, example: Example, said: Answer) -> dict[str, Any]:
    assert isinstance(task.ask, Classification)
    names = task.ask.classes
    shares = {name: _short(p) for name, p in zip(names, said["probabilities"], strict=True)}
    return {"label": names[said["predicted"]], "probabilities": shares}


def _number(task: Task, example: Example, said: Answer) -> dict[str, Any]:
    return {"score": said["predicted"]}


def _choice(task: Task, example: Example, said: Answer) -> dict[str, Any]:
    place = said["predicted"]
    probabilities = [_short(p) for p in said["probabilities"]]
    return {"choice": place, "answer": example["choices"][place], "probabilities": probabilities}


def _tags(task: Task, example: Example, said: Answer) -> dict[str, Any]:
    assert isinstance(task.ask, Tagging)
    found = {"tags": said["predicted"], "probabilities": [_short(p) for p in said["probabilities"]]}
    if task.ask.spans:
        between = "" if task.ask.joined else " "
        found["entities"] = [
            {**e._asdict(), "text": between.join(example["words"][e.first : e.last + 1])}
            for e in entities(said["predicted"])
        ]
    return found


def _span(task: Task, example: Example, said: Answer) -> dict[str, Any]:
    place = {"start": said["start"], "end": said["end"]} if said["predicted"] else {"start": None, "end": None}
    return {"answer": said["predicted"], **place, "probability": _short(said["probability"])}


def _short(p: float) -> float:
    """A float32 without the digits that it does not have."""
    return float(np.format_float_positional(np.float32(p), unique=True))


SAID: dict[type, Callable[[Task, Example, Answer], dict[str, Any]]] = {
    Classification: _class,
    Regression: _number,
    MultipleChoice: _choice,
    Tagging: _tags,
    QuestionAnswering: _span,
}
