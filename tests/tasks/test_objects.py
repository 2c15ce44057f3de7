"""Conditional puts, listings and retries on three kinds of file system."""

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.storage.objects import ATTEMPTS, ObjectError, Objects


@pytest.fixture(params=["memory", "file", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """An empty prefix of each kind of store."""
    if request.param == "memory":
        return Objects(f"memory://{uuid.uuid4().hex}")
    if request.param == "file":
        return Objects(f"file://{tmp_path}/objects")
    return Objects(f"{request.getfixturevalue('bucket')}/a prefix")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.storage.objects.PAUSE_SECONDS", 0.0)


def test_an_object_is_created_once(objects: Objects) -> None:
    assert objects.read("a/b.json") is None
    assert objects.create("a/b.json", b"first")
    assert not objects.create("a/b.json", b"second")
    assert objects.create("a/b.json", b"first")  # as after an answer that was lost
    assert objects.read("a/b.json") == b"first"
    objects.write("a/b.json", b"third")
    assert objects.read("a/b.json") == b"third"


def test_an_object_is_replaced_only_as_it_was_read(objects: Objects) -> None:
    objects.write("lease", b"one")
    found = objects.read_tagged("lease")
    assert found is not None
    content, tag = found
    assert content == b"one"
    assert objects.replace("lease", b"two", tag)
    assert not objects.replace("lease", b"three", tag)
    assert objects.read("lease") == b"two"
    objects.remove("lease")
    objects.remove("lease")
    assert not objects.replace("lease", b"four", tag)
    assert objects.read_tagged("lease") is None


def test_a_listing_tells_sizes_and_times(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    before = time.time() - 2  # of a machine with another clock, of whole seconds
    objects.write("x/one", b"1")
    objects.upload(tmp_path / "file", "x/deep/er/two")
    objects.write("y/three", b"333")
    listed = objects.listing("x")
    assert {name: size for name, (size, _) in listed.items()} == {"x/one": 1, "x/deep/er/two": 5}
    assert all(before <= written <= time.time() + 2 for _, written in listed.values())
    assert objects.listing("").keys() == {"x/one", "x/deep/er/two", "y/three"}
    assert objects.listing("nothing") == {}
    objects.download("x/deep/er/two", tmp_path / "new folder" / "copy")
    assert (tmp_path / "new folder" / "copy").read_bytes() == b"12345"
    with pytest.raises(FileNotFoundError):
        objects.download("x/none", tmp_path / "none")


def test_of_many_at_once_on_local_files_one_is_first(tmp_path: Path) -> None:
    objects = Objects(f"file://{tmp_path}")
    won: list[bytes] = []

    def attempt(content: bytes) -> None:
        if objects.create("manifest", content):
            won.append(content)

    threads = [threading.Thread(target=attempt, args=(str(n).encode(),)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [objects.read("manifest")] == won
    assert objects.listing("").keys() == {"manifest"}  # no drafts


def failing(times: int, error: Exception, call: Callable[..., Any]) -> Callable[..., Any]:
    left = [times]

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return call(*args, **kwargs)

    return sometimes


def test_a_failure_that_passes_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(f"memory://{uuid.uuid4().hex}")
    flaky = failing(ATTEMPTS - 1, TimeoutError("too slow"), objects._fs.pipe_file)
    monkeypatch.setattr(objects._fs, "pipe_file", flaky)
    assert objects.create("a", b"1")
    assert objects.read("a") == b"1"


def test_a_failure_that_stays_names_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects("memory://somewhere")
    monkeypatch.setattr(objects._fs, "cat_file", failing(ATTEMPTS, ConnectionError("reset by peer"), lambda: None))
    with pytest.raises(
        ObjectError, match=r"cannot read memory://somewhere/a/b after 4 attempts \(ConnectionError: rese"
    ):
        objects.read("a/b")


def test_what_waiting_does_not_help_is_said_at_once(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    objects = Objects("memory://somewhere")
    monkeypatch.setattr(objects._fs, "cat_file", failing(1, PermissionError("Forbidden"), lambda: None))
    with pytest.raises(
        ObjectError, match=r"may not read memory://somewhere/a .*: check the credentials in the environ"
    ):
        objects.read("a")
    with pytest.raises(ObjectError, match=r"cannot write s3://no-such-bucket/x/a: .*; does the bucket exist\?"):
        Objects("s3://no-such-bucket/x").write("a", b"")


def test_addresses_that_cannot_be_used() -> None:
    with pytest.raises(ObjectError, match="credentials belong into the environment"):
        Objects("s3://key:secret@bucket/prefix")
    with pytest.raises(ObjectError, match="cannot open the store nonsense://x"):
        Objects("nonsense://x")
