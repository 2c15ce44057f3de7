"""Arrow's threads are there before memory is short: it would wait for ever for one that the system refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.running import pool
from tasks.running.memory import OutOfMemory, enough_memory
from tests.tasks.pool_work import read_without_threads

ALONE = """
import sys
from tasks.machine.arrow import start_arrow_threads
from tests.tasks.pool_work import read_without_threads
start_arrow_threads()
try:
    read_without_threads(*sys.argv[1:])
except MemoryError as error:
    print(error)
"""


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    """One of 100 rows and eight columns, and one that takes 80 MB."""
    small, large = str(tmp_path / "small.parquet"), str(tmp_path / "large.parquet")
    pq.write_table(pa.table({name: list(range(100)) for name in "abcdefgh"}), small)
    pq.write_table(pa.table({"a": ["x" * 100_000] * 800}), large)
    return [small, large]


def test_a_worker_that_gets_no_thread_ends_with_an_error(tables: list[str]) -> None:
    items = [tuple(tables)] * 2
    said = r"the stage read has too little memory \(.*alloc of size \d+ failed"
    try:
        with pytest.raises(OutOfMemory, match=said), enough_memory("read"):
            pool.map_in_processes(read_without_threads, items, 2, lambda index, rows: None)
    finally:
        pool.shut_down()


def test_so_does_a_process_of_stages(tables: list[str]) -> None:
    command = [sys.executable, "-c", ALONE, *tables]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "alloc of size" in done.stdout
