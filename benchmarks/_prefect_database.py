"""The database of a home's Prefect server, as the server's program does not show it: size, rows, and time gone by.

It is the SQLite file of the home, or what PREFECT_API_DATABASE_CONNECTION_URL names (`postgresql+asyncpg://...`).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

URL = "PREFECT_API_DATABASE_CONNECTION_URL"
TABLES = ("flow_run", "task_run", "flow_run_state", "task_run_state", "log", "artifact", "artifact_collection")
TABLES += ("events", "event_resources")
TIMES = {"flow_run": "end_time", "events": "occurred", "event_resources": "occurred"}
"""What Prefect's retention goes by; states, task runs, logs and artifacts leave with their flow run."""

QUICK = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "5",
}
"""For a server that is to look every few seconds for what is too old, not every hour and every day."""


def megabytes(home: Path) -> float:
    """The database with what has not been merged into it yet."""
    if is_postgresql():
        return number(home, "SELECT pg_database_size(current_database())") / 1e6
    return sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*")) / 1e6


def free_megabytes(home: Path) -> float:
    """Pages of the SQLite file that what was removed has left, and that are used again."""
    return number(home, "PRAGMA freelist_count") * number(home, "PRAGMA page_size") / 1e6


def rows(home: Path) -> dict[str, int]:
    """How many rows the tables have that grow."""
    return {name: number(home, f"SELECT count(*) FROM {name}") for name in TABLES}


def make_older(home: Path, days: float) -> None:
    """Let so many days have gone by since all that the retention goes by; the server may run."""
    for table, column in TIMES.items():
        older = f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-{days} days') || '000'"  # as Prefect writes it
        if is_postgresql():
            older = f"{column} - interval '{days} days'"
        with database(home) as cursor:
            cursor.execute(f"UPDATE {table} SET {column} = {older} WHERE {column} IS NOT NULL")


def number(home: Path, query: str) -> int:
    """The one number that a query has for an answer."""
    with database(home) as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def is_postgresql() -> bool:
    """Whether the server's database is one that the environment names."""
    return os.environ.get(URL, "").startswith("postgresql")


@contextmanager
def database(home: Path) -> Iterator[Any]:
    """A cursor in the server's database, which commits at the end."""
    connection: Any
    if is_postgresql():
        import psycopg2

        connection = psycopg2.connect(os.environ[URL].replace("+asyncpg", ""))
    else:
        connection = sqlite3.connect(home / "prefect" / "prefect.db", timeout=60)
    with closing(connection), connection, closing(connection.cursor()) as cursor:
        yield cursor
