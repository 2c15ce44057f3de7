"""Equal documents: the ranked table of all documents, with equal texts and equal shingle sets collapsed.

Every document gets a `rank`: its place in the order in which documents are preferred, a total order on the content
alone. Everything after this works on ranks, so that neither shards nor their order nor threads can show.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import KeepConfig
from data_quality.dedupe.signatures import CONFIG_KEY

GREEDY, PINNED, COMPARED = 0, 1, 2
"""Roles: kept unless it has a kept twin · kept whatever happens · looked up among the kept, never kept itself."""


@dataclass(frozen=True)
class Workspace:
    """A DuckDB database on disk and a directory for temporary files; both vanish at the end."""

    sql: duckdb.DuckDBPyConnection
    directory: Path
    signatures: tuple[Path, ...]
    bands: int


@contextmanager
def open_workspace(
    signature_paths: Sequence[Path], temp_directory: Path, memory_limit: str, threads: int
) -> Iterator[Workspace]:
    """Check that the signature shards fit together, and open a database that spills to `temp_directory`.

    Raises:
        ValueError: no shard, a file that is no signature shard, or shards made with different configs.
    """
    paths = tuple(Path(path) for path in signature_paths)
    bands = _check_signatures(paths)
    with TemporaryDirectory(prefix="dedupe-", dir=temp_directory) as name:
        directory = Path(name)
        settings = {
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(directory / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(str(directory / "dedupe.duckdb"), config=settings) as sql:
            yield Workspace(sql, directory, paths, bands)


def _check_signatures(paths: Sequence[Path]) -> int:
    if not paths:
        raise ValueError("no signature shards were given: run signature_shard on the documents first")
    first_config = None
    bands = 0
    for path in paths:
        schema = pq.read_schema(path)
        config = (schema.metadata or {}).get(CONFIG_KEY)
        if config is None:
            raise ValueError(f"{path} is not a signature shard: write it with signature_shard")
        if first_config is None:
            first_config = config
            bands = schema.field("bands").type.list_size
        if config != first_config:
            raise ValueError(
                f"{path} was made with {config.decode()}, {paths[0]} with {first_config.decode()}: "
                "make all signatures with one config"
            )
    return bands


def preference(keep: KeepConfig) -> str:
    """The SQL order of documents from most to least wanted, over the columns of a signature shard."""
    position = f"coalesce(list_position({sql_list(keep.source_priority)}, source), 1000000000)"
    return {
        "longest": "chars DESC, id",
        "shortest": "chars, id",
        "source_priority": f"{position}, chars DESC, id",
        "first_id": "id",
    }[keep.policy]


def rank_documents(
    workspace: Workspace,
    *,
    order: str,
    role: str = str(GREEDY),
    join: str = "",
    parameters: dict[str, Any] | None = None,
) -> int:
    """Create table `documents` (rank, id, text_hash, shingle_count, shingles_hash, file, row, role); return its length.

    Args:
        order: SQL order by which ranks 0, 1, ... are given; total, so ending in id.
        role: SQL expression for GREEDY, PINNED or COMPARED; pinned documents must come first in `order`.
        join: SQL joined to the signatures (alias s); an inner join leaves documents out.
        parameters: values of the $names in these.

    Raises:
        ValueError: two documents have one id.
    """
    sql = workspace.sql
    files = pa.table({"path": [str(path) for path in workspace.signatures], "file": range(len(workspace.signatures))})
    sql.register("files", files)
    sql.execute(
        f"""
        CREATE OR REPLACE TABLE documents AS
        SELECT (row_number() OVER (ORDER BY {order}) - 1)::INTEGER AS rank, s.id, text_hash, shingle_count,
               shingles_hash, files.file::INTEGER AS file, file_row_number AS row, ({role})::TINYINT AS role
        FROM read_parquet({sql_list(files["path"].to_pylist())}, filename = true, file_row_number = true) s
        JOIN files ON files.path = s.filename {join}
        """,
        parameters or {},
    )
    rows, ids, twice = single_row(
        sql,
        """
        SELECT sum(n), count(*), (min(id) FILTER (n > 1)) FROM (SELECT id, count(*) AS n FROM documents GROUP BY id)
        """,
    )
    if twice is not None:
        raise ValueError(
            f"{rows} documents have {ids} ids, {twice!r} is one that comes twice: ids must be unique across all shards"
        )
    return ids


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


def single_row(sql: duckdb.DuckDBPyConnection, query: str) -> Any:
    """The one row of a query, fetched to its end (DuckDB 2 lets no other query start before)."""
    [row] = sql.execute(query).fetchall()
    return row


def sql_list(values: Sequence[str]) -> str:
    """A SQL literal: a list of strings."""
    return "[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]::VARCHAR[]"
