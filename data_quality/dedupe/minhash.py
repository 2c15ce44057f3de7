"""How near-duplicates are found: signature shards in, one table of removals with their evidence out.

1. Every document gets a rank by the keep policy; documents that fail the rules rank after all that pass.
2. Equal texts and equal shingle sets collapse into their first document (`exact`).
3. Documents that share a MinHash band (`bands`) become candidates of each other (`candidates`).
4. In rank order, a document is dropped if its true Jaccard similarity with an already kept candidate reaches the
   threshold; the best such twin is the evidence (`verify`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_quality.config import DedupeConfig
from data_quality.dedupe.candidates import Buckets, find_buckets
from data_quality.dedupe.evidence import DUPLICATES_SCHEMA
from data_quality.dedupe.exact import (
    PINNED,
    Workspace,
    collapse_equal,
    open_workspace,
    rank_documents,
)
from data_quality.dedupe.incremental import (
    DUPLICATES,
    INDEX,
    INDEX_SCHEMA,
    PAIRS,
    PAIRS_SCHEMA,
    Refresh,
    begin_refresh,
    create_families,
    earlier_pairs,
    index_query,
    insert_pairs,
    pairs_query,
    print_of,
    state_metadata,
    store_matching,
)
from data_quality.dedupe.keep import KeepTables, ranking
from data_quality.dedupe.verify import KnownPairs, PairSink, Twins, load_shingles, match_in_order
from data_quality.sql import single_row, sql_list, write_rows


def near_dedupe(
    signature_paths: Sequence[Path],
    out_path: Path,
    config: DedupeConfig,
    *,
    band_paths: Sequence[Path] = (),
    verdict_paths: Sequence[Path] = (),
    duplicate_paths: Sequence[Path] = (),
    score_paths: Sequence[Path] = (),
    document_paths: Sequence[Path] = (),
    pinned_paths: Sequence[Path] = (),
    keep_state: bool = False,
    previous: Path | None = None,
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
        band_paths: tables of `shared_bands` for these shards in this order, all groups; without any they are made.
        verdict_paths: Parquet with id and first_reason (null: passes) for every document; one that fails is never kept
            in favour of one that passes, unless it is pinned.
        duplicate_paths: tables of DUPLICATES_SCHEMA, of an earlier step: what these drop counts as failed. For this,
            `verdict_paths` are needed.
        score_paths: Parquet with id and `keep.score_column`, for policy best_score.
        document_paths: documents shards, whose metadata hold the date, for policy oldest.
        pinned_paths: Parquet with id of documents that must stay: never dropped, not even for each other.
        keep_state: also write `index.parquet` and `pairs.parquet` (see `incremental`) into the directory of `out_path`.
        previous: the directory of an earlier `duplicates.parquet` with its state. A hint: it saves work and changes no
            byte of the result; one made with another config is not looked at.
        temp_directory: existing directory of this call alone, for what does not fit into memory: about the size of the
            signatures.
        memory_limit: DuckDB's, for example "1GiB".
        threads: DuckDB's, and for grouping the bands.
        progress: told how many candidate documents were matched.
        should_stop: polled while matching.

    Returns:
        Counts: documents, kept, exact, near, distinct (after collapsing), candidates (documents that share a band),
        compared (pairs whose Jaccard was computed), bounded (documents with more candidates than max_comparisons),
        families, largest_family; solved (documents that were not copied from `previous`).

    Raises:
        ValueError: shards that do not fit together, tables of bands of other shards, an id twice, a document without a
            verdict, a table that the policy needs missing.
        InterruptedError: `should_stop` said so; nothing was written.
    """
    out_path = Path(out_path)
    tables = KeepTables(verdict_paths, duplicate_paths, score_paths, document_paths, pinned_paths)
    with open_workspace(signature_paths, temp_directory, memory_limit, threads, band_paths) as workspace:
        order = ranking(workspace, config.keep, tables)
        refresh = None
        if previous is not None and keep_state and config.near.enabled:
            refresh = begin_refresh(workspace, order, Path(previous), config)
        solved = rank_documents(
            workspace,
            order=order.order,
            role=order.role,
            join=f"{refresh.join if refresh else ''} {order.join}",
            columns=f", {print_of(order)} AS print" if keep_state else "",
        )
        distinct = collapse_equal(workspace, texts=config.exact.enabled, shingles=config.near.enabled)
        matching = {"candidates": 0, "compared": 0, "bounded": 0}
        workspace.sql.execute("CREATE TABLE twins (rank INTEGER, twin INTEGER, jaccard DOUBLE)")
        if config.near.enabled:
            matching = match_near(
                workspace,
                threshold=config.near.threshold,
                max_comparisons=config.near.max_comparisons,
                keep_state=keep_state,
                refresh=refresh,
                progress=progress,
                should_stop=should_stop,
            )
        resolve_twins(workspace)
        _write(workspace, refresh, out_path)
        counts = {"documents": solved, "distinct": distinct, **matching}
        if keep_state and config.near.enabled:
            counts = _write_state(workspace, refresh, config, out_path.parent)
        removed = _summary(workspace, out_path)
    kept = counts["documents"] - removed["exact"] - removed["near"]
    return {**counts, **removed, "kept": kept, "solved": solved}


