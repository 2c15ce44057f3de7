"""Rules as data: `drop a document when signal operator threshold`, read from YAML (data_quality/judge.py judges)."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from data_quality.config import QualityConfig, StrictModel
from data_quality.errors import UsageError
from data_quality.plain_yaml import load_yaml
from data_quality.signal_catalogue import (
    EDITED_SIGNALS,
    GROUPS,
    RAW,
    TEXT_SIGNALS,
    column,
    nearest,
    signals_of,
)

OPERATORS = ("<", "<=", ">", ">=", "==")
TEXT_OPERATORS = ("==", "!=", "in", "not in")
RULESETS_DIR = Path(__file__).parent / "rulesets"

_TAKEN = ("contaminated", "duplicate", "lines", "list", "mixture", "split", "substring")

TextVersion = Literal["raw", "c4", "c4_dclm", "refinedweb"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Threshold = Number | str | tuple[str, ...]


class Rule(StrictModel):
    """A document is dropped for `name` when its `signal` stands in relation `operator` to `threshold`."""

    name: str = Field(pattern=r"^\w+$", description="Reason given for a drop; datatrove's name where it has one.")
    signal: str = Field(description="Name of a signal (data_quality/signal_catalogue.py), without text version.")
    operator: str = Field(description="One of < <= > >= ==; for a signal that is a word, one of == != in, not in.")
    threshold: Threshold = Field(description="In the signal's unit; a word for == and !=, a list of words for in.")
    language: str | None = Field(
        default=None, description="Judge only documents of this language (en, zh: zh-Hant is zh, too); null: all."
    )
    text: TextVersion | None = Field(default=None, description="Text version judged; null: the ruleset's.")
    reason: str = Field(description="Why a document goes, in words.")
    source: str = Field(description="Where the threshold was published.")

    @field_validator("operator")
    @classmethod
    def _known_operator(cls, operator: str) -> str:
        if operator not in OPERATORS + TEXT_OPERATORS:
            raise ValueError(f"unknown operator '{operator}'{nearest(operator, {*OPERATORS, *TEXT_OPERATORS})}")
        return operator

    @model_validator(mode="after")
    def _comparable(self) -> "Rule":
        if self.signal not in TEXT_SIGNALS:
            if not isinstance(self.threshold, float) or self.operator not in OPERATORS:
                raise ValueError(
                    f"signal '{self.signal}' is a number: compare it by {' '.join(OPERATORS)} with a number"
                )
        elif self.operator not in TEXT_OPERATORS or isinstance(self.threshold, float):
            raise ValueError(f"signal '{self.signal}' is a word: compare it by {', '.join(TEXT_OPERATORS)} with words")
        elif isinstance(self.threshold, str) != (self.operator in ("==", "!=")):
            raise ValueError("== and != take one word, in and not in take a list of words")
        return self


class Ruleset(StrictModel):
    """Rules of one source in the order in which they give the first reason."""

    name: str = Field(pattern=r"^\w+$", description="Prefix of its reasons.")
    description: str
    citation: str
    text: TextVersion = Field(
        description="Text version that rules judge which name none themselves. The ruleset `c4` makes the version "
        "`c4`, and so on: where it is not chosen its version is not there, and the raw text is judged instead."
    )
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "Ruleset":
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rule names given twice: {', '.join(twice)}")
        if self.name in _TAKEN:
            raise ValueError(f"a ruleset cannot be named '{self.name}': other reasons begin with it")
        return self

    def text_of(self, rule: Rule) -> str:
        """The text version that `rule` judges."""
        return rule.text or self.text

    def column(self, rule: Rule) -> str:
        """The signals shard's column that `rule` compares."""
        return column(self.text_of(rule), rule.signal)

    def reason(self, rule: Rule) -> str:
        """The reason's full name, for instance `gopher_quality.gopher_short_doc`."""
        return f"{self.name}.{rule.name}"


def written(threshold: Threshold) -> str:
    """A threshold for people to read: a number as short as it is exact, or words with commas between them."""
    if isinstance(threshold, float):
        return f"{threshold:.15g}"
    return threshold if isinstance(threshold, str) else ", ".join(threshold)


