"""A folder of results at a URL: whoever sees its manifest sees the files that it names, whatever was killed when."""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tasks.storage.objects import ObjectError, Objects
from tasks.storage.remote_folder import MANIFEST, UPLOADING, RemoteFolder
from tests.tasks.conftest import wait_until

MADE_BY = "a test"
ONE = {"kept/0.parquet": "zero", "kept/1.parquet": "one", "report.html": "<html>"}
OTHER = {"kept/0.parquet": "zero", "kept/1.parquet": "ONE", "dropped/0.parquet": "gone"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.storage.objects.PAUSE_SECONDS", 0.0)


@pytest.fixture(params=["memory", "file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return f"file://{tmp_path}/there" if request.param == "file" else f"{request.getfixturevalue('bucket')}/a folder"


def written(root: Path, files: Mapping[str, str]) -> Path:
    """A local folder with its manifest."""
    entries = []
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        entries.append({"path": name, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()})
    (root / MANIFEST).write_text(json.dumps({"made_by": MADE_BY, "files": entries}))
    return root


def content(url: str) -> dict[str, str]:
    objects = Objects(url)
    return {name: (objects.read(name) or b"").decode() for name in objects.listing("")}


def whole(url: str) -> bool:
    """Whether there is a manifest; then every file that it names is there and is what it says."""
    objects = Objects(url)
    manifest = objects.read(MANIFEST)
    for entry in json.loads(manifest)["files"] if manifest else []:
        assert hashlib.sha256(objects.read(entry["path"]) or b"").hexdigest() == entry["sha256"], entry["path"]
    return manifest is not None


@pytest.fixture
def at_each_change(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, str], None]], None]:
    """Has a function called with method and name before each change of a store."""

    def watch(told: Callable[[str, str], None]) -> None:
        def watched(method: str, at: int) -> None:
            original = getattr(Objects, method)

            def changed(self: Objects, *given: Any) -> Any:
                if not given[at].startswith("leases/"):
                    told(method, given[at])
                return original(self, *given)

            monkeypatch.setattr(Objects, method, changed)

        for method, at in (("write", 0), ("create", 0), ("remove", 0), ("upload", 1)):
            watched(method, at)

    return watch


def test_a_folder_goes_up_once_and_then_what_has_changed(url: str, tmp_path: Path, at_each_change: Any) -> None:
    folder, done = RemoteFolder(url, MADE_BY), []
    at_each_change(lambda method, name: done.append((method, name)))
    told: list[int] = []
    first = written(tmp_path / "1", ONE)
    assert folder.is_ours()
    assert folder.publish(first, told.append) == 3
    assert sum(told) == sum(map(len, ONE.values()))
    assert content(url) == {**ONE, MANIFEST: (first / MANIFEST).read_text()}
    assert whole(url)
    assert [name for _, name in done[-2:]] == [MANIFEST, UPLOADING]

    done.clear()
    told.clear()
    assert folder.publish(first, told.append) == 0
    assert done == []
    assert sum(told) == sum(map(len, ONE.values()))

    Objects(url).write("kept/README", b"of somebody else")
    done.clear()
    second = written(tmp_path / "2", OTHER)
    assert folder.is_ours()
    assert folder.publish(second) == 2
    assert {name for method, name in done if method == "upload"} == {"kept/1.parquet", "dropped/0.parquet"}
    assert content(url) == {**OTHER, MANIFEST: (second / MANIFEST).read_text(), "kept/README": "of somebody else"}


@pytest.mark.parametrize("earlier", [None, ONE], ids=["nothing", "another"])
def test_wherever_it_is_killed_no_manifest_names_what_is_not_there(
    earlier: dict[str, str] | None, tmp_path: Path, at_each_change: Any
) -> None:
    left = {"changes": 0}

    def killed(method: str, name: str) -> None:
        left["changes"] -= 1
        if left["changes"] < 0:
            raise KeyboardInterrupt

    at_each_change(killed)
    before = None if earlier is None else written(tmp_path / "before", earlier)
    new = written(tmp_path / "new", {"kept/0.parquet": "nil", "kept/2.parquet": "two", "report.html": "<html>"})
    last = written(tmp_path / "last", OTHER)
    for changes in count():
        url = f"memory://{uuid.uuid4().hex}"
        folder = RemoteFolder(url, MADE_BY)
        left["changes"] = 1_000
        if before is not None:
            folder.publish(before)
        left["changes"] = changes
        try:
            folder.publish(new)
            break
        except KeyboardInterrupt:
            whole(url)
        left["changes"] = 1_000
        assert folder.is_ours()
        folder.publish(last if changes % 2 else new)
        wanted = last if changes % 2 else new
        assert whole(url)
        assert content(url).keys() == {str(p.relative_to(wanted)) for p in wanted.rglob("*") if p.is_file()}
    assert changes > 5


