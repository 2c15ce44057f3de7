"""Prompt templates: how an example of a task is written, as small YAML files (shipped ones in lm/prompts).

    name: sentiment
    form: classification
    example: "Review: {text}\\nSentiment:"    # up to where the answer begins; {names} are the form's columns
    answer: " {answer}"                       # how the answer follows
    choices: {negative: " bad", ...}          # what a class is called, by its name; left out: the name itself
    unconditional: "Sentiment:"               # what the answer follows when it is scored without its example

A prompt is instruction, examples with answers, and the example that is asked, with `separator` between them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from lm.config import StrictModel
from lm.labelled.folder import Task
from lm.labelled.forms import Classification, Generation, MultipleChoice, QuestionAnswering

SHIPPED = Path(__file__).parents[1] / "prompts"
Normalise = Literal["sum", "per_byte", "per_token", "unconditional"]
NAME = re.compile(r"\{(\w+)\}")
COLUMNS: dict[str, tuple[str, ...]] = {
    "classification": ("text", "text_b"),
    "multiple_choice": ("context", "question", "letters"),
    "question_answering": ("context", "question"),
    "generation": ("source",),
}
"""What an example may name, by form; `letters` are the choices as lines "A. ...", "B. ..."."""


class Template(StrictModel):
    """How the examples of a form are put to a language model."""

    name: str = Field(description="What reports call it.")
    form: Literal["classification", "multiple_choice", "question_answering", "generation"] = Field(
        description="The form of the labelled sets it is for."
    )
    ask: Literal["choose", "generate", "hint"] = Field(
        default="choose",
        description="`choose`: the likeliest of the choices; `generate`: what the model writes; `hint`: how much"
        " likelier the right answer is with `hint` than without (GPT-2's TL;DR).",
    )
    instruction: str = Field(default="", description="Stands once, before everything.")
    example: str = Field(description="An example up to where its answer begins.")
    answer: str = Field(default=" {answer}", description="How the answer follows.")
    separator: str = Field(default="\n\n", description="Between instruction, examples, and what is asked.")
    hint: str = Field(default="", description="For `hint`: stands behind the example, before the answer.")
    choices: dict[str, str] | None = Field(
        default=None, description="What each class is called, by its name. Null: by its name."
    )
    lettered: bool = Field(default=False, description="Multiple choice: the answers are A, B, ... instead of texts.")
    normalise: Normalise = Field(
        default="sum",
        description="What decides between choices: ln p as it is, per UTF-8 byte, per token, or less that of the"
        " same answer behind `unconditional` (Brown et al. 2020, section 2.4).",
    )
    unconditional: str = Field(default="Answer:", description="What an answer follows without its example.")
    stop: tuple[str, ...] = Field(default=("\n",), description="For `generate`: where the answer ends.")
    tokens: int = Field(default=32, ge=1, description="For `generate`: an answer has no more tokens.")
    metric: Literal["exact", "f1", "bleu", "rouge_l"] = Field(
        default="exact", description="For `generate`: what counts as the score of an answer."
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> "Template":
        known = COLUMNS[self.form]
        if wrong := [name for name in NAME.findall(self.example) if name not in known]:
            raise ValueError(f"example: {{{wrong[0]}}} is no part of a {self.form}; it has {', '.join(known)}")
        if NAME.findall(self.answer) != ["answer"]:
            raise ValueError(f"answer: must name {{answer}} once and nothing else: {self.answer!r}")
        if (self.ask == "hint") != bool(self.hint):
            raise ValueError("`hint` is needed for `ask: hint`, and means nothing otherwise")
        if self.ask == "choose" and self.form not in ("classification", "multiple_choice"):
            raise ValueError(f"a {self.form} has no choices: `ask` must be generate or hint")
        if self.ask == "generate" and not all(self.stop):
            raise ValueError("stop: an empty string would stop everything")
        return self

    def check_fits(self, task: Task) -> None:
        """Raises ValueError if the examples of a set are not of the form, or a class has no name."""
        if task.ask.form != self.form:
            raise ValueError(f"the template {self.name} is for {self.form}, the set {task.name} is {task.ask.form}")
        if isinstance(task.ask, Classification) and (named := self.choices) is not None:
            missing = [name for name in task.ask.classes if name not in named]
            if missing:
                have = ", ".join(named)
                raise ValueError(f"the template {self.name} has no choice for {missing[0]!r} of {task.name}: {have}")


def shipped_templates() -> list[str]:
    """The names of the templates that come with Textmill."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_template(name: str | Path) -> Template:
    """A shipped template by its name, or that of a YAML file. Raises ValueError naming the file and the key."""
    path = SHIPPED / f"{name}.yaml" if str(name) in shipped_templates() else Path(name)
    if not path.is_file():
        raise ValueError(f"{name}: no such template; shipped are {', '.join(shipped_templates())}, or name a YAML file")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Template.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no readable YAML: {error}") from error


