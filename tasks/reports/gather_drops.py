"""Gather why documents were dropped: every reason with its rule, its counts, and documents with the evidence."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import duckdb

from data_quality.rules import Rule, Ruleset, written
from tasks.reports.data import DropExample, DropReason, Twin
from tasks.reports.excerpts import Excerpt, excerpts
from tasks.reports.gather_corpus import EXAMPLES
from tasks.reports.gather_evidence import evidence
from tasks.reports.gather_rules import said
from tasks.reports.gather_view import CONTAMINATED, columns, step_of
from tasks.reports.inputs import Reported
from tasks.running.tables import answer

KEPT_IF = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "≠", "!=": "=", "in": "not in", "not in": "in"}
"""Rules say what drops a document; the report says what a kept one satisfies."""

TWINS: dict[str, Literal["url", "exact"]] = {"duplicate.url": "url", "duplicate.exact": "exact"}

WORDS = {
    "list.drop": "named by the drop-list",
    "duplicate.url": "another document has its address",
    "duplicate.exact": "the same text as a document that stays",
    "lines.too_little_left": "too little is left without the lines that many documents share",
    "substring.too_little_left": "too little is left without the pieces that stand in another document",
}
"""What a reason means, where no threshold belongs to it."""


Dropped = list[dict[str, Any]]


def dropped(connection: duckdb.DuckDBPyConnection, made: Reported) -> Dropped:
    """Every reason that dropped a document, or kept it out of training, most frequent first, with examples.

    Needs what `gather_view.measure` creates. Examples are those with the smallest hash of their id.
    """
    return _decided(connection) + (_excluded(connection) if made.split is not None else [])


def shown_in(rows: Dropped) -> list[str]:
    """The documents of the examples, and their twins."""
    shown = [example for row in rows for example in row["examples"]]
    return [example["id"] for example in shown] + [example["twin"] for example in shown if example["twin"]]


def drops(connection: duckdb.DuckDBPyConnection, made: Reported, rows: Dropped) -> list[DropReason]:
    """The same in words, with the evidence of the examples, whose texts `gather_view.show` has."""
    thresholds = {"duplicate.near": made.duplicates.manifest()["config"]["near"]["threshold"]}
    if made.split is not None:
        thresholds["split"] = made.split.manifest()["config"]["threshold"]
    ids = sorted({example["id"] for row in rows for example in row["examples"]})
    rulesets = [Ruleset.model_validate(ruleset) for ruleset in made.verdicts.manifest()["config"]["rulesets"]]
    rules = {ruleset.reason(rule): (ruleset, rule) for ruleset in rulesets for rule in ruleset.rules}
    known = Known(
        rules=rules,
        thresholds=thresholds,
        texts=excerpts(connection, shown_in(rows)),
        values=_values(connection, [ruleset.column(rule) for ruleset, rule in rules.values()], ids),
        evidence=evidence(connection, made.found, ids),
    )
    return [_reason(row, known) for row in rows]


class Known(NamedTuple):
    """What is said of the documents that are shown: rules by reason, signals by document, texts by document."""

    rules: Mapping[str, tuple[Ruleset, Rule]]
    thresholds: Mapping[str, float]
    texts: Mapping[str, Excerpt]
    values: Mapping[str, Mapping[str, Any]]
    evidence: Mapping[tuple[str, str], str]


def _decided(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    return answer(
        connection,
        """
        WITH first AS (
            SELECT reason, count(*) AS documents, sum(bytes)::BIGINT AS bytes,
                   arg_min(struct_pack(id, reasons, twin, jaccard), md5(id), $n) AS examples
            FROM measured WHERE NOT kept GROUP BY reason
        ), met AS (
            SELECT reason, count(*) AS any_documents
            FROM (SELECT unnest(reasons) AS reason FROM measured) GROUP BY reason
        )
        SELECT * FROM first LEFT JOIN met USING (reason) ORDER BY documents DESC, reason
        """,
        {"n": EXAMPLES},
    )


def _excluded(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Kept documents that may not be trained on."""
    return answer(
        connection,
        """
        SELECT 'split.' || s.reason AS reason, count(*) AS documents, sum(bytes)::BIGINT AS bytes,
               NULL AS any_documents,
               arg_min(struct_pack(id := s.id, reasons := []::VARCHAR[], twin := s.twin, jaccard := s.jaccard),
                       md5(s.id), $n) AS examples
        FROM membership s JOIN measured USING (id) WHERE split = 'excluded' GROUP BY s.reason
        ORDER BY documents DESC, reason
        """,
        {"n": EXAMPLES},
    )


def _values(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The signals and scores that rules look at, of the documents that are shown."""
    present = columns(connection, "signals")
    selected = ", ".join(["id", *(f'"{name}"' for name in dict.fromkeys(names) if name in present)])
    found = answer(
        connection,
        f"SELECT {selected} FROM signals SEMI JOIN (SELECT unnest($ids::VARCHAR[]) AS id) USING (id)",
        {"ids": list(ids)},
    )
    return {row["id"]: row for row in found}


def _reason(row: Mapping[str, Any], known: Known) -> DropReason:
    name: str = row["reason"]
    return DropReason(
        name=name,
        stage="split" if name.startswith("split.") else step_of(name),
        rule=_said(name, known),
        documents=row["documents"],
        bytes=row["bytes"],
        any_documents=row["any_documents"],
        examples=[_example(name, example, known) for example in row["examples"]],
    )


def _said(reason: str, known: Known) -> str:
    """The rule in words."""
    if reason in known.rules:
        ruleset, rule = known.rules[reason]
        return f"kept if {rule.signal} {_sign(rule)} {written(rule.threshold)}: {said(ruleset, rule)}"
    if reason == "duplicate.near":
        return f"Jaccard similarity ≥ {known.thresholds[reason]:g}"
    if reason.startswith("split."):
        return f"Jaccard similarity ≥ {known.thresholds['split']:g} with a document of that split"
    if reason.startswith(CONTAMINATED):
        return f"shares a row of words with an item of the benchmark {reason.removeprefix(CONTAMINATED)}"
    return WORDS[reason]


def _sign(rule: Rule) -> str:
    return {">=": "≥", "<=": "≤"}.get(KEPT_IF[rule.operator], KEPT_IF[rule.operator])


def _example(reason: str, example: Mapping[str, Any], known: Known) -> DropExample:
    id: str = example["id"]
    measured: dict[str, Any] = {}
    twin = None
    if reason in known.rules:
        ruleset, rule = known.rules[reason]
        column = ruleset.column(rule)
        measured = {
            "signal": column,
            "value": known.values[id].get(column),
            "threshold": rule.threshold if isinstance(rule.threshold, float) else written(rule.threshold),
            "keeps_if": KEPT_IF[rule.operator],
        }
    elif example["twin"] and reason.startswith(("duplicate.", "split.")):
        other = known.texts[example["twin"]]
        twin = Twin(
            id=example["twin"],
            source=other.source,
            excerpt=other.text,
            kind=TWINS.get(reason, "near"),
            jaccard=example["jaccard"],
        )
    return DropExample(
        id=id,
        source=known.texts[id].source,
        excerpt=known.texts[id].text,
        note=known.evidence.get((id, reason)),
        other_reasons=[other for other in example["reasons"] if other != reason],
        twin=twin,
        **measured,
    )
