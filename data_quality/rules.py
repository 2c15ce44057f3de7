"""Rules as data: `drop a document when signal operator threshold`, read from YAML, judged by one DuckDB query."""

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from data_quality.config import QualityConfig, StrictModel
from data_quality.signal_catalogue import C4_PREFIX, C4_SIGNALS, LANGUAGE_SIGNALS, RAW_SIGNALS, TEXT_SIGNALS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

OPERATORS = ("<", "<=", ">", ">=", "==")
TEXT_OPERATORS = ("==", "!=", "in", "not in")
_ROWS_PER_GROUP = 100_000
RULESETS_DIR = Path(__file__).parent / "rulesets"


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
    reason: str = Field(description="Why a document goes, in words.")
    source: str = Field(description="Where the threshold was published.")

    @field_validator("operator")
    @classmethod
    def _known_operator(cls, operator: str) -> str:
        if operator not in OPERATORS + TEXT_OPERATORS:
            raise ValueError(f"unknown operator '{operator}'{_nearest(operator, {*OPERATORS, *TEXT_OPERATORS})}")
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
    """Rules of one source, all on one text version, in the order in which they give the first reason."""

    name: str = Field(pattern=r"^\w+$", description="Prefix of its reasons.")
    description: str
    citation: str
    text: Literal["raw", "c4"] = Field(
        description="Text version judged. c4: the text that C4's line edits leave if the ruleset `c4` is chosen too, "
        "else the raw text."
    )
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "Ruleset":
        signals = {*(C4_SIGNALS if self.text == "c4" else RAW_SIGNALS), *LANGUAGE_SIGNALS, *TEXT_SIGNALS}
        for rule in self.rules:
            if rule.signal not in signals:
                raise ValueError(
                    f"rule '{rule.name}': unknown signal '{rule.signal}' of text version {self.text}"
                    f"{_nearest(rule.signal, signals)}"
                )
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rule names given twice: {', '.join(twice)}")
        return self

    def column(self, rule: Rule) -> str:
        """The signals shard's column that `rule` compares."""
        whole = rule.signal in LANGUAGE_SIGNALS or rule.signal in TEXT_SIGNALS
        return C4_PREFIX + rule.signal if self.text == "c4" and not whole else rule.signal

    def reason(self, rule: Rule) -> str:
        """The reason's full name, for instance `gopher_quality.gopher_short_doc`."""
        return f"{self.name}.{rule.name}"


def _nearest(word: str, valid: Iterable[str]) -> str:
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid are: {', '.join(names)}"


def shipped_rulesets() -> list[str]:
    """Names of the rulesets that come with Textmill."""
    return sorted(path.stem for path in RULESETS_DIR.glob("*.yaml"))


