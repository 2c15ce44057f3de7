"""One builder per key on a shared store: an object that says who builds and until when.

A lease is created by a conditional put, renewed by a thread, and removed at the end. One that has run out is taken over
by a put that names the version it read. Of an artifact it saves work, no more: two builders of one key, after a network
that was away or a clock that is wrong, do the work twice, and the first manifest wins (tasks/storage/remote.py). Who
writes to names that others write to as well (tasks/storage/remote_folder.py) asks before each change whether the lease
is still its own: a machine that slept for longer than a lease lasts has lost it, and does not know.

A clock that is wrong must not make anybody wait for ever either: a lease that has not been renewed while somebody
watched it for as long as it lasts is over, whatever time is written on it.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tasks.machine.beside import beside
from tasks.machine.host import HOST, process_runs, started
from tasks.storage.objects import ObjectError, Objects

logger = logging.getLogger("textmill.lease")

LEASES = "leases"
LEASE_SECONDS = 60.0  # how long the others wait for a machine that is gone; clocks may differ by much less
POLL_SECONDS = 1.0
LEASE_FIELDS: dict[str, type | tuple[type, ...]] = {
    "holder": str,
    "host": str,
    "pid": int,
    "created": (str, int, float),
    "expires": (int, float),
}


@contextmanager
def leased(objects: Objects, key: str, what: str, seconds: float = LEASE_SECONDS) -> Iterator[Callable[[], bool]]:
    """Hold the lease of a key inside the block; waits while another process on any machine holds it.

    Args:
        what: what is built, for the message to those who wait.
        seconds: how long the lease lasts without being renewed.

    Yields:
        Whether it still is ours, by one read of the store (ObjectError as of any).
    """
    name = f"{LEASES}/{key}.json"
    me = {"holder": uuid.uuid4().hex, "host": HOST, "pid": os.getpid(), "created": started()}
    _take(objects, name, me, what, seconds)

    def still_held() -> bool:
        return _holder(objects.read(name)) == me["holder"]

    try:
        with beside(partial(_renew, objects, name, me, seconds), "lease"):
            yield still_held
    finally:
        try:
            if still_held():
                objects.remove(name)
        except ObjectError as error:  # it runs out by itself, and must not hide how the block ended
            logger.warning("the lease of %s stays until it runs out: %s", key[:12], error)


def expired(lease: dict[str, Any], now: float) -> bool:
    """Whether nobody holds a lease any more: its time is over, or its process on this machine is gone."""
    if lease["host"] == HOST and not process_runs(lease["pid"], lease["created"]):
        return True
    return bool(lease["expires"] <= now)


def parse_lease(content: bytes) -> dict[str, Any] | None:
    """A lease as it was written; None for what is none."""
    try:
        lease = json.loads(content)
        typed = {name: isinstance(lease[name], kind) for name, kind in LEASE_FIELDS.items()}
    except (ValueError, KeyError, TypeError):
        return None
    return dict(lease) if all(typed.values()) else None


def _take(objects: Objects, name: str, me: dict[str, Any], what: str, seconds: float) -> None:
    told = False
    watched, since = "", 0.0
    while not objects.create(name, _content(me, seconds)):
        found = objects.read_tagged(name)
        if found is None:
            continue  # given back since
        lease = parse_lease(found[0])
        if found[1] != watched:
            watched, since = found[1], time.monotonic()
        if lease is None or expired(lease, time.time()) or time.monotonic() - since > seconds:
            if objects.replace(name, _content(me, seconds), found[1]):
                return
            continue  # another one who waited was faster
        if not told:
            told = True
            logger.warning("waiting for process %s on %s, which is building %s", lease["pid"], lease["host"], what)
        time.sleep(POLL_SECONDS)


def _renew(objects: Objects, name: str, me: dict[str, Any], seconds: float, ended: threading.Event) -> None:
    while not ended.wait(seconds / 3):
        try:
            found = objects.read_tagged(name)
            if found is None or _holder(found[0]) != me["holder"]:
                logger.warning("lost the lease %s; another machine may build the same, and one result is kept", name)
                return
            objects.replace(name, _content(me, seconds), found[1])
        except ObjectError as error:
            logger.warning("the lease was not renewed: %s", error)


def _content(me: dict[str, Any], seconds: float) -> bytes:
    return json.dumps({**me, "expires": time.time() + seconds}).encode()


def _holder(content: bytes | None) -> str | None:
    lease = parse_lease(content) if content is not None else None
    return str(lease["holder"]) if lease else None
