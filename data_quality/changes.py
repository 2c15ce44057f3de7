"""By how much the training documents of one corpus differ from those of another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_quality.sql import literal, open_database, parquet, single_row

KINDS = ("new", "changed", "gone", "same")

_STATUS = """
CREATE TABLE status AS
SELECT coalesce(a.id, b.id) AS id, a.file AS file_before, b.file AS file_after,
       CASE WHEN a.id IS NULL THEN 'new' WHEN b.id IS NULL THEN 'gone'
            WHEN a.text_hash = b.text_hash THEN 'same' ELSE 'changed' END AS kind
FROM before a FULL OUTER JOIN after b USING (id)
"""


def changed_share(
    before: tuple[Sequence[Path], Path, int],
    after: tuple[Sequence[Path], Path],
    *,
    scratch: Path,
    memory_limit: str,
    threads: int,
) -> dict[str, Any]:
    """Compare what a model has read with what one would read now.

    Args:
        before: the kept shards, the split's table, and the bytes of its training documents.
        after: kept shards and split's table.
        scratch: an existing directory for what does not fit into memory.

    Returns:
        For each of new, changed, gone and same the number of `documents`; for the first three their `bytes` too, of a
        changed document those that it has now, of one that is gone those that it had. `share` is their sum over the
        bytes of the training documents before: twice the corpus is 1, an other corpus of the same size 2.

    Raises:
        ValueError: nothing was trained on before.
    """
    shards, split, size = before
    if size <= 0:
        raise ValueError("the corpus before has no training documents: there is nothing that a share could be of")
    with open_database(scratch, memory_limit, threads) as (sql, _):
        for name, paths, table in (("before", shards, split), ("after", *after)):
            sql.execute(
                f"CREATE TABLE {name} AS SELECT id, d.text_hash, d.filename AS file FROM {parquet(paths)} d "
                f"JOIN {parquet([table])} s USING (id) WHERE s.split = 'train'"
            )
        sql.execute(_STATUS)
        counted = dict(sql.execute("SELECT kind, count(*) FROM status GROUP BY kind").fetchall())
        found: dict[str, Any] = {kind: {"documents": int(counted.get(kind, 0))} for kind in KINDS}
        for kind in KINDS[:3]:
            side = "file_before" if kind == "gone" else "file_after"
            files = sql.execute(f"SELECT DISTINCT {side} FROM status WHERE kind = '{kind}' ORDER BY 1").fetchall()
            # texts are read of those shards only that hold such a document
            found[kind]["bytes"] = (
                int(
                    single_row(
                        sql,
                        f"SELECT coalesce(sum(strlen(text)), 0) FROM {parquet([Path(file) for (file,) in files])} "
                        f"WHERE id IN (SELECT id FROM status WHERE kind = {literal(kind)})",
                    )[0]
                )
                if files
                else 0
            )
    moved = sum(found[kind]["bytes"] for kind in KINDS[:3])
    return {**found, "bytes_before": size, "share": moved / size}
