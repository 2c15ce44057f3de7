"""docs/configuration.md, generated from the models: `python -m flows.project.reference > docs/configuration.md`."""

import datetime
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flows.commands.clean import CleanConfig
from flows.config.champion import ChampionConfig
from flows.config.curation import Curation
from flows.config.finetune import TuningConfig
from flows.config.garbage import GarbageConfig
from flows.config.instruct import InstructConfig
from flows.config.ladder import LadderConfig
from flows.config.loading import DISCRIMINATORS, nested_models
from flows.config.pipeline import PipelineConfig, TokensConfig
from flows.config.scaling import ScalingConfig
from flows.config.search import SearchTuningConfig
from flows.config.stack import StackConfig
from flows.config.study import StudyConfig
from flows.config.task import TaskConfig
from flows.config.translation import TranslationConfig

HEAD = """# Configuration

Every key of a pipeline's YAML file, generated from the models (`python -m flows.project.reference >
docs/configuration.md`; a test keeps this page equal to them). Unknown keys are refused with the nearest valid one. On
the command line, `--set section.key=VALUE` replaces one value; `VALUE` is YAML, and an index steps into a list
(`--set ingest.sources.0.name=manuals`).
"""


CLEAN = """
# Cleaning alone

The file of `textmill clean --config` has the keys of a pipeline's up to `mixture`, and `resources`, and this one;
`name` and `ingest` may be left out.
"""

LADDER = """
# One model, and the ladder

The files of `textmill pretrain` and of `textmill ladder` have the keys above but for `model`, `pretrain`, `task` and
`finetune`, and the following; `textmill pretrain` has one `model` in place of `models`, with the same keys, and
`init_from`: the artifact or folder of a model of the same kind to go on from, with its sizes and its tokenizer; and
`processes`, `nodes`, `sharding` and `rendezvous` as under `pretrain`.
A file that says `extends: FILE` has the keys of that one, but for those that it says itself.
"""

SCALING = """
# A scaling study

The files of `textmill scaling` have the keys of a pipeline's up to `tokenizer`, and these; `train` says all but how
long.
"""

TRANSLATION = """
# A translator

The files of `textmill train-translator` have these keys. `extends` works here, too.
"""

TUNING = """
# A fine-tuning

The files of `textmill finetune` have these keys; `--task`, `--data` and `--model` set the keys of those names.
"""

SEARCH = """
# A search

The files of `textmill search` have the keys of a fine-tuning, and these.
"""

STUDY = """
# A study

The files of `textmill study` have these keys; `--model NAME=MODEL` sets one of `models`. `extends` works here, too.
"""

TASK = """
# A task

The files of `textmill task check` (configs/tasks) have these keys. `extends` works here, too.
"""

CHAMPION = """
# Champion and challenger

The files of `textmill champion` (configs/champion/weekly.yaml) have these keys.
"""

GARBAGE = """
# Garbage collection

The parameter `config` of the deployment nightly-gc has these keys.
"""

INSTRUCT = """
# Instruction tuning

The files of `textmill instruct` have these keys; `--task`, `--data` and `--model` set the keys of those names.
`extends` works here, too.
"""

STACK = """
# A team's stack

The file of `textmill up --stack` (configs/stack/team.yaml) has these keys; [the howto](howto/team.md) has an
environment variable for each that differs by machine.
"""


def beside(config: type[BaseModel], shared: type[BaseModel]) -> set[str]:
    """The keys that a configuration has beside those of another, which the page has already."""
    return {name for name in config.model_fields if name not in shared.model_fields}


PARTS: tuple[tuple[str, type[BaseModel], set[str] | None], ...] = (
    (HEAD, PipelineConfig, None),
    (CLEAN, CleanConfig, beside(CleanConfig, Curation)),
    (LADDER, LadderConfig, beside(LadderConfig, TokensConfig)),
    (SCALING, ScalingConfig, beside(ScalingConfig, TokensConfig)),
    (TRANSLATION, TranslationConfig, None),
    (TASK, TaskConfig, None),
    (TUNING, TuningConfig, None),
    (SEARCH, SearchTuningConfig, beside(SearchTuningConfig, TuningConfig)),
    (STUDY, StudyConfig, None),
    (INSTRUCT, InstructConfig, None),
    (STACK, StackConfig, None),
    (CHAMPION, ChampionConfig, None),
    (GARBAGE, GarbageConfig, None),
)
"""What is said first, a configuration, and which of its keys (None: all)."""


def configuration_page() -> str:
    """The whole page as Markdown."""
    seen: set[tuple[type[BaseModel], str]] = set()
    return "\n".join(head + "\n".join(_section(config, "", seen, own)) for head, config, own in PARTS) + "\n"


def _section(
    model: type[BaseModel], prefix: str, seen: set[tuple[type[BaseModel], str]], own: set[str] | None = None
) -> Iterator[str]:
    """The keys of a model (`own`: only these), and then those of the sections below it that were not `seen`."""
    title = f"`{prefix}`" if prefix else "The whole"
    yield f"\n## {title}\n"
    yield _paragraph(model.__doc__)
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    below: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        if own is not None and name not in own:
            continue
        yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_cell(field.description or '')} |"
        many, named = (typing.get_origin(field.annotation) is kind for kind in (tuple, dict))
        for inner in nested_models(field.annotation):
            below.append((inner, f"{prefix}.{name}".lstrip(".") + ("[]" if many else ".NAME" if named else "")))
    for inner, where in below:
        if (inner, where) in seen:
            continue
        seen.add((inner, where))
        label = where
        for name in DISCRIMINATORS:  # one of several kinds of source or tokenizer
            chosen = inner.model_fields.get(name)
            if chosen is not None and typing.get_origin(chosen.annotation) is typing.Literal:
                said = typing.get_args(chosen.annotation)
                label = f"{where} with {name}: {said[0]}" if len(said) == 1 else where
        yield from _section(inner, label, seen)


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(argument) for argument in arguments))
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if annotation is Any:
        return "value"
    plain = {str: "text", int: "integer", float: "number", bool: "true or false", datetime.date: "date"}
    return plain.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{_cell(json.dumps(value, ensure_ascii=False, default=str))}`"


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split()) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(configuration_page(), end="")
