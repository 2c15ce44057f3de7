"""The record of a pipeline run, and who takes over from whom."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.machine.host import HOST
from tasks.running.heartbeat import DEAD_SECONDS, HEARTBEAT, beat, is_alive, read_run, worked_seconds
from tasks.running.journal import read_events
from tasks.running.progress import Display
from tasks.running.run import Resources, flat, pipeline_run
from tasks.running.run_records import dead_runs, mark_dead, run_records
from tasks.storage.files import read_json, write_json
from tasks.store import Store
from tests.tasks.conftest import wait_until

CONFIG = {"corpus": {"files": ["a.txt"], "seed": 1}}


def open_run(store: Store, config: dict[str, Any] = CONFIG, flow: str = "pipeline") -> Any:
    return pipeline_run(flow, config, Resources(workers=1), store=store, display=Display(quiet=True))


def token_of(store: Store, config: dict[str, Any] = CONFIG, flow: str = "pipeline") -> str:
    with open_run(store, config, flow) as run:
        assert run.token is not None
        return str(run.token)


def pretend(store: Store, token: str, **changes: object) -> None:
    path = store.runs / token / "run.json"
    write_json(path, {**read_json(path), **changes})


def dead_process() -> dict[str, Any]:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return {"state": "running", "pid": process.pid, "process_created": 0.0}


def test_a_finished_run_is_not_taken_over(store: Store) -> None:
    assert token_of(store) != token_of(store)


def test_a_dead_run_is_taken_over(store: Store) -> None:
    token = token_of(store)
    pretend(store, token, **dead_process())
    assert [record["token"] for record in dead_runs(run_records(store))] == [token]
    assert token_of(store) == token
    starts = [e for _, e in read_events(store.runs / token / "journal.jsonl") if e["event"] == "start"]
    assert len(starts) == 2
    assert starts[0]["journal"] == starts[1]["journal"]
    assert dead_runs(run_records(store)) == []


def test_pauses_between_the_processes_of_a_run_are_no_time_of_it(store: Store) -> None:
    """Ten minutes of work, a day's pause, five minutes, another day, and then the process that ends it."""
    token, now, day = token_of(store), time.time(), 86_400.0
    directory = store.runs / token
    times = {"started": now - 2 * day - 900, "attempt_started": now - day - 300, "earlier_seconds": 600.0}
    pretend(store, token, **dead_process(), **times, ended=None)
    os.utime(directory / "heartbeat", (now - day, now - day))
    assert worked_seconds(read_run(directory)) == pytest.approx(900)
    assert token_of(store) == token
    record = read_run(directory)
    assert record["earlier_seconds"] == pytest.approx(900)
    assert record["started"] == times["started"]
    assert 900 <= worked_seconds(record) < 900 + day / 2
    assert worked_seconds({"started": 5.0, "heartbeat": 12.5}) == 7.5  # of a version that wrote neither


def test_a_failed_run_is_taken_over(store: Store) -> None:
    def fail() -> None:
        with open_run(store):
            raise ValueError("no such column")

    with pytest.raises(ValueError, match="no such column"):
        fail()
    (directory,) = store.runs.iterdir()
    assert read_json(directory / "run.json")["state"] == "failed"
    assert token_of(store) == directory.name
    assert read_json(directory / "run.json")["state"] == "finished"


def test_an_interrupted_run_says_killed(store: Store) -> None:
    def interrupt() -> None:
        with open_run(store):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    (directory,) = store.runs.iterdir()
    assert read_json(directory / "run.json")["state"] == "killed"
    last = [event for _, event in read_events(directory / "journal.jsonl")][-1]
    assert last == {"event": "end", "status": "KILLED"}


def test_a_live_run_is_left_alone(store: Store) -> None:
    with open_run(store) as first:
        assert dead_runs(run_records(store)) == []
        with open_run(store) as second:
            assert second.token != first.token


@pytest.mark.parametrize("other", [{"config": {"corpus": {"seed": 2}}}, {"flow": "corpus"}])
def test_another_config_or_flow_takes_nothing_over(store: Store, other: dict[str, Any]) -> None:
    token = token_of(store)
    pretend(store, token, **dead_process())
    assert token_of(store, **other) != token


def test_a_reused_process_id_is_not_mistaken(store: Store) -> None:
    with open_run(store) as run:
        record = read_json(store.runs / run.token / "run.json")
        assert is_alive(record)
        assert not is_alive({**record, "process_created": record["process_created"] + "0"})


def test_a_zombie_is_dead(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    child = psutil.Process(process.pid)
    record = {"state": "running", "pid": process.pid, "process_created": child.create_time()}
    assert is_alive(record)
    process.kill()
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE, "it has ended and is not reaped")
    assert not is_alive(record)
    process.communicate()


def test_a_run_taken_over_meanwhile_is_not_marked_dead(store: Store) -> None:
    with open_run(store) as run:
        mark_dead(store, run.token)
        assert read_json(store.runs / run.token / "run.json")["state"] == "running"
    pretend(store, run.token, **{**dead_process(), "state": "finished"})  # taken over, and ended well
    mark_dead(store, run.token)
    assert read_json(store.runs / run.token / "run.json")["state"] == "finished"
    pretend(store, run.token, **dead_process())
    mark_dead(store, run.token)
    assert read_json(store.runs / run.token / "run.json")["state"] == "killed"


def test_a_run_killed_before_its_record_was_written_is_no_obstacle(store: Store) -> None:
    (store.runs / "20200101-000000-000000-0123456789abcdef").mkdir()
    assert dead_runs(run_records(store)) == []
    token_of(store)


def test_params_are_dotted_and_printable() -> None:
    config = {"a": {"b": {"c": 1}, "empty": {}}, "list": [1, 2], "none": None, "flag": True}
    assert flat(config) == {"a.b.c": 1, "a.empty": "{}", "list": "[1, 2]", "none": "null", "flag": True}


def test_resources_are_resolved_to_the_machine(tmp_path: Path) -> None:
    assert Resources().resolved().workers >= 1
    assert Resources(workers=3).resolved().workers == 3


def test_a_run_of_another_machine_lives_by_its_heartbeat(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.running.heartbeat.BEAT_SECONDS", 3600.0)  # else its own may come in between
    with open_run(store) as run:
        pretend(store, run.token, host="elsewhere", pid=1)
        directory = store.runs / run.token
        assert is_alive(read_run(directory))
        assert dead_runs(run_records(store)) == []
        then = time.time() - DEAD_SECONDS - 1
        os.utime(directory / HEARTBEAT, (then, then))
        assert not is_alive(read_run(directory))
        assert [record["token"] for record in dead_runs(run_records(store))] == [run.token]
        beat(store, directory)
        assert is_alive(read_run(directory))


def test_the_heartbeat_goes_on_while_the_run_works(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.running.heartbeat.BEAT_SECONDS", 0.01)
    with open_run(store) as run:
        file = store.runs / run.token / HEARTBEAT
        first = file.stat().st_mtime_ns
        wait_until(lambda: file.stat().st_mtime_ns > first, "it is renewed")
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_a_record_of_an_older_version_speaks_of_this_machine(store: Store) -> None:
    with open_run(store) as run:
        path = store.runs / run.token / "run.json"
        record = read_json(path)
        assert record.pop("host") == HOST
        (store.runs / run.token / HEARTBEAT).unlink()
        write_json(path, record)
        assert is_alive(read_run(store.runs / run.token))
