"""Gather what the report says of texts as a whole: languages, pieces that were taken out, how often each is drawn."""

from collections.abc import Sequence

import duckdb

from tasks.reports.data_rules import LanguageRow, Mixture, MixtureGroup, SpanKind
from tasks.running.tables import answer
from tasks.store import Artifact


def languages(connection: duckdb.DuckDBPyConnection) -> list[LanguageRow]:
    """Every language before and after, the largest first; a document without one is "unknown"."""
    found = answer(
        connection,
        """
        SELECT coalesce(language, 'unknown') AS name, count(*) AS documents, sum(bytes)::BIGINT AS bytes,
               count(*) FILTER (kept) AS kept, coalesce(sum(bytes) FILTER (kept), 0)::BIGINT AS kept_bytes
        FROM measured GROUP BY name ORDER BY bytes DESC, name
        """,
    )
    return [LanguageRow(**row) for row in found]


def spans(connection: duckdb.DuckDBPyConnection, decisions: Artifact) -> list[SpanKind]:
    """What left the texts, by kind: personal data left all of them, the rest the kept ones only."""
    found = answer(
        connection,
        """
        WITH counted AS (
            SELECT kind, count(*) AS documents, sum(spans)::BIGINT AS spans
            FROM (
                SELECT kept, unnest(map_keys(span_counts)) AS kind, unnest(map_values(span_counts)) AS spans
                FROM decisions
            )
            WHERE kept OR starts_with(kind, 'pii.') GROUP BY kind
        ), measured AS (
            SELECT span.kind AS kind, sum(span."end" - span.start)::BIGINT AS characters,
                   [min(span.replacement), max(span.replacement)] AS replacements
            FROM (SELECT kept, unnest(spans) AS span FROM decisions)
            WHERE kept OR starts_with(span.kind, 'pii.') GROUP BY kind
        )
        SELECT * FROM counted JOIN measured USING (kind)
        """,
    )
    shown = [SpanKind(**row | {"replacements": sorted(set(row["replacements"]) - {""})}) for row in found]
    shown += _edits(connection, decisions.manifest()["config"]["edits"])
    return sorted(shown, key=lambda kind: (-kind.characters, kind.kind))


def _edits(connection: duckdb.DuckDBPyConnection, edits: Sequence[str]) -> list[SpanKind]:
    """Lines that rulesets take out of the texts they judge, and so of the kept ones."""
    if not edits:
        return []
    [row] = answer(
        connection,
        """
        SELECT count(*) AS documents, coalesce(sum(len(edits)), 0)::BIGINT AS spans,
               coalesce(sum(list_sum(list_transform(edits, lambda edit: edit."end" - edit.start))), 0)::BIGINT
                   AS characters
        FROM decisions WHERE kept AND len(edits) > 0
        """,
    )
    return [SpanKind(kind=f"line edits of {', '.join(edits)}", **row)] if row["spans"] else []


def mixture(drawn: Sequence[Artifact]) -> Mixture | None:
    """What was wanted and what was drawn of each group, if there is a mixture."""
    if not drawn:
        return None
    config, groups = drawn[0].manifest()["config"], drawn[0].counts()["groups"]
    rows = [
        MixtureGroup(name=name, **{field: group[field] for field in MixtureGroup.model_fields if field != "name"})
        for name, group in groups.items()
    ]
    return Mixture(
        by=config["by"], unit=config["unit"], groups=sorted(rows, key=lambda group: (-group.drawn, group.name))
    )
