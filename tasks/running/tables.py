"""Questions to Parquet tables, by SQL."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from data_quality.sql import connect
from tasks.machine.resources import Resources
from tasks.running.work import Work
from tasks.store import Artifact


def database(resources: Resources, spill: Path, file: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB within the run's limits that spills to `spill`; in memory unless `file` is given."""
    return connect(resources.memory_limit, resources.threads, spill, file)


_open: ContextVar["duckdb.DuckDBPyConnection | None"] = ContextVar("open", default=None)


@contextmanager
def many_questions() -> Iterator[None]:
    """Inside of it, `rows` asks one database: to open one takes longer than to find a row."""
    with TemporaryDirectory(prefix="textmill-") as spill, database(Resources().resolved(), Path(spill)) as connection:
        before = _open.set(connection)
        try:
            yield
        finally:
            _open.reset(before)


def rows(
    sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), work: Work | None = None
) -> list[dict[str, Any]]:
    """The answer to one question, as dicts by column name: within the limits of a stage's run, or of a run by default.

    Args:
        work: of the stage that asks, which spills to its scratch directory.
    """
    if work is not None:
        with database(work.resources, work.scratch / "spill") as connection:
            return answer(connection, sql, parameters)
    if (connection := _open.get()) is not None:
        return answer(connection, sql, parameters)
    with many_questions():
        return rows(sql, parameters)


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
