"""What a thread makes for itself no other thread sees; signals are the same however many threads measure."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import SignalsConfig
from data_quality.per_thread import per_thread
from data_quality.signals import compute_signals

THREADS = 4


def test_each_thread_keeps_its_own() -> None:
    @per_thread
    def make(name: str) -> list[str]:
        return [name]

    meet = Barrier(THREADS)

    def in_a_thread(_: int) -> tuple[list[str], list[str], list[str]]:
        first, other, again = make("a"), make("b"), make("a")
        meet.wait()
        return first, other, again

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(in_a_thread, range(THREADS)))
    assert all(first is again and first is not other for first, other, again in found)
    assert len({id(first) for first, _, _ in found}) == THREADS


def test_threads_measure_what_one_measures(tmp_path: Path) -> None:
    def shard(number: int) -> Path:
        texts = [" ".join(f"w{number}-{row * 300 + at:x}é don't" for at in range(300)) for row in range(60)]
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"id": [str(row) for row in range(60)], "text": texts}), path)
        return path

    def measured(path: Path, out: str) -> bytes:
        result = path.with_suffix(out)
        compute_signals(path, result, SignalsConfig())
        return result.read_bytes()

    shards = [shard(number) for number in range(THREADS)]
    measured(shard(THREADS), ".before")  # what is made once for all is there
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads meet inside of every call
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            together = list(pool.map(measured, shards, [".threads"] * THREADS))
    finally:
        sys.setswitchinterval(interval)
    assert [measured(path, ".alone") for path in shards] == together
