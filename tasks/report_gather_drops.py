"""Gather why documents were dropped: every reason with its rule, its counts, and documents with the evidence."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from data_quality.rules import Rule, Ruleset, written
from data_quality.signal_catalogue import meaning
from tasks.report_data import DropExample, DropReason, Twin
from tasks.report_excerpts import Excerpt, excerpts
from tasks.report_gather_corpus import EXAMPLES, paths
from tasks.store import Artifact
from tasks.tables import answer

KEPT_IF = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "≠", "!=": "=", "in": "not in", "not in": "in"}
"""Rules say what drops a document; the report says what a kept one satisfies."""

DEDUPE = {"duplicate.exact": "the same text as a document that stays", "duplicate.near": "Jaccard similarity ≥ {:g}"}


def drops(
    connection: duckdb.DuckDBPyConnection,
    signals: Artifact,
    verdicts: Artifact,
    duplicates: Artifact,
    split: Artifact,
) -> list[DropReason]:
    """Every reason that dropped a document, or kept it out of training, most frequent first.

    Needs what `report_gather_corpus.measure` creates. Examples are those with the smallest hash of their id.
    """
    rows = _decided(connection) + _excluded(connection)
    shown = [example for row in rows for example in row["examples"]]
    texts = excerpts(connection, [e["id"] for e in shown] + [e["twin"] for e in shown if e["twin"]])
    rulesets = [Ruleset.model_validate(ruleset) for ruleset in verdicts.manifest()["config"]["rulesets"]]
    rules = {ruleset.reason(rule): (ruleset, rule) for ruleset in rulesets for rule in ruleset.rules}
    values = _values(connection, signals, [ruleset.column(rule) for ruleset, rule in rules.values()], shown)
    thresholds = {
        "duplicate.near": duplicates.manifest()["config"]["near"]["threshold"],
        "split": split.manifest()["config"]["threshold"],
    }
    return [_reason(row, rules.get(row["reason"]), thresholds, texts, values) for row in rows]


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
    connection: duckdb.DuckDBPyConnection, signals: Artifact, columns: Sequence[str], shown: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The signals that rules look at, of the documents that are shown."""
    selected = ", ".join(["id", *(f'"{column}"' for column in dict.fromkeys(columns))])
    found = answer(
        connection,
        f"SELECT {selected} FROM read_parquet($signals) SEMI JOIN (SELECT unnest($ids::VARCHAR[]) AS id) USING (id)",
        {"signals": paths(signals), "ids": sorted({example["id"] for example in shown})},
    )
    return {row["id"]: row for row in found}


def _reason(
    row: Mapping[str, Any],
    found: tuple[Ruleset, Rule] | None,
    thresholds: Mapping[str, float],
    texts: Mapping[str, Excerpt],
    values: Mapping[str, Mapping[str, Any]],
) -> DropReason:
    name: str = row["reason"]
    stage = {"duplicate": "dedupe", "split": "split", "contaminated": "decontaminate"}.get(name.split(".")[0], "rules")
    if found is not None:
        ruleset, rule = found
        said = f"kept if {rule.signal} {_sign(rule)} {written(rule.threshold)}: {_meaning(ruleset, rule)}"
    elif name == "list.drop":
        said = "named by the drop-list"
    elif stage == "split":
        said = f"Jaccard similarity ≥ {thresholds['split']:g} with a document of that split"
    elif stage == "decontaminate":
        said = f"shares a row of words with an item of the benchmark {name.partition('.')[2]}"
    else:
        said = DEDUPE[name].format(thresholds["duplicate.near"])
    return DropReason(
        name=name,
        stage=stage,
        rule=said,
        documents=row["documents"],
        bytes=row["bytes"],
        any_documents=row["any_documents"],
        examples=[_example(name, example, found, texts, values[example["id"]]) for example in row["examples"]],
    )


def _meaning(ruleset: Ruleset, rule: Rule) -> str:
    """What the signal measures, from the catalogue without its asides."""
    return re.sub(r"\s*\([^()]*\)", "", meaning(ruleset.text_of(rule), rule.signal)).split(";")[0]


def _sign(rule: Rule) -> str:
    return {">=": "≥", "<=": "≤"}.get(KEPT_IF[rule.operator], KEPT_IF[rule.operator])


def _example(
    reason: str,
    example: Mapping[str, Any],
    found: tuple[Ruleset, Rule] | None,
    texts: Mapping[str, Excerpt],
    values: Mapping[str, Any],
) -> DropExample:
    own = texts[example["id"]]
    measured: dict[str, Any] = {}
    twin = None
    if found is not None:
        ruleset, rule = found
        column = ruleset.column(rule)
        measured = {
            "signal": column,
            "value": values[column],
            "threshold": rule.threshold if isinstance(rule.threshold, float) else written(rule.threshold),
            "keeps_if": KEPT_IF[rule.operator],
        }
    elif example["twin"]:
        other = texts[example["twin"]]
        twin = Twin(
            id=example["twin"],
            source=other.source,
            excerpt=other.text,
            kind="exact" if reason == "duplicate.exact" else "near",
            jaccard=example["jaccard"],
        )
    others = [other for other in example["reasons"] if other != reason]
    return DropExample(
        id=example["id"], source=own.source, excerpt=own.text, other_reasons=others, twin=twin, **measured
    )
