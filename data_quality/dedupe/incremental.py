"""Refreshing a result: what of an earlier run still stands, and which documents must be solved again.

A run may keep its state beside its table: `index.parquet` (a row per document, with the family of candidates that it
belongs to) and `pairs.parquet` (the pairs that were verified, negatives included). A later run with the same config
takes them as a hint. A document is *fresh* if it is new or anything that its rank or its shingles depend on has
changed. A family is a connected component of "share a band value": no document outside can have a part in what happens
inside. So the documents to solve are the fresh ones, those that share a band value with one, and the families of
these, of documents that are gone and of what fresh ones were before; everything else is copied. The files that come
out are, byte for byte, those of a run without the hint.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.compiled import kernel
from data_quality.config import DedupeConfig
from data_quality.dedupe.bands import Int32s
from data_quality.dedupe.candidates import Buckets, bands_of, shard_starts
from data_quality.dedupe.exact import Workspace
from data_quality.dedupe.keep import Ranking
from data_quality.dedupe.verify import Float64s, KnownPairs, Twins, known_pairs
from data_quality.sql import check_unique, numbered_rows, single_row, sql_list

STATE_KEY = b"textmill.dedupe"
STATE_VERSION = 1  # raise it when families, prints or pairs come to mean something else
INDEX, PAIRS, DUPLICATES = "index.parquet", "pairs.parquet", "duplicates.parquet"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("print", pa.uint64(), nullable=False),
        pa.field("family", pa.uint64()),
        pa.field("stands", pa.bool_(), nullable=False),
        pa.field("candidate", pa.bool_(), nullable=False),
        pa.field("compared", pa.int32(), nullable=False),
        pa.field("bounded", pa.bool_(), nullable=False),
    ]
)
PAIRS_SCHEMA = pa.schema(
    [
        pa.field("id_a", pa.string(), nullable=False),
        pa.field("id_b", pa.string(), nullable=False),
        pa.field("jaccard", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Refresh:
    """An earlier result that is gone on from; tables `affected` and `solved` of the workspace say what is redone."""

    directory: Path
    join: str = "JOIN affected ON affected.file = s.file_index AND affected.row = s.file_row_number"

    def untouched(self, name: str, column: str) -> str:
        """SQL: the rows of an earlier table that still stand."""
        earlier = sql_list([str(self.directory / name)])
        return f"FROM read_parquet({earlier}) ANTI JOIN (SELECT id AS solved_id FROM solved) ON solved_id = {column}"


def state_metadata(config: DedupeConfig, workspace: Workspace) -> dict[bytes, bytes]:
    """What an earlier state must have been made with to be a hint."""
    made = [STATE_VERSION, config.model_dump(mode="json"), workspace.made_with.decode()]
    return {STATE_KEY: json.dumps(made, sort_keys=True).encode()}


def print_of(ranking: Ranking) -> str:
    """SQL: 64 bits that change when anything changes that a document's rank or shingles depend on."""
    parts = ", ".join(f"coalesce(({column})::VARCHAR, chr(1))" for column in ranking.material)
    return f"md5_number_lower(concat_ws(chr(31), {parts}))::UBIGINT"


