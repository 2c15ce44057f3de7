"""How near-duplicates are found: signature shards in, one table of removals with their evidence out.

1. Every document gets a rank by the keep policy; documents that fail the rules rank after all that pass.
2. Equal texts and equal shingle sets collapse into their first document (`exact`).
3. Documents that share a MinHash band become candidates of each other (`candidates`).
4. In rank order, a document is dropped if its true Jaccard similarity with an already kept candidate reaches the
   threshold; the best such twin is the evidence (`verify`).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import DedupeConfig
from data_quality.dedupe.candidates import find_buckets
from data_quality.dedupe.exact import (
    Workspace,
    collapse_equal,
    open_workspace,
    preference,
    rank_documents,
    single_row,
    sql_list,
)
from data_quality.dedupe.verify import load_shingles, match_in_order

ROW_GROUP = 50_000
DUPLICATES_SCHEMA = pa.schema(
    [
        pa.field("dropped", pa.string(), nullable=False),
        pa.field("kept", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("jaccard", pa.float64(), nullable=False),
        pa.field("family_size", pa.int64(), nullable=False),
    ]
)


def near_dedupe(
    signature_paths: Sequence[Path],
    out_path: Path,
    config: DedupeConfig,
    *,
    verdict_paths: Sequence[Path] = (),
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Write `out_path`, one row per removed document, ordered by its id.

    Columns: dropped, kept (ids; `kept` is itself kept and names the family), kind ("exact": the texts are equal,
    "near": the shingle sets are similar), jaccard (true similarity of the two, 1.0 for exact), family_size (the kept
    document and all dropped in its favour). The result depends on the set of documents and the config alone.

    Args:
        signature_paths: shards of `signature_shard`, all made with one config.
        verdict_paths: Parquet with id and first_reason (null: passes) for every document; one that fails is never kept
            in favour of one that passes.
        temp_directory: existing directory for what does not fit into memory: about the size of the signatures.
        memory_limit: DuckDB's, for example "1GiB".
        threads: DuckDB's.
        progress: told how many candidate documents were matched.
        should_stop: polled while matching.

    Returns:
        Counts: documents, kept, exact, near, distinct (after collapsing), candidates (documents that share a band),
        compared (pairs whose Jaccard was computed), bounded (documents with more candidates than max_comparisons),
        families, largest_family.

    Raises:
        ValueError: shards that do not fit together, an id twice, a document without a verdict.
        InterruptedError: `should_stop` said so; nothing was written.
    """
    with open_workspace(signature_paths, temp_directory, memory_limit, threads) as workspace:
        documents = _rank_by_policy(workspace, config, verdict_paths)
        distinct = collapse_equal(workspace, texts=config.exact.enabled, shingles=config.near.enabled)
        matching = {"candidates": 0, "compared": 0, "bounded": 0}
        workspace.sql.execute("CREATE TABLE twins (rank INTEGER, twin INTEGER, jaccard DOUBLE)")
        if config.near.enabled:
            matching = match_near(
                workspace,
                threshold=config.near.threshold,
                max_comparisons=config.near.max_comparisons,
                progress=progress,
                should_stop=should_stop,
            )
        resolve_twins(workspace)
        removed = _summary(workspace)
        _write(workspace, Path(out_path))
    kept = documents - removed["exact"] - removed["near"]
    return {"documents": documents, "kept": kept, "distinct": distinct, **matching, **removed}


def _rank_by_policy(workspace: Workspace, config: DedupeConfig, verdict_paths: Sequence[Path]) -> int:
    order = preference(config.keep)
    if not verdict_paths:
        return rank_documents(workspace, order=order)
    verdicts = f"read_parquet({sql_list([str(path) for path in verdict_paths])})"
    documents = rank_documents(
        workspace,
        order=f"first_reason IS NOT NULL, {order}",
        join=f"LEFT JOIN (SELECT id AS judged, first_reason FROM {verdicts}) ON judged = s.id",
    )
    first, unjudged = single_row(
        workspace.sql, f"SELECT min(id), count(*) FROM documents ANTI JOIN {verdicts} USING (id)"
    )
    if unjudged:
        raise ValueError(f"{unjudged} documents have no verdict, {first!r} among them: judge all documents")
    return documents


