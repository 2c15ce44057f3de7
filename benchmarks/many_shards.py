"""What 1,000 shards cost beside the work on them: `python -m benchmarks.many_shards [--shards 1000] [--rounds 3]`.

A Prefect flow whose stage has a part for each shard and nothing to do on it (`benchmarks._noop_shards`), with threads
and with processes, each round on an empty store; then the finished flow again, as a process of its own. A server of its
own, whose database is measured: after the builds, and after as many flow runs as --reruns. It is a SQLite file, or what
PREFECT_API_DATABASE_CONNECTION_URL names (`postgresql+asyncpg://...`), empty at first. Last, with --retention, the
server is started anew so that it looks for what is too old every few seconds, all flow runs and events are made older
than the retention, and it is waited for until they are gone. Exits with 1 if the digests differ.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._prefect_database import QUICK, make_older, megabytes, rows

RETENTION_PATIENCE = 120.0


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
    make_older(folder, days=2000)
    print(f"retention: {rows(folder)} before")
    os.environ |= QUICK
    services.ensure("prefect")
    started = time.monotonic()
    while rows(folder)["flow_run"] and time.monotonic() - started < RETENTION_PATIENCE:
        time.sleep(1.0)
    time.sleep(10.0)  # logs, artifacts and events go in batches of their own
    print(
        f"  {time.monotonic() - started:.0f} s later: {rows(folder)}, {megabytes(folder):.2f} MB, whose free pages are "
        "used again"
    )


if __name__ == "__main__":
    main()
