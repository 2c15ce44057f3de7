"""DuckDB as all steps use it: how it is opened, how values and files stand in a query, how answers become files.

DuckDB and pyarrow are imported when they are used: a configuration is checked in a fraction of their import time.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data_quality.per_thread import per_thread

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

ROW_GROUP = 50_000
_DATABASE = "textmill-database-"


def connect(
    memory_limit: str, threads: int | None, spill: Path, file: Path | None = None
) -> "duckdb.DuckDBPyConnection":
    """A DuckDB that spills into `spill` and fetches no extension from the network; in memory unless `file` is given.

    Args:
        memory_limit: in DuckDB's words, such as "1GB".
        threads: None: one per core.
    """
    import duckdb

    connection = duckdb.connect(str(file) if file else ":memory:")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET memory_limit = ?", [memory_limit])
    connection.execute("SET temp_directory = ?", [str(spill)])
    if threads is not None:
        connection.execute("SET threads = ?", [threads])
    return connection


@contextmanager
def small_database(spill: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A DuckDB of a gigabyte and one thread, for a few questions about one shard; only its temporary tables vanish.

    To open one takes 20 ms, as long as the questions take: each thread keeps its own for the next shard, unless it has
    spilled or anything went wrong.
    """
    kept = _small_database()
    connection = kept.pop() if kept else connect("1GB", 1, spill)
    cursor = connection.cursor()
    try:
        cursor.execute("SET temp_directory = ?", [str(spill)])
        yield cursor
    except BaseException:
        cursor.close()
        connection.close()
        raise
    cursor.close()
    if spill.exists():
        connection.close()
    else:
        kept.append(connection)


@per_thread
def _small_database() -> list["duckdb.DuckDBPyConnection"]:
    """The one that this thread has and does not use, if any."""
    return []


@contextmanager
def open_database(
    temp_directory: Path, memory_limit: str, threads: int
) -> Iterator[tuple["duckdb.DuckDBPyConnection", Path]]:
    """A DuckDB on disk that spills, and the directory it is in; both vanish at the end.

    `temp_directory` is for one database at a time: what is left there of one whose process was killed is removed.
    """
    for leftover in Path(temp_directory).glob(f"{_DATABASE}*"):
        shutil.rmtree(leftover)
    with TemporaryDirectory(prefix=_DATABASE, dir=temp_directory) as name:
        directory = Path(name)
        with connect(memory_limit, threads, directory / "spill", directory / "all.duckdb") as sql:
            yield sql, directory


def literal(text: str | Path) -> str:
    """A string or a path as SQL, for statements that take no parameter there."""
    return "'" + str(text).replace("'", "''") + "'"


def sql_list(values: Sequence[str | Path]) -> str:
    """A list of strings or paths as SQL."""
    return f"[{', '.join(map(literal, values))}]::VARCHAR[]"


def parquet(paths: Sequence[Path]) -> str:
    """The SQL that reads Parquet files, in the order given."""
    return f"read_parquet({sql_list(paths)})"


def numbered_rows(paths: Sequence[Path]) -> str:
    """The same, with `file_index` (which of the paths) and `file_row_number` beside each row."""
    return f"read_parquet({sql_list(paths)}, file_row_number = true)"


def single_row(sql: "duckdb.DuckDBPyConnection", query: str) -> Any:
    """The one row of a query, fetched to its end (DuckDB 2 lets no other query start before)."""
    [row] = sql.execute(query).fetchall()
    return row


def check_unique(sql: "duckdb.DuckDBPyConnection", table: str) -> int:
    """The number of documents of a table; raises ValueError where two have one id."""
    rows, ids, twice = single_row(
        sql,
        f"SELECT sum(n), count(*), (min(id) FILTER (n > 1)) FROM (SELECT id, count(*) AS n FROM {table} GROUP BY id)",
    )
    if twice is not None:
        raise ValueError(
            f"{rows} documents have {ids} ids, {twice!r} is one that comes twice: ids must be unique across all shards"
        )
    return int(ids)


def write_rows(
    rows: "duckdb.DuckDBPyRelation",
    schema: "pa.Schema | None",
    out_path: Path,
    row_group: int | None = None,
    **options: Any,
) -> None:
    """Write a query's rows to Parquet, whole or not at all; in row groups of ROW_GROUP rows unless told
    otherwise. Without a schema, in that of the query.

    DuckDB's own files differ with its threads and with the files it read; these do not.

    Args:
        options: of `pq.ParquetWriter`.
    """
    import pyarrow as pa

    from data_quality.shards import whole_parquet

    row_group = row_group or ROW_GROUP
    batches = rows.to_arrow_reader(row_group)
    schema = batches.schema if schema is None else schema
    with whole_parquet(out_path, schema, **options) as writer:
        waiting = schema.empty_table()
        for batch in batches:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
            while waiting.num_rows >= row_group:
                writer.write_table(waiting.slice(0, row_group).combine_chunks(), row_group_size=row_group)
                waiting = waiting.slice(row_group)
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks(), row_group_size=row_group)