def match_near(
    workspace: Workspace,
    *,
    threshold: float,
    max_comparisons: int,
    across_roles: bool = False,
    keep_state: bool = False,
    refresh: Refresh | None = None,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Create table `twins` (rank, twin, jaccard) of the collapsed documents that have a kept twin.

    Args:
        keep_state: also create tables `pairs` and `matching` (see `incremental`).
        refresh: an earlier result whose verified pairs are taken as they are.

    Returns:
        Counts: candidates, compared, bounded (see `near_dedupe`).
    """
    buckets = find_buckets(workspace, across_roles=across_roles)

    def keep_pairs(left: np.ndarray, right: np.ndarray, jaccards: np.ndarray) -> None:
        insert_pairs(workspace, buckets.ranks, left, right, jaccards)

    known = None if refresh is None else earlier_pairs(workspace, refresh, buckets.ranks)
    found = _match(
        workspace,
        buckets,
        known,
        threshold=threshold,
        max_comparisons=max_comparisons,
        store_pairs=keep_pairs if keep_state else None,
        progress=progress,
        should_stop=should_stop,
    )
    if keep_state:
        store_matching(workspace, buckets, found)
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
    return {
        "candidates": len(buckets.ranks),
        "compared": int(found.compared.sum(dtype=np.int64)),
        "bounded": int(found.bounded.sum()),
    }


def _match(
    workspace: Workspace,
    buckets: Buckets,
    known: KnownPairs | None,
    *,
    threshold: float,
    max_comparisons: int,
    store_pairs: PairSink | None,
    progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> Twins:
    """Match with the shingles of all candidates, or, where pairs are known, of those that turn out to need them."""
    wanted = np.full(len(buckets.ranks), known is None)
    while True:
        workspace.sql.execute("CREATE OR REPLACE TABLE pairs (a INTEGER, b INTEGER, jaccard DOUBLE)")
        found = match_in_order(
            buckets,
            load_shingles(workspace, buckets.ranks, wanted),
            threshold=threshold,
            max_comparisons=max_comparisons,
            known=known,
            store_pairs=store_pairs,
            progress=progress if known is None else lambda n: None,
            should_stop=should_stop,
        )
        if not found.missing.any():
            return found
        wanted |= found.missing


def resolve_twins(workspace: Workspace) -> None:
    """Create table `duplicates` (dropped, kept: ranks; kind, jaccard): collapsed documents share one fate.

    Pinned documents stay, each of them.
    """
    workspace.sql.execute(
        f"""
        CREATE OR REPLACE TABLE duplicates AS
        SELECT e.rank AS dropped, coalesce(twin, set_rank) AS kept,
               CASE WHEN kept = text_rank THEN 'exact' ELSE 'near' END AS kind, coalesce(jaccard, 1.0) AS jaccard
        FROM equals e LEFT JOIN twins ON twins.rank = e.set_rank
        WHERE e.rank != coalesce(twin, set_rank)
        AND e.rank NOT IN (SELECT rank FROM documents WHERE role = {PINNED})
        """
    )


def _summary(workspace: Workspace, out_path: Path) -> dict[str, int]:
    """Counts of the table; a family of n has n - 1 rows."""
    row = single_row(
        workspace.sql,
        f"""
        SELECT coalesce(sum(exact), 0)::BIGINT, coalesce(sum(n - exact), 0)::BIGINT,
               coalesce(sum(n // (family_size - 1)), 0)::BIGINT, coalesce(max(family_size), 0)
        FROM (SELECT family_size, count(*) AS n, count(*) FILTER (kind = 'exact') AS exact
              FROM read_parquet({sql_list([str(out_path)])}) GROUP BY family_size)
        """,
    )
    return dict(zip(("exact", "near", "families", "largest_family"), row, strict=True))


def _write(workspace: Workspace, refresh: Refresh | None, out_path: Path) -> None:
    columns = ", ".join(DUPLICATES_SCHEMA.names)
    untouched = f"UNION ALL SELECT {columns} {refresh.untouched(DUPLICATES, 'dropped')}" if refresh else ""
    rows = workspace.sql.sql(
        f"""
        SELECT d.id AS dropped, k.id AS kept, kind, jaccard, family_size
        FROM duplicates
        JOIN documents d ON d.rank = dropped
        JOIN documents k ON k.rank = kept
        JOIN (SELECT kept, count(*) + 1 AS family_size FROM duplicates GROUP BY kept) USING (kept)
        {untouched} ORDER BY 1
        """
    )
    write_rows(rows, DUPLICATES_SCHEMA, out_path)


def _write_state(
    workspace: Workspace, refresh: Refresh | None, config: DedupeConfig, directory: Path
) -> dict[str, int]:
    """Write what a later run can go on from; returns the counts of the whole corpus."""
    create_families(workspace)
    metadata = state_metadata(config, workspace)
    index = directory / INDEX
    rows = workspace.sql.sql(index_query(refresh))
    write_rows(rows, INDEX_SCHEMA.with_metadata(metadata), index, use_dictionary=False)
    write_rows(workspace.sql.sql(pairs_query(refresh)), PAIRS_SCHEMA.with_metadata(metadata), directory / PAIRS)
    row = single_row(
        workspace.sql,
        f"""
        SELECT count(*), count(*) FILTER (stands), count(*) FILTER (candidate), coalesce(sum(compared), 0)::BIGINT,
               count(*) FILTER (bounded)
        FROM read_parquet({sql_list([index])})
        """,
    )
    return dict(zip(("documents", "distinct", "candidates", "compared", "bounded"), row, strict=True))
