"""A clock that is set forth and back while runs, locks and leases go on."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tasks.machine.host import process_runs, running_process, started
from tasks.storage.lease import leased
from tasks.storage.objects import Objects
from tests.asked import Answer, Ask
from tests.chaos.checks import problems

DAY = 86_400.0


def test_a_run_under_a_jumping_clock_ends_in_the_same_digests(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    kill = {"signal": 9, "stage": "signals", "after": 0.2}
    jumps = {"clock_jumps": {"seed": 4}}
    assert mill(tmp_path, scope="corpus", faults=jumps, kill=kill)["landed"]
    found = mill(tmp_path, scope="corpus", faults=jumps, twins=1)
    assert found["exit"] == 0, found.get("failed")
    assert found["digests"] == found["twins"][0]["digests"] == undisturbed("corpus")["digests"]
    assert {found["states"][label] for label in found["states"]} <= {"built", "cached"}
    # each was built by one of the two, however far their clocks were apart
    built = [label for label in found["states"] if found["states"][label] == "built"]
    assert all(found["twins"][0]["states"][label] == "cached" for label in built)
    assert problems(tmp_path / "store") == []


def test_machines_whose_clocks_are_hours_apart_share_a_store(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    store = f"file://{tmp_path}/shared"
    for number in range(3):
        faults = {"clock_jumps": {"seed": number, "largest": 2 * DAY}}
        found = mill(tmp_path / f"machine-{number}", scope="chain", store=store, faults=faults)
        assert found["exit"] == 0, found.get("failed")
        assert found["digests"] == undisturbed("chain")["digests"]


@pytest.mark.parametrize("jump", [-DAY, 3600.0])
def test_a_process_stays_the_same_when_the_clock_is_set(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        start, seconds = started(child.pid), psutil.Process(child.pid).create_time()
        boot_time = psutil._psplatform.boot_time
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time() + jump)
        assert process_runs(child.pid, start)
        assert running_process(child.pid, f"{start}0") is None  # another process with that id
        assert not process_runs(child.pid, seconds)  # what the clock's own time of its start would say
    finally:
        child.communicate(b"\n")
    assert not process_runs(child.pid, start)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setattr("tasks.storage.lease.POLL_SECONDS", 0.01)
    return Objects(f"memory://{uuid.uuid4().hex}")


def test_a_dead_holder_whose_clock_was_days_ahead_keeps_nobody_waiting(objects: Objects) -> None:
    left = {"holder": "x", "host": "elsewhere", "pid": 1, "created": "boot/1", "expires": time.time() + 2 * DAY}
    objects.write("leases/k.json", json.dumps(left).encode())
    began = time.monotonic()
    with leased(objects, "k", "numbers", seconds=0.3):
        assert json.loads(objects.read("leases/k.json") or b"")["pid"] == os.getpid()
    assert time.monotonic() - began >= 0.3  # it was watched for as long as it could have lasted


def test_a_live_holder_is_waited_for_whatever_its_clock_says(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """It renews its lease before each look of the one that waits, for longer than one lease lasts."""
    order: list[str] = []
    read, began, looks = Objects.read_tagged, time.monotonic(), 0

    def hold() -> None:
        expires = time.time() + 2 * DAY + looks / 10
        renewed = {"holder": "x", "host": "elsewhere", "pid": 1, "created": "boot/1", "expires": expires}
        objects.write("leases/k.json", json.dumps(renewed).encode())

    def look(self: Objects, name: str) -> tuple[bytes, str] | None:
        nonlocal looks
        looks += 1
        if looks < 20 or time.monotonic() < began + 1.0:
            hold()
        elif not order:
            order.append("holder")
            objects.remove("leases/k.json")
        return read(self, name)

    hold()
    monkeypatch.setattr(Objects, "read_tagged", look)
    with leased(objects, "k", "numbers", seconds=0.4):
        order.append("waiter")
    assert order == ["holder", "waiter"]