def begin_refresh(workspace: Workspace, ranking: Ranking, previous: Path, config: DedupeConfig) -> Refresh | None:
    """Find what must be solved again; None if the hint is of no use (another config, most documents affected)."""
    try:
        metadata = pq.read_schema(previous / INDEX).metadata or {}
    except FileNotFoundError:
        return None
    if metadata.get(STATE_KEY) != state_metadata(config, workspace)[STATE_KEY]:
        return None
    sql = workspace.sql
    earlier = f"read_parquet({sql_list([str(previous / INDEX)])})"
    sql.execute(
        f"""
        CREATE OR REPLACE TABLE current AS
        SELECT s.file_index::INTEGER AS file, s.file_row_number AS row, s.id, o.family,
               (o.id IS NULL OR o.print != {print_of(ranking)}) AS fresh
        FROM {numbered_rows(workspace.signatures)} s {ranking.join} LEFT JOIN {earlier} o ON o.id = s.id
        """
    )
    check_unique(workspace.sql, "current")
    sql.execute(f"CREATE OR REPLACE TABLE gone AS SELECT id, family FROM {earlier} ANTI JOIN current USING (id)")
    sql.register("near", _neighbours(workspace))
    sql.execute(
        """
        CREATE OR REPLACE TABLE affected AS
        WITH met AS (SELECT current.* FROM current SEMI JOIN near USING (file, row)),
             families AS (SELECT family FROM met UNION SELECT family FROM gone)
        SELECT file, row, id FROM current WHERE family IN (SELECT family FROM families WHERE family NOT NULL)
        UNION SELECT file, row, id FROM met
        """
    )
    sql.unregister("near")
    affected, documents = single_row(sql, "SELECT (SELECT count(*) FROM affected), (SELECT count(*) FROM current)")
    sql.execute("CREATE OR REPLACE TABLE solved AS SELECT id FROM affected UNION SELECT id FROM gone")
    sql.execute("DROP TABLE current")
    return Refresh(previous) if 2 * affected <= documents else None


def _neighbours(workspace: Workspace) -> pa.Table:
    """(file, row) of the documents that share a band value with a fresh one, the fresh ones among them."""
    starts = shard_starts(workspace)
    found = workspace.sql.execute("SELECT file, row FROM current WHERE fresh").fetchnumpy()
    fresh = np.zeros(starts[-1], dtype=bool)
    fresh[starts[np.asarray(found["file"])] + np.asarray(found["row"])] = True
    near = fresh.copy()
    if len(found["file"]):
        for shared in bands_of(workspace):
            met = np.zeros(shared.buckets[-1] + 1, dtype=bool)
            met[shared.buckets[fresh[shared.positions]]] = True
            near[shared.positions[met[shared.buckets]]] = True
    positions = np.flatnonzero(near)
    files = np.searchsorted(starts, positions, side="right") - 1
    return pa.table({"file": files.astype(np.int32), "row": positions - starts[files]})


def earlier_pairs(workspace: Workspace, refresh: Refresh, ranks: Int32s) -> KnownPairs:
    """The verified pairs of candidates (`ranks`, ascending) whose documents have not changed."""
    pairs = sql_list([str(refresh.directory / PAIRS)])
    index = sql_list([str(refresh.directory / INDEX)])
    found = workspace.sql.execute(
        f"""
        WITH same AS (
            SELECT id, rank FROM documents JOIN read_parquet({index}) earlier USING (id)
            WHERE documents.print = earlier.print
        )
        SELECT a.rank AS a, b.rank AS b, coalesce(jaccard, -1.0) AS jaccard
        FROM read_parquet({pairs}) JOIN same a ON a.id = id_a JOIN same b ON b.id = id_b
        """
    ).fetchnumpy()
    sides = [np.searchsorted(ranks, found[name]).astype(np.int32) for name in ("a", "b")]
    both = np.ones(len(sides[0]), dtype=bool)
    for name, side in zip(("a", "b"), sides, strict=True):  # collapsed into another document meanwhile
        inside = side < len(ranks)
        both &= inside
        both[inside] &= ranks[side[inside]] == found[name][inside]
    return known_pairs(sides[0][both], sides[1][both], np.asarray(found["jaccard"], dtype=np.float64)[both])


def store_matching(workspace: Workspace, buckets: Buckets, found: Twins) -> None:
    """Create table `matching` (rank, component, compared, bounded) of the candidates."""
    table = pa.table(
        {
            "rank": buckets.ranks,
            "component": _components(buckets),
            "compared": found.compared,
            "bounded": found.bounded,
        }
    )
    workspace.sql.register("matched", table)
    workspace.sql.execute("CREATE OR REPLACE TABLE matching AS FROM matched")
    workspace.sql.unregister("matched")