def test_what_a_killed_writer_had_left_alone_does_not_go_up_again(tmp_path: Path, at_each_change: Any) -> None:
    url, done = f"memory://{uuid.uuid4().hex}", []
    folder = RemoteFolder(url, MADE_BY)
    folder.publish(written(tmp_path / "1", ONE))

    def told(method: str, name: str) -> None:
        done.append((method, name))
        if name == "dropped/0.parquet" and len(done) < 5:
            raise KeyboardInterrupt

    at_each_change(told)
    second = written(tmp_path / "2", OTHER)
    with pytest.raises(KeyboardInterrupt):
        folder.publish(second)
    assert not whole(url)
    done.extend([("", "")] * 5)
    folder.publish(second)
    assert whole(url)
    assert "kept/0.parquet" not in {name for method, name in done if method == "upload"}


def test_one_that_was_away_for_longer_than_its_lease_stops(
    tmp_path: Path, at_each_change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was stopped, what it had begun to send is all that it does to what another one wrote meanwhile."""
    monkeypatch.setattr("tasks.storage.remote.TRANSFERS", 1)
    before, other = written(tmp_path / "before", ONE), written(tmp_path / "other", OTHER)
    mine = written(tmp_path / "mine", {"kept/0.parquet": "null", "kept/1.parquet": "uno", "kept/2.parquet": "two"})
    url, left, late = "", -1, []

    def stopped(method: str, name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            lease = json.loads(Objects(url).read("leases/folder.json") or b"")
            Objects(url).write("leases/folder.json", json.dumps({**lease, "expires": 0}).encode())
            RemoteFolder(url, MADE_BY).publish(other)
            assert whole(url)
            late.clear()
        late.append((method, name))

    at_each_change(stopped)
    for changes in count():
        url, left = f"memory://{uuid.uuid4().hex}", -1
        RemoteFolder(url, MADE_BY).publish(before)
        left = changes
        late.clear()
        said = ""
        try:
            RemoteFolder(url, MADE_BY).publish(mine)
        except ObjectError as error:
            said = str(error)
        if not said:
            break
        assert said == f"another machine has taken over {url} from this one: run it again"
        assert len(late) == 1, late  # what was under way
        assert late[0][0] == "upload" or whole(url) or late[0] == ("remove", MANIFEST)
        again = [other, mine][changes % 2]
        left = -1
        RemoteFolder(url, MADE_BY).publish(again)
        assert whole(url)
    assert late == [("remove", UPLOADING)]  # its last change: it was done
    assert whole(url)
    assert changes > 6


def test_a_late_manifest_does_not_stay(tmp_path: Path, at_each_change: Any) -> None:
    url, wrong = f"memory://{uuid.uuid4().hex}", b'{"made_by": "a test", "files": []}'

    def late(method: str, name: str) -> None:
        if method == "create":
            Objects(url).write(MANIFEST, wrong)

    at_each_change(late)
    first = written(tmp_path / "1", ONE)
    RemoteFolder(url, MADE_BY).publish(first)
    assert content(url)[MANIFEST] == (first / MANIFEST).read_text()


def test_what_is_younger_than_the_manifest_goes_up_again(url: str, tmp_path: Path) -> None:
    folder, objects, first = RemoteFolder(url, MADE_BY), Objects(url), written(tmp_path / "1", ONE)
    folder.publish(first)
    time.sleep(1.1)  # the clock of S3 ticks in seconds
    objects.write("kept/0.parquet", b"null")
    assert folder.publish(first) == 1
    assert content(url) == {**ONE, MANIFEST: (first / MANIFEST).read_text()}
    assert folder.publish(first) == 0


def test_two_writers_wait_for_one_another(
    tmp_path: Path, at_each_change: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tasks.storage.lease.POLL_SECONDS", 0.01)
    url, done = f"memory://{uuid.uuid4().hex}", []
    first, second = (written(tmp_path / each, {f"{each}/{n}": each for n in range(3)}) for each in "ab")
    other = threading.Thread(target=lambda: RemoteFolder(url, MADE_BY).publish(second))

    def told(method: str, name: str) -> None:
        if not done:
            other.start()
            wait_until(lambda: "waiting for process" in caplog.text, "the other one waits")
        done.append((method, name))

    at_each_change(told)
    RemoteFolder(url, MADE_BY).publish(first)
    other.join()
    assert whole(url)
    assert content(url).keys() == {"b/0", "b/1", "b/2", MANIFEST}
    of_first = done[: done.index(("remove", UPLOADING)) + 1]
    assert {name for _, name in of_first} == {UPLOADING, MANIFEST, "a/0", "a/1", "a/2"}


def test_what_is_not_ours_is_told(url: str) -> None:
    objects, folder = Objects(url), RemoteFolder(url, MADE_BY)
    objects.write("leases/folder.json", b"{}")  # of a writer that was killed at its first step
    assert folder.is_ours()
    for name in ("thesis.tex", MANIFEST, UPLOADING):
        objects.write(name, b'{"made_by": "somebody else"}')
        assert not folder.is_ours()
    folder.try_writing()
    assert content(url).keys() == {"leases/folder.json", "thesis.tex", MANIFEST, UPLOADING}


def test_a_folder_that_a_console_made_is_empty(bucket: str) -> None:
    import s3fs

    files = s3fs.S3FileSystem()
    folder = RemoteFolder(f"{bucket}/new folder", MADE_BY)
    for name in ("new folder/", "new folder/kept/"):
        files.call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key=name, Body=b"")
        assert folder.is_ours()
    files.call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key="new folder/empty.txt", Body=b"")
    assert not folder.is_ours()
    files.rm_file(f"{bucket}/new folder/empty.txt")
    files.call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key="new folder/kept/", Body=b"something")
    assert not folder.is_ours()


@pytest.mark.parametrize("now", [MANIFEST, UPLOADING])
def test_a_note_that_takes_the_others_place_is_found(now: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer puts its manifest there and removes its other note just between the two looks; or the other way."""
    url = f"memory://{uuid.uuid4().hex}"
    Objects(url).write("kept/0.parquet", b"zero")
    listing = Objects.listing

    def meanwhile(self: Objects, prefix: str) -> dict[str, tuple[int, float]]:
        Objects(url).write(now, json.dumps({"made_by": MADE_BY}).encode())
        return listing(self, prefix)

    assert not RemoteFolder(url, MADE_BY).is_ours()
    monkeypatch.setattr(Objects, "listing", meanwhile)
    assert RemoteFolder(url, MADE_BY).is_ours()


@pytest.mark.parametrize("files", [None, 3, [None, {"path": 1}, {"path": "kept/1.parquet"}]])
def test_damaged_notes_end_nothing(files: Any, tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    for name in (MANIFEST, UPLOADING):
        Objects(url).write(name, json.dumps({"made_by": MADE_BY, "files": files, "names": files}).encode())
    folder = RemoteFolder(url, MADE_BY)
    assert folder.is_ours()
    assert folder.publish(written(tmp_path / "1", ONE)) == 3
    assert whole(url)
    assert content(url).keys() == {*ONE, MANIFEST}


def test_a_bucket_that_is_not_there_and_a_password_are_named(bucket: str) -> None:
    with pytest.raises(ObjectError, match=r"cannot write s3://no-such-bucket/x/uploading.json.trial.*does the bucket"):
        RemoteFolder("s3://no-such-bucket/x", MADE_BY).try_writing()
    with pytest.raises(ObjectError, match="credentials belong into the environment"):
        RemoteFolder("s3://key:secret@bucket/x", MADE_BY)
