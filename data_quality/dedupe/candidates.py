"""Candidates: the buckets of documents that share a whole band of their MinHash signatures.

DuckDB sorts one band at a time, in hash ranges, out of core; only buckets that can hold a pair are kept in memory.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_quality.dedupe.compiled import kernel
from data_quality.dedupe.exact import PINNED, Workspace, single_row, sql_list

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_ROWS_AT_ONCE = 20_000_000  # rows of one band sorted and looked at together: about 300 MB


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
    parts = 1 + single_row(sql, "SELECT count(*) FROM bands")[0] // _ROWS_AT_ONCE
    ranks = [np.empty(0, dtype=np.int32)]
    buckets = [np.empty(0, dtype=np.int32)]
    total = 0
    for band in range(workspace.bands):
        for part in range(parts):
            rows = sql.execute(
                f"""
                SELECT b{band} AS value, rank, pinned FROM bands WHERE b{band} % {parts} = {part} ORDER BY value, rank
                """
            ).fetchnumpy()
            members, sizes = _shared(np.asarray(rows["value"]), np.asarray(rows["pinned"]), across_roles)
            ranks.append(np.asarray(rows["rank"], dtype=np.int32)[members])
            buckets.append(np.repeat(np.arange(total, total + len(sizes), dtype=np.int32), sizes))
            total += len(sizes)
    sql.execute("DROP TABLE bands")
    return _index(workspace, np.concatenate(ranks), np.concatenate(buckets), total)


def _shared(values: UInt64s, pinned: npt.NDArray[np.bool_], across_roles: bool) -> tuple[Bools, Int64s]:
    """Of sorted band values: which rows are in a bucket that can hold a pair, and the sizes of these buckets."""
    if not len(values):
        return np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    sizes = np.diff(np.append(starts, len(values)))
    wanted = sizes > 1
    if across_roles:
        pins = np.add.reduceat(pinned, starts, dtype=np.int64)
        wanted = (pins > 0) & (pins < sizes)
    return np.repeat(wanted, sizes), sizes[wanted]


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
