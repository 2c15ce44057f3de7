"""The pool of worker processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tasks.running import pool
from tests.tasks.conftest import is_gone, wait_until
from tests.tasks.pool_work import die, fail_at, square_in_turn, square_slowly, unpicklable


@pytest.fixture(autouse=True)
def no_workers_left() -> Iterator[None]:
    yield
    pool.shut_down()


def ignore(index: int, result: object) -> None:
    """No interest in results."""


def test_results_come_with_their_index_in_any_order(tmp_path: Path) -> None:
    results: dict[int, int] = {}
    processes = set()
    collected = tmp_path / "collected"

    def collect(index: int, result: tuple[int, int]) -> None:
        results[index] = result[0]
        processes.add(result[1])
        collected.touch()

    items = [(n, str(collected)) for n in range(10)]
    pool.map_in_processes(square_in_turn, items, 2, collect)
    assert results == {n: n * n for n in range(10)}
    assert next(iter(results)) != 0  # the slow one did not hold up the others
    assert os.getpid() not in processes

    before = set(processes)
    pool.map_in_processes(square_in_turn, items[1:], 2, collect)
    assert processes == before  # the pool is kept


def test_one_worker_or_one_item_is_done_in_this_process() -> None:
    processes = []
    pool.map_in_processes(square_slowly, [(1, 0.0), (2, 0.0)], 1, lambda i, result: processes.append(result[1]))
    pool.map_in_processes(square_slowly, [(1, 0.0)], 4, lambda i, result: processes.append(result[1]))
    pool.map_in_processes(square_slowly, [], 4, ignore)
    assert set(processes) == {os.getpid()}


def test_a_few_light_items_start_no_pool() -> None:
    processes: set[int] = set()

    def run(count: int, light: bool = True) -> None:
        processes.clear()
        items = [(n, 0.0) for n in range(count)]
        pool.map_in_processes(square_slowly, items, 2, lambda i, result: processes.add(result[1]), light)

    run(pool.FEW)
    assert processes == {os.getpid()}
    assert pool._pool is None
    run(2, light=False)
    assert os.getpid() not in processes
    run(2)  # the pool is there
    assert os.getpid() not in processes
    pool.shut_down()
    run(pool.FEW + 1)
    assert os.getpid() not in processes


def test_an_exception_comes_with_the_workers_traceback_and_ends_the_others(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with pytest.raises(ValueError, match="line 3 is broken") as caught:
        pool.map_in_processes(fail_at, [(n, 3, str(log)) for n in (0, 3, 5)], 2, ignore)
    assert "raise ValueError" in str(caught.value.__cause__)  # the worker's traceback
    assert caught.value.__notes__ == [f"in fail_at(3, 3, {log})"]
    others = [int(line) for line in log.read_text().split()]
    wait_until(lambda: all(map(is_gone, others)), "the sleeping worker is ended")


def test_an_exception_without_workers_also_names_its_item(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x")
    with pytest.raises(ValueError, match="line 3 is broken") as caught:
        pool.map_in_processes(fail_at, [(3, 3, str(log))], 2, ignore)
    assert caught.value.__notes__ == [f"in fail_at(3, 3, {log})"]


def test_an_unpicklable_result_says_so() -> None:
    with pytest.raises(Exception, match=r"(?i)pickle.*lambda") as caught:
        pool.map_in_processes(unpicklable, [(1,), (2,)], 2, ignore)
    assert caught.value.__notes__[0] in ("in unpicklable(1)", "in unpicklable(2)")


def test_a_killed_worker_is_explained_and_the_next_stage_has_a_new_pool() -> None:
    with pytest.raises(pool.WorkerDied, match=r"a worker process of die was killed.*use fewer workers than 2"):
        pool.map_in_processes(die, [(1,), (2,)], 2, ignore)
    results = []
    pool.map_in_processes(square_slowly, [(3, 0.0), (4, 0.0)], 2, lambda i, result: results.append(result[0]))
    assert sorted(results) == [9, 16]


def test_an_idle_worker_that_was_killed_costs_nothing() -> None:
    processes: set[int] = set()
    items = [(n, 0.05) for n in range(4)]
    pool.map_in_processes(square_slowly, items, 2, lambda i, result: processes.add(result[1]))
    for pid in processes:
        psutil.Process(pid).kill()
    wait_until(lambda: bool(pool._pool and pool._pool._broken), "the pool notices")
    again: set[int] = set()
    pool.map_in_processes(square_slowly, items, 2, lambda i, result: again.add(result[1]))
    assert again
    assert not again & processes


def test_an_exception_while_collecting_ends_the_workers() -> None:
    processes: list[int] = []

    def collect(index: int, result: tuple[int, int]) -> None:
        processes.append(result[1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.map_in_processes(square_slowly, [(n, 0.0) for n in range(4)], 2, collect)
    wait_until(lambda: all(map(is_gone, processes)), "the workers are ended")


def test_threads_do_the_same_in_this_process(tmp_path: Path) -> None:
    results: dict[int, tuple[int, int]] = {}
    collected = tmp_path / "collected"

    def collect(index: int, result: tuple[int, int]) -> None:
        results[index] = result
        collected.touch()

    pool.map_locally("threads")(square_in_turn, [(n, str(collected)) for n in range(6)], 3, collect)
    assert results == {n: (n * n, os.getpid()) for n in range(6)}
    assert next(iter(results)) != 0  # the slow one did not hold up the others
    log = tmp_path / "log"
    log.write_text("another is at work\n")
    with pytest.raises(ValueError, match="line 3 is broken") as caught:
        pool.map_in_threads(fail_at, [(3, 3, str(log)), (3, 3, str(log))], 2, ignore)
    assert caught.value.__notes__ == [f"in fail_at(3, 3, {log})"]