def load_ruleset(name_or_path: str | Path) -> Ruleset:
    """Read a shipped ruleset by name, or any YAML file by path (it ends in .yaml or .yml).

    Raises ValueError naming the file and the nearest valid ruleset, signal or operator.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RULESETS_DIR / f"{name_or_path}.yaml"
        if not path.is_file():
            raise ValueError(f"unknown ruleset '{name_or_path}'{_nearest(str(name_or_path), shipped_rulesets())}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Ruleset.model_validate(content)
    except FileNotFoundError as error:
        raise ValueError(f"ruleset file {path} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"ruleset file {path} is not readable YAML: {error}") from error
    except ValidationError as error:
        details = "; ".join(
            ".".join(map(str, item["loc"])) + ": " + item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        )
        raise ValueError(f"ruleset file {path}: {details.removeprefix(': ')}") from error


def choose_rulesets(config: QualityConfig) -> tuple[Ruleset, ...]:
    """The rulesets of `config` with its thresholds and with `text` resolved to a version that is there.

    What this returns, as JSON, says all that decides a verdict: it belongs into a cache key in place of the names.
    Raises ValueError for unknown names, and for the ruleset `c4` without the signals of the text version `c4`.
    """
    chosen = [load_ruleset(name) for name in config.rulesets]
    names = [ruleset.name for ruleset in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"rulesets given twice: {', '.join(twice)}")
    reasons = [ruleset.reason(rule) for ruleset in chosen for rule in ruleset.rules]
    for reason in config.thresholds:
        if reason not in reasons:
            raise ValueError(f"threshold for unknown rule '{reason}'{_nearest(reason, reasons)}")
    if "c4" in names and config.signals.c4 is None:
        raise ValueError("the ruleset c4 needs the text version c4: give signals.c4, or leave the ruleset out")
    for name in config.ruleset_languages:
        if name not in names:
            raise ValueError(f"ruleset_languages: '{name}' is not among the rulesets{_nearest(name, names)}")
    return tuple(_resolve(ruleset, config, edited="c4" in names) for ruleset in chosen)


def _resolve(ruleset: Ruleset, config: QualityConfig, edited: bool) -> Ruleset:
    content = ruleset.model_dump()
    if not edited:
        content["text"] = "raw"
    for rule, original in zip(content["rules"], ruleset.rules, strict=True):
        rule["threshold"] = config.thresholds.get(ruleset.reason(original), original.threshold)
        rule["language"] = original.language or config.ruleset_languages.get(ruleset.name)
    return Ruleset.model_validate(content)


_BASE_LANGUAGE = "lower(split_part(replace(coalesce(language, 'und'), '_', '-'), '-', 1))"  # of zh-Hant: zh


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def fires_expression(ruleset: Ruleset, rule: Rule) -> str:
    """The rule as a DuckDB condition on a row of signals."""
    operator = "=" if rule.operator == "==" else rule.operator
    if isinstance(rule.threshold, float):
        threshold = f"CAST({_literal(repr(rule.threshold))} AS DOUBLE)"
    elif isinstance(rule.threshold, str):
        threshold = _literal(rule.threshold)
    else:
        threshold = f"({', '.join(map(_literal, rule.threshold))})"
    column = _BASE_LANGUAGE if rule.signal == "language" else f'"{ruleset.column(rule)}"'
    condition = f"{column} {operator} {threshold}"
    return condition if rule.language is None else f"({_BASE_LANGUAGE} = {_literal(rule.language)} AND {condition})"


def reasons_expression(rulesets: Sequence[Ruleset]) -> str:
    """All reasons of a row of signals, in the order of the rules, as one DuckDB expression (list of strings)."""
    cases = [
        f"CASE WHEN {fires_expression(ruleset, rule)} THEN {_literal(ruleset.reason(rule))} END"
        for ruleset in rulesets
        for rule in ruleset.rules
    ]
    return f"list_filter([{', '.join(cases)}]::VARCHAR[], lambda reason: reason IS NOT NULL)"


def connect(memory_limit: str, threads: int, temporary: Path) -> "duckdb.DuckDBPyConnection":
    """An in-memory DuckDB that spills into `temporary`."""
    import duckdb  # a configuration is checked against the rules in a fraction of its import time

    connection = duckdb.connect()
    connection.execute("SET memory_limit = ?", [memory_limit])
    connection.execute("SET threads = ?", [threads])
    connection.execute("SET temp_directory = ?", [str(temporary)])
    return connection


def judge(
    signal_paths: Sequence[Path],
    rulesets: Sequence[Ruleset],
    out_path: Path,
    memory_limit: str = "1GB",
    threads: int = 1,
) -> dict[str, Any]:
    """Judge all documents of some signals shards and write `out_path`: id, reasons, first_reason, sorted by id.

    A document passes when `reasons` is empty; `first_reason` is then null. Returns the counts documents, passed,
    and by reason `reasons` (all that fire) and `first_reasons`, both with every rule, fired or not.
    """
    if not signal_paths:
        raise ValueError("judge needs at least one signals shard")
    temporary = out_path.with_suffix(".tmp")
    with connect(memory_limit, threads, out_path.with_suffix(".spill")) as connection:
        signals = connection.read_parquet([str(path) for path in signal_paths])
        needed = {ruleset.column(rule) for ruleset in rulesets for rule in ruleset.rules}
        missing = sorted(needed - set(signals.columns))
        if missing:
            need = "a language table" if missing[0] in (*LANGUAGE_SIGNALS, *TEXT_SIGNALS) else "signals.c4"
            raise ValueError(
                f"the signals shards lack {', '.join(missing)}, which the rules need: compute the signals again with "
                f"{need}"
            )
        connection.register("signals", signals)
        verdicts = connection.sql(
            f"SELECT id, reasons, reasons[1] AS first_reason FROM "
            f"(SELECT id, {reasons_expression(rulesets)} AS reasons FROM signals) ORDER BY id"
        )
        _write(verdicts.to_arrow_reader(_ROWS_PER_GROUP), temporary)
        counts = _count_reasons(connection, temporary, rulesets)
    os.replace(temporary, out_path)
    return counts


def _write(batches: Iterable["pa.RecordBatch"], path: Path) -> None:
    """Write batches of any size as row groups of one size: DuckDB's own file differs with the shards it read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.string()), ("reasons", pa.list_(pa.string())), ("first_reason", pa.string())])
    waiting = schema.empty_table()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
            while len(waiting) >= _ROWS_PER_GROUP:
                writer.write_table(waiting.slice(0, _ROWS_PER_GROUP).combine_chunks())
                waiting = waiting.slice(_ROWS_PER_GROUP)
        writer.write_table(waiting.combine_chunks())


def _count_reasons(
    connection: "duckdb.DuckDBPyConnection", verdicts: Path, rulesets: Sequence[Ruleset]
) -> dict[str, Any]:
    source = f"read_parquet({_literal(str(verdicts))})"
    total = connection.execute(f"SELECT count(*), count(*) FILTER (first_reason IS NULL) FROM {source}").fetchone()
    fired = connection.execute(
        f"SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM {source}) GROUP BY reason"
    ).fetchall()
    first = connection.execute(
        f"SELECT first_reason, count(*) FROM {source} WHERE first_reason IS NOT NULL GROUP BY first_reason"
    ).fetchall()
    names = [ruleset.reason(rule) for ruleset in rulesets for rule in ruleset.rules]
    return {
        "documents": total[0],
        "passed": total[1],
        "reasons": dict.fromkeys(names, 0) | dict(fired),
        "first_reasons": dict.fromkeys(names, 0) | dict(first),
    }