def measured(value: Any, threshold: Threshold) -> str:
    """What was measured of a document for people to read: four digits, or as many as tell it apart from a threshold."""
    if not isinstance(value, int | float):
        return written(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    for digits in range(4, 18):  # with seventeen it is the number itself
        text = f"{value:.{digits}g}"
        if not isinstance(threshold, int | float) or _side(float(text), threshold) == _side(value, threshold):
            break
    return text


def _side(value: float, threshold: float) -> int:
    return (value > threshold) - (value < threshold)


def shipped_rulesets() -> list[str]:
    """Names of the rulesets that come with Textmill."""
    return sorted(path.stem for path in RULESETS_DIR.glob("*.yaml"))


def load_ruleset(name_or_path: str | Path, custom: Collection[str] = ()) -> Ruleset:
    """Read a shipped ruleset by name, or any YAML file by path (it ends in .yaml or .yml).

    `custom` are the names of the user's own signals, which its rules may name too. Raises ValueError naming the file
    and the nearest valid ruleset, signal or operator.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RULESETS_DIR / f"{name_or_path}.yaml"
        if not path.is_file():
            raise UsageError(f"unknown ruleset '{name_or_path}'{nearest(str(name_or_path), shipped_rulesets())}")
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
        ruleset = Ruleset.model_validate(content)
    except FileNotFoundError as error:
        raise UsageError(f"ruleset file {path} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"ruleset file {path} is not readable YAML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"ruleset file {path}: {_details(error)}") from error
    for rule in ruleset.rules:
        text = ruleset.text_of(rule)
        valid = {*signals_of(text), *(custom if text == RAW else ())}
        if rule.signal not in valid:
            raise UsageError(
                f"ruleset file {path}: rule '{rule.name}': unknown signal '{rule.signal}' of text version {text}"
                f"{nearest(rule.signal, valid)}"
            )
    return ruleset


def _details(error: ValidationError) -> str:
    details = (
        ".".join(map(str, item["loc"])) + ": " + item["msg"].removeprefix("Value error, ") for item in error.errors()
    )
    return "; ".join(details).removeprefix(": ")


def choose_rulesets(config: QualityConfig) -> tuple[Ruleset, ...]:
    """The rulesets of `config` with its thresholds and with `text` resolved to a version that is there.

    What this returns, as JSON, says all that decides a verdict: it belongs into a cache key in place of the names.
    Raises ValueError for unknown names, for the ruleset `c4` without the signals of the text version `c4`, and for
    rules that need lists which are not given.
    """
    if not config.enabled:
        return ()
    custom = [signal.name for signal in config.signals.custom]
    chosen = [load_ruleset(name, custom) for name in config.rulesets]
    names = [ruleset.name for ruleset in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"rulesets given twice: {', '.join(twice)}")
    reasons = [ruleset.reason(rule) for ruleset in chosen for rule in ruleset.rules]
    for reason in config.thresholds:
        if reason not in reasons:
            raise UsageError(f"threshold for unknown rule '{reason}'{nearest(reason, reasons)}")
    if "c4" in names and config.signals.c4 is None:
        raise UsageError("the ruleset c4 needs the text version c4: give rules.signals.c4, or leave the ruleset out")
    for name in config.ruleset_languages:
        # one that is shipped and not chosen has nothing to judge: so a configuration's rulesets can be replaced alone
        if name not in names and name not in shipped_rulesets():
            raise UsageError(f"ruleset_languages: '{name}' is not among the rulesets{nearest(name, names)}")
    made = {RAW, *(name for name in names if name in EDITED_SIGNALS)}
    resolved = tuple(
        _resolve(with_thresholds(ruleset, config.thresholds), config.ruleset_languages.get(ruleset.name), made)
        for ruleset in chosen
    )
    _require_lists(resolved, config)
    return resolved


def with_thresholds(ruleset: Ruleset, thresholds: Mapping[str, Threshold]) -> Ruleset:
    """`ruleset` with other thresholds, given by reason; those of other rulesets are passed over.

    Raises ValueError naming the rule whose signal cannot be compared with its threshold.
    """
    rules = []
    for rule in ruleset.rules:
        reason = ruleset.reason(rule)
        if reason in thresholds:
            try:
                rule = Rule.model_validate({**rule.model_dump(), "threshold": thresholds[reason]})
            except ValidationError as error:
                raise UsageError(f"threshold for {reason}: {_details(error)}") from error
        rules.append(rule)
    return ruleset.model_copy(update={"rules": tuple(rules)})


def _resolve(ruleset: Ruleset, language: str | None, made: Collection[str]) -> Ruleset:
    rules = []
    for rule in ruleset.rules:
        text = ruleset.text_of(rule)
        if text not in made:
            if rule.signal not in signals_of(RAW):
                raise UsageError(
                    f"the rule {ruleset.reason(rule)} needs the text version {text}: choose the ruleset {text} too"
                )
            rule = rule.model_copy(update={"text": RAW if rule.text else None})
        rules.append(rule.model_copy(update={"language": rule.language or language}))
    text = ruleset.text if ruleset.text in made else RAW
    return ruleset.model_copy(update={"rules": tuple(rules), "text": text})


def _require_lists(rulesets: Sequence[Ruleset], config: QualityConfig) -> None:
    given = {"url": config.signals.url, "bad_words": config.signals.bad_words}
    for ruleset in rulesets:
        for rule in ruleset.rules:
            for group, lists in given.items():
                if lists is None and ruleset.text_of(rule) == RAW and rule.signal in GROUPS[group]:
                    raise UsageError(
                        f"the rule {ruleset.reason(rule)} needs lists of your own: give signals.{group} "
                        "(docs/own-rules.md), or leave the ruleset out"
                    )
