"""Rules as data: `drop a document when signal operator threshold`, read from YAML, judged by one DuckDB query."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from data_quality.config import DocumentList, QualityConfig, StrictModel
from data_quality.document_lists import DROP, KEEP, DocumentLists
from data_quality.errors import UsageError
from data_quality.plain_yaml import load_yaml
from data_quality.signal_catalogue import (
    DOCUMENT_SIGNALS,
    EDITED_SIGNALS,
    GROUPS,
    LANGUAGE_SIGNALS,
    RAW,
    TEXT_SIGNALS,
    column,
    nearest,
    signals_of,
)
from data_quality.sql import connect, literal, parquet, write_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

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
        if name not in names:
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


_BASE_LANGUAGE = "lower(split_part(replace(coalesce(language, 'und'), '_', '-'), '-', 1))"  # of zh-Hant: zh


def fires_expression(ruleset: Ruleset, rule: Rule) -> str:
    """The rule as a DuckDB condition on a row of signals."""
    operator = "=" if rule.operator == "==" else rule.operator
    if isinstance(rule.threshold, float):
        threshold = f"CAST({literal(repr(rule.threshold))} AS DOUBLE)"
    elif isinstance(rule.threshold, str):
        threshold = literal(rule.threshold)
    else:
        threshold = f"({', '.join(map(literal, rule.threshold))})"
    column = _BASE_LANGUAGE if rule.signal == "language" else f'"{ruleset.column(rule)}"'
    condition = f"{column} {operator} {threshold}"
    return condition if rule.language is None else f"({_BASE_LANGUAGE} = {literal(rule.language)} AND {condition})"


def reasons_expression(rulesets: Sequence[Ruleset]) -> str:
    """All reasons of a row of signals, in the order of the rules, as one DuckDB expression (list of strings)."""
    cases = [
        f"CASE WHEN {fires_expression(ruleset, rule)} THEN {literal(ruleset.reason(rule))} END"
        for ruleset in rulesets
        for rule in ruleset.rules
    ]
    return f"list_filter([{', '.join(cases)}]::VARCHAR[], lambda reason: reason IS NOT NULL)"


def register_signals(
    connection: "duckdb.DuckDBPyConnection", signal_paths: Sequence[Path], score_paths: Sequence[Sequence[Path]] = ()
) -> list[str]:
    """Make the view `signals`, a row for every document, with the columns of score tables beside its signals.

    Returns the names of its columns.
    """
    joined = parquet(signal_paths)
    for shards in score_paths:
        table = parquet(shards)
        present = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
        wanted = ", ".join(
            name for name in present if name == "id" or name in DOCUMENT_SIGNALS - {"language", "script"}
        )
        joined = f"(SELECT * FROM {joined} LEFT JOIN (SELECT {wanted} FROM {table}) USING (id))"
    connection.execute(f"CREATE TEMP VIEW signals AS SELECT * FROM {joined}")
    return [row[0] for row in connection.execute("DESCRIBE signals").fetchall()]


def require_columns(present: Sequence[str], rulesets: Sequence[Ruleset]) -> None:
    """Refuse rules on signals that were not measured.

    Raises:
        ValueError: naming them, and what measures them.
    """
    missing = {ruleset.column(rule) for ruleset in rulesets for rule in ruleset.rules} - set(present)
    if not missing:
        return
    makers = {
        "the section classifier": {"classifier_score"},
        "the section perplexity": {"perplexity", "perplexity_percentile", "perplexity_bucket"},
        "the section language": {*LANGUAGE_SIGNALS, "script"},
    }
    needs = [maker for maker, made in makers.items() if missing & made]
    if not needs or missing - set().union(*makers.values()):
        needs.append("a run with these rules")
    raise UsageError(
        f"the rules name {', '.join(sorted(missing))}, which this corpus was not measured for: it takes "
        f"{' and '.join(needs)}"
    )


def judge(
    signal_paths: Sequence[Path],
    rulesets: Sequence[Ruleset],
    out_path: Path,
    memory_limit: str = "1GB",
    threads: int = 1,
    keep: DocumentList = DocumentList(),  # noqa: B008 - frozen
    drop: DocumentList = DocumentList(),  # noqa: B008
    score_paths: Sequence[Sequence[Path]] = (),
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Judge all documents of some signals shards and write `out_path`: id, reasons, first_reason, listed; by id.

    A document passes when `first_reason` is null: no rule fires, or `keep` names it. `listed` is `keep` or `drop`
    where a list decided: `list.keep` or `list.drop` is then the first of its `reasons`, before all rules that fire.
    What comes after the verdicts must let a document stay whose `listed` is `keep`.

    `score_paths` are further tables (the shards of each) with numbers by id that rules may name: SCORE_SIGNALS.
    What does not fit into memory goes to `scratch`, by default beside `out_path`.

    Returns the counts documents, passed, and by reason `reasons` (all that fire) and `first_reasons`, both with every
    rule, fired or not, and the lists that decided; and `unmatched`, the entries of the lists that no document has
    (list, field, entry).
    """
    if not signal_paths:
        raise ValueError("judge needs at least one signals shard")
    with connect(memory_limit, threads, scratch or out_path.with_suffix(".spill")) as connection:
        columns = register_signals(connection, signal_paths, score_paths)
        require_columns(columns, rulesets)
        lists = DocumentLists(connection, keep.resolved(), drop.resolved())
        if lists.needs_source() and "source" not in columns:
            raise ValueError("the signals shards have no column source, which a list names: compute them again")
        verdicts = connection.sql(
            f"""
            SELECT id,
                   CASE WHEN list IS NULL THEN fired ELSE list_prepend(list, fired) END AS reasons,
                   CASE WHEN list IS NULL THEN fired[1] WHEN list = '{DROP}' THEN list END AS first_reason,
                   split_part(list, '.', 2) AS listed
            FROM (SELECT id, {reasons_expression(rulesets)} AS fired, {lists.reason()} AS list FROM signals)
            ORDER BY id
            """
        )
        write_rows(verdicts, _verdicts_schema(), out_path)
        counts = _count_reasons(connection, out_path, rulesets)
        counts["unmatched"] = lists.unmatched("signals")
    return counts


def _verdicts_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("reasons", pa.list_(pa.string())),
            ("first_reason", pa.string()),
            ("listed", pa.string()),
        ]
    )


def _count_reasons(
    connection: "duckdb.DuckDBPyConnection", verdicts: Path, rulesets: Sequence[Ruleset]
) -> dict[str, Any]:
    source = parquet([verdicts])
    total = connection.execute(f"SELECT count(*), count(*) FILTER (first_reason IS NULL) FROM {source}").fetchone()
    fired = connection.execute(
        f"SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM {source}) GROUP BY reason"
    ).fetchall()
    first = connection.execute(
        f"SELECT first_reason, count(*) FROM {source} WHERE first_reason IS NOT NULL GROUP BY first_reason"
    ).fetchall()
    names = [ruleset.reason(rule) for ruleset in rulesets for rule in ruleset.rules]
    names += sorted({reason for reason, _ in fired} & {KEEP, DROP})
    return {
        "documents": total[0],
        "passed": total[1],
        "reasons": dict.fromkeys(names, 0) | dict(fired),
        "first_reasons": dict.fromkeys(names, 0) | dict(first),
    }
