"""Leases: who builds a key when several machines share a store."""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tasks.machine.host import HOST
from tasks.storage.lease import leased
from tasks.storage.objects import Objects
from tests.tasks.conftest import wait_until

NAME = "leases/k.json"


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setattr("tasks.storage.lease.POLL_SECONDS", 0.01)
    return Objects(f"memory://{uuid.uuid4().hex}")


def lease(**changes: Any) -> bytes:
    """A lease that another machine holds."""
    me = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    return json.dumps({"holder": "x", "host": "elsewhere", **me, "expires": time.time() + 60, **changes}).encode()


def test_a_lease_names_its_holder_and_is_given_back(objects: Objects) -> None:
    with leased(objects, "k", "numbers"):
        held = json.loads(objects.read(NAME) or b"")
        assert (held["host"], held["pid"]) == (HOST, os.getpid())
        assert held["expires"] > time.time()
    assert objects.read(NAME) is None


def test_the_second_waits_for_the_first_and_says_so(objects: Objects, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    def second() -> None:
        with leased(objects, "k", "numbers"):
            order.append("second")

    with leased(objects, "k", "numbers"):
        thread = threading.Thread(target=second)
        thread.start()
        wait_until(lambda: "which is building numbers" in caplog.text, "it says what it waits for")
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    "left",
    [
        lambda: lease(expires=time.time() - 1),
        lambda: lease(host=HOST, pid=2**22 + 1, expires=time.time() + 3600),
        lambda: lease(host=HOST, created=1.0, expires=time.time() + 3600),
        lambda: b"not a lease",
    ],
    ids=["its time is over", "its process is gone", "its process id was reused", "damaged"],
)
def test_a_lease_that_nobody_holds_is_taken_over(
    objects: Objects, caplog: pytest.LogCaptureFixture, left: Callable[[], bytes]
) -> None:
    objects.write(NAME, left())
    with leased(objects, "k", "numbers"):
        assert json.loads(objects.read(NAME) or b"")["pid"] == os.getpid()
    assert "waiting for process" not in caplog.text


def test_a_lease_lasts_as_long_as_its_block(objects: Objects) -> None:
    with leased(objects, "k", "numbers", seconds=0.3):
        first = json.loads(objects.read(NAME) or b"")["expires"]
        wait_until(lambda: json.loads(objects.read(NAME) or b"")["expires"] > first + 0.3, "it is renewed")


def test_one_that_lost_its_lease_leaves_that_of_the_other(objects: Objects, caplog: pytest.LogCaptureFixture) -> None:
    with leased(objects, "k", "numbers", seconds=0.15):
        objects.write(NAME, lease())
        wait_until(lambda: "lost the lease" in caplog.text, "it is noticed")
    assert json.loads(objects.read(NAME) or b"")["holder"] == "x"
