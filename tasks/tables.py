"""Questions to Parquet tables, by SQL."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from tasks.run import Resources
from tasks.store import Artifact


@contextmanager
def database(resources: Resources, spill: Path, file: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB within the run's limits that spills to `spill`; in memory unless `file` is given."""
    with duckdb.connect(str(file) if file else ":memory:") as connection:
        connection.execute("SET memory_limit = ?", [resources.memory_limit])
        connection.execute("SET threads = ?", [resources.threads])
        connection.execute("SET temp_directory = ?", [str(spill)])
        yield connection


def quoted(path: Path) -> str:
    """A path as an SQL string, for the statements that take no parameter there."""
    return "'" + str(path).replace("'", "''") + "'"


def rows(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
    """The answer to one small question, as dicts by column name."""
    with duckdb.connect() as connection:
        return answer(connection, sql, parameters)


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> list[dict[str, Any]]:
    """The same in a database that is open."""
    found = connection.execute(sql, parameters)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def score_tables(artifact: Artifact) -> list[Path]:
    """The tables of an artifact that holds a number for every document: its shards', or its one table."""
    return [shard.path for shard in artifact.shards()] or sorted(artifact.path.glob("*.parquet"))