@dataclass(frozen=True)
class Item:
    """One example as it is put to a model. `answers`: all that are right (for `choose`, the choice itself);
    `choices`: what may be chosen, `label` which of them is right; `key`: its text, by which near-copies are told."""

    id: str
    group: str
    question: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    label: int = 0
    key: str = ""

    def __post_init__(self) -> None:
        if self.choices and not 0 <= self.label < len(self.choices):
            raise ValueError(f"item {self.id}: label {self.label} is none of {len(self.choices)} choices")


def last_word_items(template: Template, texts: Sequence[tuple[str, str]], least: int = 5) -> list[Item]:
    """Of each (id, text) of at least `least` words: what is before its last word, and that word, without the signs
    behind it (as LAMBADA's passages: Paperno et al. 2016). Texts that are too short make no item."""
    items = []
    for id, text in texts:
        words = text.split()
        if len(words) < least or not (last := words[-1].rstrip(".,;:!?\"'”’)")):
            continue
        before = text.rstrip()[: -len(words[-1])].rstrip()
        items.append(Item(id, "all", filled(template.example, source=before), (last,), key=text))
    return items


def items_of(template: Template, task: Task, rows: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The rows of a labelled set, written as the template says. Raises ValueError for what does not fit."""
    template.check_fits(task)
    write = {
        "classification": _classified,
        "multiple_choice": _chosen,
        "question_answering": _asked,
        "generation": _made,
    }[template.form]
    return [write(template, task, row) for row in rows]


def prompt(template: Template, shots: Sequence[Item], item: Item, hint: bool = True) -> str:
    """What the model sees before the answer."""
    behind = template.hint if hint else ""
    written = [shot.question + behind + filled(template.answer, answer=shot.answers[0]) for shot in shots]
    head = [template.instruction] if template.instruction else []
    return template.separator.join([*head, *written, item.question + behind])


def filled(pattern: str, **values: str) -> str:
    """The pattern with each {name} replaced once; braces in the values stay as they are."""
    return NAME.sub(lambda found: values[found[1]] if found[1] in values else found[0], pattern)


def _classified(template: Template, task: Task, row: Mapping[str, Any]) -> Item:
    assert isinstance(task.ask, Classification)
    names = task.ask.classes
    choices = tuple(template.choices[name] if template.choices else name for name in names)
    text, text_b, label = row["text"], row["text_b"] or "", int(row["label"])
    if "{text_b}" in template.example and not text_b:
        raise ValueError(
            f"example {row['id']} of {task.name} has no second text, the template {template.name} needs one"
        )
    question = filled(template.example, text=text, text_b=text_b)
    return Item(row["id"], names[label], question, (choices[label],), choices, label, f"{text}\n{text_b}")


def _chosen(template: Template, task: Task, row: Mapping[str, Any]) -> Item:
    assert isinstance(task.ask, MultipleChoice)
    texts, label = tuple(row["choices"]), int(row["label"])
    letters = tuple(chr(ord("A") + number) for number in range(len(texts)))
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True))
    question = filled(template.example, context=row["context"], question=row["question"], letters=lines)
    choices = letters if template.lettered else texts
    return Item(row["id"], "all", question, (choices[label],), choices, label, f"{row['context']}\n{row['question']}")


def _asked(template: Template, task: Task, row: Mapping[str, Any]) -> Item:
    assert isinstance(task.ask, QuestionAnswering)
    question = filled(template.example, context=row["context"], question=row["question"])
    answers = tuple(dict.fromkeys(row["answers"])) or ("unanswerable",)
    return Item(row["id"], "all", question, answers, key=f"{row['context']}\n{row['question']}")


def _made(template: Template, task: Task, row: Mapping[str, Any]) -> Item:
    assert isinstance(task.ask, Generation)
    return Item(
        row["id"], "all", filled(template.example, source=row["source"]), (row["target"],), key=str(row["source"])
    )
