"""What 1,000 shards cost beside the work on them: `python -m benchmarks.many_shards [--shards 1000] [--rounds 3]`.

A Prefect flow whose stage has a part for each shard and nothing to do on it (`benchmarks._noop_shards`), with threads
and with processes, each round on an empty store; then the finished flow again, as a process of its own. A server of its
own, whose database is measured: after the builds, and after as many flow runs as --reruns. It is a SQLite file, or what
PREFECT_API_DATABASE_CONNECTION_URL names (`postgresql+asyncpg://...`), empty at first. Last, with --retention, the
server is started anew so that it looks for what is too old every few seconds, all flow runs are made older than the
retention by their end time, and it is waited for until they are gone. Exits with 1 if the digests differ.
"""

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

RETENTION_PATIENCE = 120.0
DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
TABLES = ("flow_run", "task_run", "flow_run_state", "task_run_state", "log", "artifact", "events", "event_resources")


def main() -> None:
    """Measure in a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reruns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runners", nargs="+", default=["threads", "processes"])
    parser.add_argument("--retention", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="where stores and database are; else a temporary one")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory(prefix="textmill-shards-", dir=arguments.folder) as folder:
        os.environ["TEXTMILL_HOME"] = folder
        from flows.servers import services
        from tasks.machine import home

        home.configure_environment()
        try:
            services.ensure("prefect")
            home.configure_environment()
            same = measure(Path(folder), arguments)
            if arguments.retention:
                retention(Path(folder))
        finally:
            services.down()
    sys.exit(0 if same else 1)


def measure(folder: Path, arguments: argparse.Namespace) -> bool:
    """Print the figures. Returns whether all digests are equal."""
    print(f"empty database: {megabytes(folder):.2f} MB")
    digests = set()
    for runner in arguments.runners:
        built = []
        for _ in range(arguments.rounds):
            shutil.rmtree(folder / runner, ignore_errors=True)
            built.append(run(arguments, runner))
            digests.add(built[-1]["digest"])
        each = [1000 * found["seconds"]["noop"] / arguments.shards for found in built]
        processor = statistics.median(1000 * found["processor_seconds"] / arguments.shards for found in built)
        shown = ", ".join(f"{ms:.2f}" for ms in sorted(each))
        print(
            f"{runner}: {statistics.median(each):.2f} ms a shard ({shown}); {processor:.2f} ms of this process's time"
        )
        again = [run(arguments, runner) for _ in range(arguments.rounds)]
        digests |= {found["digest"] for found in again}
        if {state for found in again for state in found["states"].values()} != {"cached"}:
            raise RuntimeError(f"a finished flow was built again: {again}")
        flow = statistics.median(found["flow_seconds"] for found in again)
        print(
            f"  finished, run again: {flow:.2f} s the flow, {statistics.median(f['wall'] for f in again):.2f} s in all"
        )
    before = megabytes(folder)
    runs = 2 * arguments.rounds * len(arguments.runners)
    print(f"database after {runs} flow runs of {arguments.shards} shards: {before:.2f} MB")
    for _ in range(arguments.reruns):
        run(arguments, "threads")
    print(f"  and after {arguments.reruns} more, all reused: {megabytes(folder):.2f} MB; rows: {rows(folder)}")
    return len(digests) == 1


def run(arguments: argparse.Namespace, runner: str) -> dict[str, Any]:
    """The flow as a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks._noop_shards", str(arguments.shards), runner, str(arguments.workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return {**json.loads(done.stdout), "wall": time.perf_counter() - started}


def retention(folder: Path) -> None:
    """Let all flow runs be too old, and wait until the server has removed them."""
    from flows.servers import services

    services.down()
    with database(folder) as cursor:
        cursor.execute("UPDATE flow_run SET end_time = '2020-01-01 00:00:00.000000'")
        cursor.execute("UPDATE events SET occurred = '2020-01-01 00:00:00.000000'")
    print(f"retention: {rows(folder)} before")
    os.environ["PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS"] = "5"
    os.environ["PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS"] = "5"
    services.ensure("prefect")
    started = time.monotonic()
    while rows(folder)["flow_run"] and time.monotonic() - started < RETENTION_PATIENCE:
        time.sleep(1.0)
    time.sleep(10.0)  # logs, artifacts and events go in batches of their own
    print(
        f"  {time.monotonic() - started:.0f} s later: {rows(folder)}, {megabytes(folder):.2f} MB, whose free pages are "
        "used again"
    )


def megabytes(folder: Path) -> float:
    """The server's database with what has not been merged into it yet."""
    if is_postgresql():
        return number(folder, "SELECT pg_database_size(current_database())") / 1e6
    return sum(path.stat().st_size for path in (folder / "prefect").glob("prefect.db*")) / 1e6


def rows(folder: Path) -> dict[str, int]:
    """How many rows the tables have that grow."""
    return {name: number(folder, f"SELECT count(*) FROM {name}") for name in TABLES}


def number(folder: Path, query: str) -> int:
    """The one number that a query has for an answer."""
    with database(folder) as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def is_postgresql() -> bool:
    """Whether the server's database is one that the environment names."""
    return os.environ.get(DATABASE, "").startswith("postgresql")


@contextmanager
def database(folder: Path) -> Iterator[Any]:
    """A cursor in the server's database, which commits at the end."""
    connection: Any
    if is_postgresql():
        import psycopg2

        connection = psycopg2.connect(os.environ[DATABASE].replace("+asyncpg", ""))
    else:
        connection = sqlite3.connect(folder / "prefect" / "prefect.db")
    with closing(connection), connection, closing(connection.cursor()) as cursor:
        yield cursor


if __name__ == "__main__":
    main()
