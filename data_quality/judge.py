"""What rules say of documents: one DuckDB query over the tables of their signals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_quality.config import DocumentList
from data_quality.document_lists import DROP, KEEP, DocumentLists
from data_quality.errors import UsageError
from data_quality.rules import Rule, Ruleset
from data_quality.signal_catalogue import DOCUMENT_SIGNALS, LANGUAGE_SIGNALS
from data_quality.sql import connect, literal, parquet, write_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

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
    connection: "duckdb.DuckDBPyConnection",
    signal_paths: Sequence[Path],
    score_paths: Sequence[Sequence[Path]] = (),
    rulesets: Sequence[Ruleset] | None = None,
) -> list[str]:
    """Make the view `signals`, a row for every document, with the columns of score tables beside its signals.

    With `rulesets`, only the score tables that these name a column of: a join takes longer than all rules.

    Returns the names of its columns.
    """
    joined = parquet(signal_paths)
    named = None if rulesets is None else {ruleset.column(rule) for ruleset in rulesets for rule in ruleset.rules}
    for shards in score_paths:
        table = parquet(shards)
        present = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
        wanted = [name for name in present if name in DOCUMENT_SIGNALS - {"language", "script"}]
        if named is None or named & set(wanted):
            columns = ", ".join(["id", *wanted])
            joined = f"(SELECT * FROM {joined} LEFT JOIN (SELECT {columns} FROM {table}) USING (id))"
    connection.execute(f"CREATE TEMP VIEW signals AS SELECT * FROM {joined}")
    return [row[0] for row in connection.execute("DESCRIBE signals").fetchall()]


def require_columns(present: Sequence[str], rulesets: Sequence[Ruleset]) -> None:
    """Refuse rules on signals that were not measured.

    Raises:
        UsageError: naming them, and what measures them.
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
        columns = register_signals(connection, signal_paths, score_paths, rulesets)
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
