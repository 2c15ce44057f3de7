"""Garbage on a store that several machines share."""

import json
import time
import uuid
from pathlib import Path

import pytest

from tasks.lineage.gc_remote import RemoteGarbage, collect_remote, find_remote_garbage
from tasks.machine.host import HOST
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.objects import Objects
from tasks.storage.remote import Remote
from tasks.storage.shared import SharedStore
from tests.tasks.stages import NumbersConfig, numbers, squares, total

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedStore:
    monkeypatch.setattr("tasks.storage.objects.PAUSE_SECONDS", 0.0)
    return SharedStore(tmp_path / "a", f"memory://{uuid.uuid4().hex}")


def chain(store: SharedStore) -> list[str]:
    """The keys of numbers, squares and total."""
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        config = NumbersConfig(count=2)
        source = numbers(config)
        squared = squares(config, source=source)
        return [source.key, squared.key, total(config, source=squared).key]


def found(remote: Remote, **options: float) -> set[str]:
    """Kinds, or stages of artifacts, that may go."""
    garbage = find_remote_garbage(remote, **{"keep_runs": 0, "grace_seconds": 0, **options})  # type: ignore[arg-type]
    return {item.name.split("/")[1] if item.kind == "artifact" else item.kind for item in garbage}


def collect(remote: Remote) -> list[RemoteGarbage]:
    garbage = find_remote_garbage(remote, keep_runs=0, grace_seconds=0)
    collect_remote(remote, garbage, keep_runs=0, grace_seconds=0)
    return garbage


def write_run(remote: Remote, token: str, stages: list[list[str]], **changes: object) -> None:
    record = {"state": "finished", "host": "elsewhere", "pid": 1, "process_created": 1.0, "heartbeat": time.time()}
    remote.write_run(token, {**record, "stages": stages, **changes})


def test_without_roots_all_goes_after_the_grace_period(store: SharedStore) -> None:
    chain(store)
    assert found(store.remote, grace_seconds=DAY) == set()
    assert found(store.remote) == {"numbers", "squares", "squares.shard", "total"}
    garbage = collect(store.remote)
    assert all(item.bytes > 0 for item in garbage)
    assert store.remote.objects.listing("") == {}


def test_an_alias_and_a_kept_run_keep_what_they_are_made_of(store: SharedStore) -> None:
    source, squared, added = chain(store)
    store.remote.set_alias("current", {"stage": "squares", "key": squared})
    assert found(store.remote) == {"total"}
    write_run(store.remote, "r1", [["total", added]])
    assert found(store.remote, keep_runs=1) == set()
    store.remote.remove_alias("current")
    assert found(store.remote, keep_runs=1) == set()
    assert found(store.remote) == {"numbers", "squares", "squares.shard", "total", "run"}
    assert source


def test_while_a_run_is_alive_anywhere_nothing_that_is_published_goes(store: SharedStore) -> None:
    chain(store)
    write_run(store.remote, "r1", [], state="running")
    assert found(store.remote) == set()
    write_run(store.remote, "r1", [], state="running", heartbeat=time.time() - 3600)  # its machine is gone
    assert found(store.remote) == {"numbers", "squares", "squares.shard", "total", "run"}


def test_a_killed_upload_goes_even_while_a_run_is_alive(store: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Objects, name: str, content: bytes) -> bool:
        raise KeyboardInterrupt

    chain(store)
    published = store.remote.objects.listing("").keys()
    other = SharedStore(store.root.parent / "b", store.url or "")
    with monkeypatch.context() as patch:
        patch.setattr(other, "build_lock", other.lock)
        patch.setattr(Objects, "create", killed)
        with (
            use_run(Run(other, Resources(workers=1, threads=1), Display(quiet=True))),
            pytest.raises(KeyboardInterrupt),
        ):
            numbers(NumbersConfig(count=7))
    write_run(store.remote, "r1", [], state="running")
    assert found(store.remote, grace_seconds=DAY) == set()
    (upload,) = collect(store.remote)
    assert upload.kind == "upload"
    assert len(upload.objects) >= 7
    assert store.remote.objects.listing("").keys() - {"runs/r1.json"} == published


def test_leases_that_ran_out_and_what_was_set_aside_go(store: SharedStore) -> None:
    held = {"holder": "x", "host": "elsewhere", "pid": 1, "created": 1.0, "expires": time.time() + 100}
    store.remote.objects.write("leases/held.json", json.dumps(held).encode())
    store.remote.objects.write("leases/over.json", json.dumps({**held, "expires": 1.0}).encode())
    store.remote.objects.write("leases/dead.json", json.dumps({**held, "host": HOST, "pid": 2**22 + 1}).encode())
    store.remote.objects.write("aside/numbers-k-1.json", b"{}")
    collect(store.remote)
    assert store.remote.objects.listing("").keys() == {"leases/held.json"}


def test_what_found_a_user_since_the_preview_stays(store: SharedStore) -> None:
    *_, added = chain(store)
    garbage = find_remote_garbage(store.remote, keep_runs=0, grace_seconds=0)
    store.remote.set_alias("current", {"stage": "total", "key": added})
    collect_remote(store.remote, garbage, keep_runs=0, grace_seconds=0)
    assert len(store.remote.published()) == 5
