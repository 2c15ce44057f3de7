"""Candidates: the buckets of documents that share a whole band of their MinHash signatures.

DuckDB groups one band at a time, out of core, and hands back only buckets that can hold a pair; a document that
shares no band with another never leaves the database.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_quality.dedupe.compiled import kernel
from data_quality.dedupe.exact import PINNED, Workspace, sql_list

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Buckets:
    """C candidate documents in rank order and the B buckets they are in, both ways round.

    ranks[C] ascending · roles[C] · document i is in the buckets
    document_buckets[document_offsets[i]:document_offsets[i+1]], in band order · bucket j has room for
    bucket_offsets[j+1] - bucket_offsets[j] members.
    """

    ranks: Int32s
    roles: npt.NDArray[np.int8]
    document_offsets: Int64s
    document_buckets: Int32s
    bucket_offsets: Int64s


def find_buckets(workspace: Workspace, *, across_roles: bool = False) -> Buckets:
    """Group the documents that stand for themselves (`equals.rank = set_rank`) by each band.

    Args:
        across_roles: only buckets that hold both a pinned document and another.
    """
    sql = workspace.sql
    paths = sql_list([str(path) for path in workspace.signatures])
    columns = ", ".join(f"bands[{band + 1}] AS b{band}" for band in range(workspace.bands))
    sql.execute(
        f"""
        CREATE TABLE bands AS
        SELECT rank, role = {PINNED} AS pinned, {columns}
        FROM read_parquet({paths}, filename = true, file_row_number = true) s
        JOIN files ON files.path = s.filename
        JOIN documents d ON d.file = files.file AND d.row = s.file_row_number
        SEMI JOIN (SELECT rank FROM equals WHERE rank = set_rank) e ON e.rank = d.rank
        """
    )
    wanted = "bool_or(pinned) AND NOT bool_and(pinned)" if across_roles else "count(*) > 1"
    ranks: list[Int32s] = []
    buckets: list[Int32s] = []
    total = 0
    for band in range(workspace.bands):
        rows = sql.execute(
            f"""
            SELECT value, rank FROM (SELECT b{band} AS value, rank FROM bands)
            SEMI JOIN (SELECT b{band} AS value FROM bands GROUP BY ALL HAVING {wanted}) shared USING (value)
            ORDER BY value, rank
            """
        ).fetchnumpy()
        values = np.asarray(rows["value"])
        starts = np.ones(len(values), dtype=bool)
        starts[1:] = values[1:] != values[:-1]
        ranks.append(np.asarray(rows["rank"], dtype=np.int32))
        buckets.append(np.cumsum(starts, dtype=np.int64).astype(np.int32) + np.int32(total - 1))
        total += int(starts.sum())
    sql.execute("DROP TABLE bands")
    return _index(workspace, np.concatenate(ranks), np.concatenate(buckets), total)


def _index(workspace: Workspace, ranks: Int32s, buckets: Int32s, total: int) -> Buckets:
    candidates = np.unique(ranks)
    roles = np.zeros(len(candidates), dtype=np.int8)
    special = workspace.sql.execute("SELECT rank, role FROM documents WHERE role != 0 ORDER BY rank").fetchnumpy()
    places = np.searchsorted(special["rank"], candidates)
    found = places < len(special["rank"])
    found[found] = special["rank"][places[found]] == candidates[found]
    roles[found] = special["role"][places[found]]
    documents = np.searchsorted(candidates, ranks).astype(np.int32)
    document_offsets = np.zeros(len(candidates) + 1, dtype=np.int64)
    np.cumsum(np.bincount(documents, minlength=len(candidates)), out=document_offsets[1:])
    bucket_offsets = np.zeros(total + 1, dtype=np.int64)
    np.cumsum(np.bincount(buckets, minlength=total), out=bucket_offsets[1:])
    document_buckets = np.empty(len(buckets), dtype=np.int32)
    _group_by_document(documents, buckets, document_offsets[:-1].copy(), document_buckets)
    return Buckets(candidates, roles, document_offsets, document_buckets, bucket_offsets)


@kernel
def _group_by_document(documents, buckets, fill, document_buckets):  # type: ignore[no-untyped-def]
    """A counting sort of the buckets by document that keeps the order of the bands."""
    for i in range(len(documents)):
        document = documents[i]
        document_buckets[fill[document]] = buckets[i]
        fill[document] += 1
