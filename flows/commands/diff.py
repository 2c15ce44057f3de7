"""What changed between two corpora: documents that are new, gone, kept no more or kept again, and why."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data_quality.sql import literal, parquet
from flows.commands.lookup import filtered_corpus, input_of, with_parts
from tasks.filter import kept_tables
from tasks.running.run import Resources
from tasks.running.tables import answer, database

_CHANGES = """
CREATE TEMP TABLE changes AS
SELECT coalesce(a.id, b.id) AS id,
       CASE WHEN a.id IS NULL THEN CASE WHEN b.kept THEN 'new, kept' ELSE 'new, dropped' END
            WHEN b.id IS NULL THEN CASE WHEN a.kept THEN 'gone, was kept' ELSE 'gone, was dropped' END
            WHEN a.kept AND NOT b.kept THEN 'dropped now'
            WHEN b.kept AND NOT a.kept THEN 'kept now'
            WHEN NOT a.kept AND a.reason IS DISTINCT FROM b.reason THEN 'dropped for another reason'
            WHEN a.kept AND a.text_hash IS DISTINCT FROM b.text_hash THEN 'kept with another text' END AS change,
       a.reason AS reason_before, b.reason AS reason_after, b.twin AS twin_after
FROM a FULL OUTER JOIN b USING (id)
"""


def diff(before: str, after: str, out: Path | None, examples: int) -> dict[str, Any]:
    """Compare the decisions of two `filter_corpus` artifacts, document by document.

    Args:
        before, after: names as `textmill show` takes them.
        out: write every changed document there (Parquet: id, change, reason_before, reason_after, twin_after).
        examples: ids to show of each kind of change and pair of reasons.

    Returns:
        The two names, `unchanged` documents, and `changes`: one row for each kind of change and pair of reasons, with
        the number of documents and examples, most frequent first.

    Raises:
        StoreError: one of the two is no filtered corpus.
    """
    corpora = {"a": filtered_corpus(before), "b": filtered_corpus(after)}
    with (
        TemporaryDirectory(prefix="textmill-diff-") as spill,
        database(Resources().resolved(), Path(spill)) as connection,
    ):
        for name, corpus in corpora.items():
            decisions = parquet([table.path for table in with_parts(input_of(corpus, "decisions")).shards()])
            kept = parquet(kept_tables(with_parts(corpus)))
            connection.execute(
                f"""
                CREATE TEMP VIEW {name} AS
                SELECT d.id, d.kept, d.reason, d.twin, k.text_hash
                FROM {decisions} d LEFT JOIN {kept} k USING (id)
                """
            )
        connection.execute(_CHANGES)
        if out is not None:
            connection.execute(
                f"COPY (SELECT * FROM changes WHERE change IS NOT NULL ORDER BY id) TO {literal(out)} (FORMAT parquet)"
            )
        [unchanged] = connection.execute("SELECT count(*) FROM changes WHERE change IS NULL").fetchall()
        changes = answer(
            connection,
            """
            SELECT change, reason_before, reason_after, count(*) AS documents,
                   list(id ORDER BY id) FILTER (place <= $examples) AS examples
            FROM (SELECT *, row_number() OVER (PARTITION BY change, reason_before, reason_after ORDER BY id) AS place
                  FROM changes WHERE change IS NOT NULL)
            GROUP BY ALL ORDER BY documents DESC, change, reason_before, reason_after
            """,
            {"examples": examples},
        )
    return {
        "before": corpora["a"].name,
        "after": corpora["b"].name,
        "unchanged": unchanged[0],
        "changes": changes,
    }
