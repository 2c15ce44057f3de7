"""Real processes, killed for real: shards, locks, and builds that go on."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.stage import Work
from tasks.store import Store
from tests.tasks.conftest import Drivers, is_gone, wait_until
from tests.tasks.driver import chain
from tests.tasks.stages import NumbersConfig, numbers, squares


def undisturbed(tmp_path: Path, count: int = 4) -> list[str]:
    """Digests of a run in this process with another store and one worker."""
    run = Run(Store(tmp_path / "undisturbed"), Resources(workers=1, threads=1), Display(quiet=True))
    with use_run(run):
        return [artifact.digest for artifact in chain(NumbersConfig(count=count))]


def finished_shards(store: Store) -> int:
    return len(list((store.artifacts / "squares.shard").glob("*/manifest.json")))


def test_after_sigkill_finished_shards_are_not_repeated(tmp_path: Path, store: Store, drivers: Drivers) -> None:
    process = drivers.start("chain", COUNT="12", HELD_FROM="6", HELD_UNTIL=str(tmp_path / "never"))

    def under_way() -> bool:
        return finished_shards(store) >= 3 and len(set(drivers.calls("square_shard"))) == 2

    wait_until(under_way, "three shards, and two workers")
    process.kill()
    process.wait()
    workers = set(drivers.calls("square_shard"))
    wait_until(lambda: all(map(is_gone, workers)), "the workers die with their parent")

    finished, called = finished_shards(store), len(drivers.calls("square_shard"))
    assert called - finished <= 2  # at most one shard per worker is repeated
    result = drivers.finish("chain", COUNT="12")
    assert len(drivers.calls("square_shard")) == called + 12 - finished
    assert result["states"] == {"numbers": "cached", "squares": "built", "total": "built"}
    assert result["digests"] == undisturbed(tmp_path, 12)


@pytest.mark.parametrize("moment", ["rename:squares", "manifest:squares", "rename:squares.shard", "manifest:numbers"])
def test_killed_at_the_worst_moment(tmp_path: Path, store: Store, drivers: Drivers, moment: str) -> None:
    # one worker: shards are published in this process
    process = drivers.start("chain", DIE_AT=moment, WORKERS="1")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stage = moment.partition(":")[2]
    assert not list((store.artifacts / stage).glob("*/manifest.json"))

    called = len(drivers.calls(stage))
    result = drivers.finish("chain", WORKERS="1")
    adopted = moment == "rename:squares"  # it was complete but for its name
    assert len(drivers.calls(stage)) == called + (not adopted) * (stage != "squares.shard")
    assert result["digests"] == undisturbed(tmp_path)
    assert drivers.finish("chain", WORKERS="1")["states"] == dict.fromkeys(("numbers", "squares", "total"), "cached")


def test_a_finished_build_with_a_damaged_file_is_not_adopted(store: Store, drivers: Drivers) -> None:
    drivers.start("chain", DIE_AT="rename:total", WORKERS="1").communicate()
    (partial,) = store.partial.glob("total-*")
    (partial / "total.json").write_text('{"total": 99}')
    drivers.finish("chain", WORKERS="1")
    (artifact,) = [a for a in store.list() if a.stage == "total"]
    assert json.loads(artifact.file("total.json").read_text()) == {"total": 14}


@pytest.mark.parametrize(
    ("number", "environment", "ending"),
    [
        (signal.SIGTERM, {}, -signal.SIGTERM),
        (signal.SIGTERM, {"RAISE_ON_TERM": "1"}, 1),
        (signal.SIGINT, {}, -signal.SIGINT),
    ],
    ids=["SIGTERM", "SIGTERM-that-raises", "SIGINT"],
)
def test_a_signal_in_a_pool_stage_ends_all_children(
    tmp_path: Path, store: Store, drivers: Drivers, number: int, environment: dict[str, str], ending: int
) -> None:
    process = drivers.start("chain", COUNT="6", HELD_UNTIL=str(tmp_path / "never"), **environment)
    wait_until(lambda: len(drivers.calls("square_shard")) == 2, "both workers at work")
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(number)
    process.communicate()
    assert process.returncode == ending
    wait_until(lambda: all(map(is_gone, children)), "no child is left")
    assert len(drivers.calls("square_shard")) == 2  # no other shard was begun
    assert drivers.finish("chain", COUNT="6")["digests"] == undisturbed(tmp_path, 6)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_the_digest_does_not_depend_on_the_number_of_workers(tmp_path: Path, drivers: Drivers, workers: str) -> None:
    assert drivers.finish("chain", COUNT="7", WORKERS=workers)["digests"] == undisturbed(tmp_path, 7)


# --- one builder -----------------------------------------------------------------------------------------------------


def test_four_processes_one_build(drivers: Drivers) -> None:
    processes = [drivers.start("slow", SLOW_SECONDS="0.5") for _ in range(4)]
    results = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(result["states"]["slow"] for result in results) == ["built", "cached", "cached", "cached"]
    assert len({result["digests"][0] for result in results}) == 1
    assert len(drivers.calls("slow")) == 1


def test_a_waiter_says_whom_it_waits_for_and_takes_over(tmp_path: Path, drivers: Drivers) -> None:
    holder = drivers.start("slow", HELD_UNTIL=str(tmp_path / "never"))
    wait_until(lambda: drivers.calls("slow") == [holder.pid], "the first builds")
    waiter = drivers.start("slow", SLOW_SECONDS="0")
    assert waiter.stderr is not None
    said = waiter.stderr.readline()
    holder.kill()
    output, _ = waiter.communicate()
    assert said == f"waiting for process {holder.pid}, which is building slow\n"
    assert json.loads(output)["states"] == {"slow": "built"}
    assert drivers.calls("slow") == [holder.pid, waiter.pid]


def test_a_part_that_another_run_built_meanwhile_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = numbers(NumbersConfig(count=2))
    squares(NumbersConfig(count=2), source=source)
    monkeypatch.setattr(Store, "find_all", lambda self, stage, keys: {})  # as if looked up before they were there
    again = squares(NumbersConfig(count=2, factor=2), source=source)
    monkeypatch.undo()
    assert again.counts() == {"squares": 2}
    assert run.store.verify(again)
    assert not list(run.store.partial.glob("squares.shard-*"))


# --- stopping with a checkpoint --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_graceful_stop_leaves_a_checkpoint_then_delivers_the_signal(
    store: Store, drivers: Drivers, number: signal.Signals
) -> None:
    process = drivers.start("patient")
    wait_until(lambda: drivers.calls("patient") == [process.pid], "it runs")
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == -number
    assert f"{number.name}: stopping after a checkpoint" in errors
    (checkpoint,) = store.partial.glob("patient-*/_scratch/checkpoint")
    assert checkpoint.read_text() == "step 3"

    drivers.finish("patient")
    (artifact,) = store.list()
    assert json.loads(artifact.file("result.json").read_text()) == {"resumed": True}
    assert not (artifact.path / "_scratch").exists()


def test_a_handler_that_raises_gets_the_signal_after_the_checkpoint(store: Store, drivers: Drivers) -> None:
    process = drivers.start("patient", RAISE_ON_TERM="1")
    wait_until(lambda: drivers.calls("patient") == [process.pid], "it runs")
    process.terminate()
    _, errors = process.communicate()
    assert errors.rstrip().endswith("Terminated")
    (partial,) = store.partial.glob("patient-*")
    assert (partial / "_scratch" / "checkpoint").exists()
    last = (partial / "_run" / "journal.jsonl").read_text().splitlines()[-1]
    assert json.loads(last) == {"event": "end", "status": "KILLED"}


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_immediate(store: Store, drivers: Drivers, second: signal.Signals) -> None:
    process = drivers.start("patient", STUBBORN="1")
    wait_until(lambda: drivers.calls("patient") == [process.pid], "it runs")
    process.terminate()
    assert process.stderr is not None
    while "stopping after a checkpoint" not in process.stderr.readline():
        pass
    process.send_signal(second)
    process.communicate()
    # Ctrl-C raises inside the block, at whose end the first signal is delivered
    assert process.returncode == -signal.SIGTERM
    assert not list(store.partial.glob("patient-*/_scratch/checkpoint"))


def test_graceful_stop_restores_the_handlers(run: Run) -> None:
    former = signal.getsignal(signal.SIGTERM)
    work = Work(Path(), Path(), run.store, run.resources, None, None)  # type: ignore[arg-type]
    with work.graceful_stop() as should_stop:
        assert signal.getsignal(signal.SIGTERM) is not former
        assert not should_stop()
    assert signal.getsignal(signal.SIGTERM) is former