def match_near(
    workspace: Workspace,
    *,
    threshold: float,
    max_comparisons: int,
    across_roles: bool = False,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Create table `twins` (rank, twin, jaccard) of the collapsed documents that have a kept twin.

    Returns:
        Counts: candidates, compared, bounded (see `near_dedupe`).
    """
    buckets = find_buckets(workspace, across_roles=across_roles)
    offsets, shingles = load_shingles(workspace, buckets.ranks)
    found = match_in_order(
        buckets,
        offsets,
        shingles,
        threshold=threshold,
        max_comparisons=max_comparisons,
        progress=progress,
        should_stop=should_stop,
    )
    matched = found.twins >= 0
    table = pa.table(
        {
            "rank": buckets.ranks[matched],
            "twin": buckets.ranks[found.twins[matched]],
            "jaccard": found.jaccards[matched],
        }
    )
    workspace.sql.register("matched", table)
    workspace.sql.execute("CREATE OR REPLACE TABLE twins AS FROM matched")
    workspace.sql.unregister("matched")
    return {"candidates": len(buckets.ranks), "compared": found.compared, "bounded": found.bounded}


def resolve_twins(workspace: Workspace) -> None:
    """Create table `duplicates` (dropped, kept: ranks; kind, jaccard): collapsed documents share one fate."""
    workspace.sql.execute(
        """
        CREATE OR REPLACE TABLE duplicates AS
        SELECT e.rank AS dropped, coalesce(twin, set_rank) AS kept,
               CASE WHEN kept = text_rank THEN 'exact' ELSE 'near' END AS kind, coalesce(jaccard, 1.0) AS jaccard
        FROM equals e LEFT JOIN twins ON twins.rank = e.set_rank
        WHERE e.rank != coalesce(twin, set_rank)
        """
    )


def _summary(workspace: Workspace) -> dict[str, int]:
    row = single_row(
        workspace.sql,
        """
        SELECT count(*) FILTER (kind = 'exact'), count(*) FILTER (kind = 'near'), count(DISTINCT kept),
               coalesce((SELECT max(n) + 1 FROM (SELECT count(*) AS n FROM duplicates GROUP BY kept)), 0)
        FROM duplicates
        """,
    )
    return dict(zip(("exact", "near", "families", "largest_family"), row, strict=True))


def _write(workspace: Workspace, out_path: Path) -> None:
    rows = workspace.sql.sql(
        """
        SELECT d.id AS dropped, k.id AS kept, kind, jaccard, family_size
        FROM duplicates
        JOIN documents d ON d.rank = dropped
        JOIN documents k ON k.rank = kept
        JOIN (SELECT kept, count(*) + 1 AS family_size FROM duplicates GROUP BY kept) USING (kept)
        ORDER BY d.id
        """
    )
    write_rows(rows, DUPLICATES_SCHEMA, out_path)


def write_rows(rows: duckdb.DuckDBPyRelation, schema: pa.Schema, out_path: Path) -> None:
    """Write a query's rows to Parquet in row groups of ROW_GROUP rows, so that threads do not show in the bytes."""
    partial = out_path.with_suffix(".tmp")
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        waiting = schema.empty_table()
        for batch in rows.to_arrow_reader(ROW_GROUP):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
            while waiting.num_rows >= ROW_GROUP:
                writer.write_table(waiting.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                waiting = waiting.slice(ROW_GROUP)
        if waiting.num_rows:
            writer.write_table(waiting, row_group_size=ROW_GROUP)
    os.replace(partial, out_path)
