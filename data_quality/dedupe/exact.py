"""Equal documents: the ranked table of all documents, with equal texts and equal shingle sets collapsed.

Every document gets a `rank`: its place in the order in which documents are preferred, a total order on the content
alone. Everything after this works on ranks, so that neither shards nor their order nor threads can show.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from data_quality.dedupe.signatures import CONFIG_KEY
from data_quality.sql import check_unique, numbered_rows, open_database, single_row

GREEDY, PINNED, COMPARED = 0, 1, 2
"""Roles: kept unless it has a kept twin · kept whatever happens · looked up among the kept, never kept itself."""


@dataclass(frozen=True)
class Workspace:
    """A DuckDB database on disk and a directory for temporary files; both vanish at the end."""

    sql: duckdb.DuckDBPyConnection
    directory: Path
    signatures: tuple[Path, ...]
    bands: int
    threads: int
    made_with: bytes  # the config of the signatures, as their shards have it
    shared: tuple[Path, ...]  # tables of `shared_bands`, if they were made before


@contextmanager
def open_workspace(
    signature_paths: Sequence[Path],
    temp_directory: Path,
    memory_limit: str,
    threads: int,
    band_paths: Sequence[Path] = (),
) -> Iterator[Workspace]:
    """Check that the signature shards fit together, and open a database in `temp_directory`.

    Raises:
        ValueError: as `check_signatures`.
    """
    paths = tuple(Path(path) for path in signature_paths)
    bands, made_with = check_signatures(paths)
    with open_database(temp_directory, memory_limit, threads) as (sql, directory):
        sql.execute("SET TimeZone = 'UTC'")  # of dates that name none
        yield Workspace(sql, directory, paths, bands, threads, made_with, tuple(map(Path, band_paths)))


def check_signatures(paths: Sequence[Path]) -> tuple[int, bytes]:
    """How many bands some signature shards have, and the config that they were made with.

    Raises:
        ValueError: no shard, a file that is no signature shard, or shards made with different configs.
    """
    if not paths:
        raise ValueError("no signature shards were given: run signature_shard on the documents first")
    made_with: bytes | None = None
    bands = 0
    for path in paths:
        schema = pq.read_schema(path)
        config = (schema.metadata or {}).get(CONFIG_KEY)
        if config is None:
            raise ValueError(f"{path} is not a signature shard: write it with signature_shard")
        if made_with is None:
            made_with = config
            bands = next(n for n in range(len(schema.names) + 1) if f"b{n}" not in schema.names)
        if config != made_with:
            raise ValueError(
                f"{path} was made with {config.decode()}, {paths[0]} with {made_with.decode()}: "
                "make all signatures with one config"
            )
    return bands, made_with or b""


def rank_documents(
    workspace: Workspace,
    *,
    order: str,
    role: str = str(GREEDY),
    join: str = "",
    columns: str = "",
    parameters: dict[str, Any] | None = None,
) -> int:
    """Create table `documents` (rank, id, text_hash, shingle_count, shingles_hash, file, row, role); return its length.

    Args:
        order: SQL order by which ranks 0, 1, ... are given; total, so ending in id.
        role: SQL expression for GREEDY, PINNED or COMPARED; pinned documents must come first in `order`.
        join: SQL joined to the signatures (alias s); an inner join leaves documents out.
        columns: more SQL columns of the table, each with a comma before it.
        parameters: values of the $names in these.

    Raises:
        ValueError: two documents have one id.
    """
    workspace.sql.execute(
        f"""
        CREATE OR REPLACE TABLE documents AS
        SELECT (row_number() OVER (ORDER BY {order}) - 1)::INTEGER AS rank, s.id, s.text_hash, shingle_count,
               shingles_hash, s.file_index::INTEGER AS file, s.file_row_number AS row,
               ({role})::TINYINT AS role {columns}
        FROM {numbered_rows(workspace.signatures)} s {join}
        """,
        parameters or {},
    )
    return check_unique(workspace.sql, "documents")


def collapse_equal(workspace: Workspace, *, texts: bool, shingles: bool) -> int:
    """Create table `equals` (rank, text_rank, set_rank): the first document with the same text, the same shingles.

    `set_rank` stands for the document from here on: a million identical documents are one comparison. Equal sets are
    recognised by a 64-bit hash and their size: for 10^7 documents the chance of one false match is below 10^-5.
    Returns the number of distinct documents left.
    """
    text_rank = "min(rank) OVER (PARTITION BY text_hash)" if texts else "rank"
    set_rank = "min(rank) OVER (PARTITION BY shingles_hash, shingle_count)" if shingles else text_rank
    columns = f"rank, {text_rank} AS text_rank, {set_rank} AS set_rank"
    workspace.sql.execute(f"CREATE OR REPLACE TABLE equals AS SELECT {columns} FROM documents")
    return single_row(workspace.sql, "SELECT count(*) FROM equals WHERE rank = set_rank")[0]