def insert_pairs(workspace: Workspace, ranks: Int32s, left: Int32s, right: Int32s, jaccards: Float64s) -> None:
    """Add verified pairs of candidate indices to table `pairs` (a, b: ranks; jaccard, null below the threshold)."""
    batch = pa.table({"a": ranks[left], "b": ranks[right], "jaccard": pa.array(jaccards, mask=jaccards < 0)})
    workspace.sql.register("batch", batch)
    workspace.sql.execute("INSERT INTO pairs FROM batch")
    workspace.sql.unregister("batch")


def _components(buckets: Buckets) -> Int32s:
    """The connected component of every candidate, named by its first one."""
    parents = np.arange(len(buckets.ranks), dtype=np.int32)
    firsts = np.full(len(buckets.bucket_offsets) - 1, -1, dtype=np.int32)
    _join(buckets.document_offsets, buckets.document_buckets, firsts, parents)
    return parents


@kernel
def _root(parents, node):  # type: ignore[no-untyped-def]
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel
def _join(document_offsets, document_buckets, firsts, parents):  # type: ignore[no-untyped-def]
    """Union-find of documents over their buckets; the lower index is the root."""
    for d in range(len(parents)):
        for place in range(document_offsets[d], document_offsets[d + 1]):
            bucket = document_buckets[place]
            if firsts[bucket] < 0:
                firsts[bucket] = d
                continue
            one, other = _root(parents, d), _root(parents, firsts[bucket])
            parents[max(one, other)] = min(one, other)
    for d in range(len(parents)):
        parents[d] = _root(parents, d)


def create_families(workspace: Workspace) -> None:
    """Create table `families` (set_rank, family) of documents that are not alone.

    A family is named by the lowest hash of its shingle sets, which depends on its members alone. Two families of one
    name would only be solved together.
    """
    workspace.sql.execute(
        """
        CREATE OR REPLACE TABLE families AS
        WITH groups AS (
            SELECT e.set_rank, any_value(coalesce(m.component, -1 - e.set_rank)) AS component,
                   min(shingles_hash) AS lowest
            FROM equals e JOIN documents d ON d.rank = e.rank LEFT JOIN matching m ON m.rank = e.set_rank
            WHERE m.rank NOT NULL OR e.set_rank IN (SELECT set_rank FROM equals WHERE rank != set_rank)
            GROUP BY e.set_rank
        )
        SELECT set_rank, min(lowest) OVER (PARTITION BY component) AS family FROM groups
        """
    )


def index_query(refresh: Refresh | None) -> str:
    """SQL: the rows of `index.parquet`, by id."""
    columns = "id, print, family, stands, candidate, compared, bounded"
    untouched = f"UNION ALL SELECT {columns} {refresh.untouched(INDEX, 'id')}" if refresh else ""
    return f"""
        SELECT d.id, print, family, e.rank = e.set_rank AS stands, m.rank NOT NULL AS candidate,
               coalesce(m.compared, 0)::INTEGER AS compared, coalesce(m.bounded, false) AS bounded
        FROM documents d JOIN equals e ON e.rank = d.rank LEFT JOIN families f ON f.set_rank = e.set_rank
        LEFT JOIN matching m ON m.rank = d.rank
        {untouched} ORDER BY id
        """


def pairs_query(refresh: Refresh | None) -> str:
    """SQL: the rows of `pairs.parquet`, by ids."""
    untouched = f"UNION ALL SELECT id_a, id_b, jaccard {refresh.untouched(PAIRS, 'id_a')}" if refresh else ""
    return f"""
        SELECT least(a.id, b.id) AS id_a, greatest(a.id, b.id) AS id_b, jaccard
        FROM pairs JOIN documents a ON a.rank = pairs.a JOIN documents b ON b.rank = pairs.b
        {untouched} ORDER BY id_a, id_b
        """
