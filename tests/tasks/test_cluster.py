"""Shards on a Dask cluster: equal digests, batches, workers that are killed, parents that are killed."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.errors import UsageError
from tasks.running.cluster import BATCH_SECONDS, LAST_SECONDS, Batch, batch_end, map_in_batches, run_batch
from tasks.running.run import Resources, Run
from tasks.store import Store
from tests.tasks.conftest import ROOT, is_gone, wait_until
from tests.tasks.pool_work import fail_at, square_slowly
from tests.tasks.stages import NumbersConfig, numbers, squares
from tests.tasks.tiny_corpus import write_documents

DRIVER = [sys.executable, "-m", "tests.tasks.cluster_driver"]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=200),
    st.floats(1e-3, 10),
    st.integers(1, 64),
)
def test_batches_cover_everything_and_are_neither_tiny_nor_huge(
    weights: list[int], seconds_per_weight: float, slots: int
) -> None:
    start = 0
    while start < len(weights):
        end = batch_end(weights, start, seconds_per_weight, slots)
        seconds = seconds_per_weight * sum(weights[start:end])
        largest = seconds_per_weight * max(weights[start:end])
        assert start < end <= len(weights)
        assert end == start + 1 or seconds <= BATCH_SECONDS + largest / 2
        left = seconds_per_weight * weights[end] if end < len(weights) else 0
        assert end == len(weights) or seconds + left / 2 >= LAST_SECONDS
        start = end


def test_until_the_speed_is_known_a_batch_is_one_item() -> None:
    assert batch_end([5, 5, 5], 1, None, 2) == 2


def test_batches_shrink_towards_the_end_so_that_workers_end_together() -> None:
    ends = [0]
    while ends[-1] < 60:
        ends.append(batch_end([1] * 60, ends[-1], 1.0, 4))
    sizes = [end - start for start, end in itertools.pairwise(ends)]
    assert sizes[0] == BATCH_SECONDS
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2] == LAST_SECONDS


def test_a_batch_answers_with_what_it_cost() -> None:
    answer = run_batch("a name", Batch(square_slowly, [(2, 0.0), (3, 0.0)]))
    assert [square for square, _ in answer["results"]] == [4, 9]
    assert answer["worker"].endswith(f".{os.getpid()}")
    assert answer["peak_bytes"] > 2**20


def test_an_error_names_the_item_of_the_batch(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("another is at work\n")
    with pytest.raises(ValueError, match="line 7 is broken") as raised:
        run_batch("a name", Batch(fail_at, [(7, 7, str(tmp_path / "log"))]))
    assert raised.value.__notes__[0].startswith("in fail_at(7, 7, ")


def test_outside_of_a_flow_the_error_says_what_to_use() -> None:
    with pytest.raises(UsageError, match="inside a Prefect flow run only; use processes or threads"):
        map_in_batches(square_slowly, [(1, 0.0)], [1], Resources(runner="dask"), "squares", print, None)


def test_threads_give_the_digests_of_one_process(tmp_path: Path, run: Run) -> None:
    config = NumbersConfig(count=6)
    alone = squares(config, source=numbers(config))
    run.store = Store(tmp_path / "other")
    run.resources = Resources(workers=3, threads=1, runner="threads")
    assert squares(config, source=numbers(config)).digest == alone.digest


@pytest.fixture
def drive(tmp_path: Path, prefect_environment: dict[str, str]) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the driver; calls of stage functions are logged in tmp_path/calls."""

    def start(*runners: str, **environment: str) -> "subprocess.Popen[str]":
        ours = {"HOME_OF_STORES": str(tmp_path), "STAGE_CALLS": str(tmp_path / "calls")}
        return subprocess.Popen(
            [*DRIVER, *runners],
            cwd=ROOT,
            env=prefect_environment | ours | environment,
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "driver.log").open("a"),
            text=True,
        )

    return start


def finish(process: "subprocess.Popen[str]", log: Path) -> dict[str, Any]:
    output, _ = process.communicate()
    assert process.returncode == 0, log.read_text()[-6000:]
    return dict(json.loads(output.splitlines()[-1]))


def shard_calls(tmp_path: Path) -> list[int]:
    """The processes of the calls of the shard function."""
    log = tmp_path / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(pid) for name, pid in map(str.split, lines) if name == "square_shard"]


@pytest.mark.server
def test_threads_processes_and_a_dask_cluster_that_loses_a_worker_give_equal_digests(
    tmp_path: Path, drive: Callable[..., "subprocess.Popen[str]"]
) -> None:
    held = {"HELD_IN": "distributed", "HELD_UNTIL": str(tmp_path / "released")}
    process = drive("threads", "processes", "dask", COUNT="8", DIE_ONCE=str(tmp_path / "died"), **held)
    both = "two workers of the cluster are at work"
    wait_until(lambda: len(set(shard_calls(tmp_path)[2 * 8 :])) == 2 or process.poll() is not None, both)
    (tmp_path / "released").touch()
    done = finish(process, tmp_path / "driver.log")
    runners = done["runners"]
    assert runners["threads"]["digests"] == runners["processes"]["digests"] == runners["dask"]["digests"]
    assert (tmp_path / "died").exists()
    assert len(shard_calls(tmp_path)) == 3 * 8 + 1  # the one that was killed; what its batch had done was found
    workers = runners["dask"]["workers"]
    assert len(workers) in (2, 3)  # the one that died may have ended a batch before
    assert all(worker["peak_bytes"] > 2**24 for worker in workers.values())
    assert runners["dask"]["told"] == [["1"], ["1"]]  # ours and Dask's own, before a worker starts
    batches = {name: state for name, state in done["task_runs"].items() if name.startswith("squares shard")}
    assert batches.keys() >= {"squares shard 1 of 8", "squares shard 2 of 8"}
    assert set(batches.values()) == {"Completed"}


@pytest.mark.server
def test_a_corpus_of_all_kinds_of_stages_is_the_same_on_a_cluster(
    tmp_path: Path, drive: Callable[..., "subprocess.Popen[str]"]
) -> None:
    write_documents(tmp_path / "documents")
    process = drive("threads", "dask", DOCUMENTS=str(tmp_path / "documents"))
    runners = finish(process, tmp_path / "driver.log")["runners"]
    assert {"bands", "filter_corpus", "split"} <= runners["dask"].keys()
    assert runners["dask"] == runners["threads"]


@pytest.mark.server
def test_the_workers_die_with_their_parent_and_finished_shards_stay(
    tmp_path: Path, drive: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = drive("dask", COUNT="8", HELD_FROM="4", HELD_UNTIL=str(tmp_path / "never"))
    shards = tmp_path / "dask" / "artifacts" / "squares.shard"
    wait_until(lambda: len(list(shards.glob("*/manifest.json"))) >= 2 or process.poll() is not None, "2 shards")
    assert process.poll() is None, (tmp_path / "driver.log").read_text()[-6000:]
    process.kill()
    process.communicate()
    workers = set(shard_calls(tmp_path))
    wait_until(lambda: all(map(is_gone, workers)), "the workers die with their parent")
    finished, called = len(list(shards.glob("*/manifest.json"))), len(shard_calls(tmp_path))
    finish(drive("dask", COUNT="8"), tmp_path / "driver.log")
    assert len(shard_calls(tmp_path)) - called == 8 - finished
