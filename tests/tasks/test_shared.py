"""A store shared by several machines; here a machine is a local directory of its own."""

import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.running.parts import _here, _portable, build_part_there
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.storage.objects import ObjectError, Objects
from tasks.storage.remote import Remote
from tasks.storage.shared import SharedStore, open_store, store_at
from tasks.store import Artifact, Store, StoreError
from tests.s3 import SECRET
from tests.tasks.stages import NumbersConfig, numbers, square_shard, squares, total

Machine = Callable[[str], SharedStore]


@pytest.fixture(params=["memory", "file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty shared store of each kind."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return f"file://{tmp_path}/shared" if request.param == "file" else f"{request.getfixturevalue('bucket')}/textmill"


@pytest.fixture
def memory() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.storage.objects.PAUSE_SECONDS", 0.0)


def machine(tmp_path: Path, name: str, url: str) -> SharedStore:
    return SharedStore(tmp_path / name, url)


def chain(store: Store, count: int = 3) -> list[Artifact]:
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        config = NumbersConfig(count=count)
        source = numbers(config)
        squared = squares(config, source=source)
        return [source, squared, total(config, source=squared)]


def contents(artifact: Artifact) -> dict[str, str]:
    return {entry["path"]: entry["sha256"] for entry in artifact.manifest()["files"]} | {
        str(p.relative_to(artifact.path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in artifact.path.glob("*.json")
    }


def test_what_one_machine_built_another_one_finds(tmp_path: Path, url: str, calls: Callable[[], list[str]]) -> None:
    built = chain(machine(tmp_path, "a", url))
    made = calls()
    there = machine(tmp_path, "b", url)
    found = chain(there)
    assert calls() == made  # nothing is built again
    assert [a.digest for a in found] == [a.digest for a in built]
    assert [contents(a) for a in found] == [contents(a) for a in built]
    assert [a.path.is_relative_to(tmp_path / "b") for a in found] == [True] * 3
    assert read_json(found[0].path / "_run" / "sidecar.json") == read_json(built[0].path / "_run" / "sidecar.json")
    assert all(there.verify(a) for a in found)
    assert [s.path.exists() for s in found[1].shards()] == [True] * 3
    assert list(there.partial.iterdir()) == []
    assert there.remote.objects.listing("leases") == {}


def test_parts_are_downloaded_when_they_are_needed(tmp_path: Path, memory: str) -> None:
    _, squared, _ = chain(machine(tmp_path, "a", memory))
    there = machine(tmp_path, "b", memory)
    assert there.find(squared.stage, squared.key) == Artifact(
        squared.stage, squared.key, squared.digest, tmp_path / "b" / "artifacts" / squared.stage / squared.key
    )
    assert not (there.artifacts / "squares.shard").exists()
    assert there.verify(squared)
    assert len(there.find_all("squares.shard", [p["key"] for p in squared.manifest()["parts"]])) == 3


def test_many_keys_cost_one_listing(tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = chain(machine(tmp_path, "a", memory), count=5)[1]
    keys = [part["key"] for part in built.manifest()["parts"]]
    listed: list[str] = []
    original = Objects.listing

    def listing(self: Objects, prefix: str) -> dict[str, tuple[int, float]]:
        listed.append(prefix)
        return original(self, prefix)

    monkeypatch.setattr(Objects, "listing", listing)
    assert machine(tmp_path, "b", memory).find_all("squares.shard", [*keys, "f" * 32]).keys() == set(keys)
    assert listed == ["manifests/squares.shard"]


def test_a_store_shared_later_goes_up_when_it_is_used(tmp_path: Path, url: str, calls: Callable[[], list[str]]) -> None:
    chain(Store(tmp_path / "a"))
    made = calls()
    chain(machine(tmp_path, "a", url))
    chain(machine(tmp_path, "b", url))
    assert calls() == made


def test_an_upload_that_was_killed_shows_nothing_and_goes_on(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, calls: Callable[[], list[str]]
) -> None:
    def killed(self: Objects, name: str, content: bytes) -> bool:
        if name.startswith("manifests/"):
            raise KeyboardInterrupt
        return original(self, name, content)

    original = Objects.create
    here, there = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            chain(here)
    assert here.remote.objects.listing("files")
    assert there.remote.published() == []
    chain(here)
    assert calls().count("numbers") == 1  # it was finished here
    assert chain(there)[0].digest == chain(here)[0].digest
    assert calls().count("numbers") == 1


def published(store: Store, key: str, text: str) -> Artifact:
    partial = store.partial_directory("model", key)
    (partial / "_run").mkdir(exist_ok=True)
    (partial / "weights.txt").write_text(text)
    return store.publish(partial, {"stage": "model", "key": key, "inputs": {}, "parts": [], "shards": [], "counts": {}})


def test_of_two_builders_the_first_manifest_wins_and_the_other_uses_it(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = published(machine(tmp_path, "a", url), "k" * 32, "one")
    second = published(machine(tmp_path, "b", url), "k" * 32, "two")  # a stage that is not deterministic
    assert second.digest == first.digest
    assert second.path == tmp_path / "b" / "artifacts" / "model" / ("k" * 32)
    assert (second.path / "weights.txt").read_text() == "one"
    assert "was published first by another machine, with other content" in caplog.text


def test_builders_at_the_same_instant_leave_one_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/shared"
    barrier = threading.Barrier(3)
    original = Objects.create

    def together(self: Objects, name: str, content: bytes) -> bool:
        barrier.wait(timeout=240)  # all have uploaded their files
        return original(self, name, content)

    monkeypatch.setattr(Objects, "create", together)
    made: list[Artifact] = []
    threads = [
        threading.Thread(
            target=lambda n=n: made.append(published(machine(tmp_path, f"m{n}", url), "k" * 32, f"text {n}"))
        )
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({a.digest for a in made}) == 1
    assert len({(a.path / "weights.txt").read_text() for a in made}) == 1
    remote = Remote(url)
    attempts = {name.split("/")[3] for name in remote.objects.listing("files")}
    record = remote.record("model", "k" * 32)
    assert record is not None
    assert attempts == {record.attempt}


def test_damage_in_the_shared_store_is_set_aside_and_built_anew(
    tmp_path: Path, url: str, calls: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    here = machine(tmp_path, "a", url)
    source = chain(here)[0]
    (name,) = [n for n in here.remote.objects.listing(f"files/numbers/{source.key}") if n.endswith("00001.json")]
    here.remote.objects.write(name, b'{"n": 7}')
    again = chain(machine(tmp_path, "b", url))[0]
    assert again.digest == source.digest
    assert calls().count("numbers") == 2
    assert "00001.json has another SHA-256" in caplog.text
    assert chain(machine(tmp_path, "c", url))[0].digest == source.digest
    assert calls().count("numbers") == 2


def test_what_was_verified_once_is_looked_at_again_when_it_has_changed(
    tmp_path: Path, memory: str, calls: Callable[[], list[str]]
) -> None:
    _, squared, _ = chain(machine(tmp_path, "a", memory))
    made = calls()
    there = machine(tmp_path, "b", memory)
    found = there.find(squared.stage, squared.key)
    assert found is not None
    assert [there.verify(found), there.verify(found)] == [True, True]  # the second time from memory
    damaged, gone = (part / "square.json" for part in found.part_directories()[:2])
    before = [path.read_bytes() for path in (damaged, gone)]
    damaged.write_bytes(b"{}")
    shutil.rmtree(gone.parent)
    assert there.verify(found)  # for both were fetched again
    assert [path.read_bytes() for path in (damaged, gone)] == before
    assert len(list(there.aside.iterdir())) == 1
    assert calls() == made


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b'{"format": 9, "checksum": "x", "attempt": "", "manifest": {}, "run_files": []}']
)
def test_a_damaged_manifest_is_a_miss(tmp_path: Path, memory: str, content: bytes) -> None:
    here = machine(tmp_path, "a", memory)
    artifact = published(here, "k" * 32, "one")
    here.remote.objects.write(f"manifests/model/{'k' * 32}.json", content)
    there = machine(tmp_path, "b", memory)
    assert there.find("model", "k" * 32) is None
    assert published(there, "k" * 32, "one").digest == artifact.digest


def test_a_store_that_is_away_costs_no_finished_work(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch, calls: Callable[[], list[str]]
) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host")

    here = machine(tmp_path, "a", memory)
    with monkeypatch.context() as patch:
        patch.setattr(here.remote.objects._fs, "put_file", away)
        with pytest.raises(
            ObjectError, match=r"cannot write memory://\w+/files/numbers/.* after 4 attempts .*no route"
        ):
            chain(here)
    chain(here)
    assert calls().count("numbers") == 1


def test_names_are_those_of_all_machines(tmp_path: Path, url: str) -> None:
    here, there = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    first, second = published(here, "a1" + "0" * 30, "one"), published(here, "a2" + "0" * 30, "two")
    here.set_alias("current", first)
    for name, artifact in (("current", first), ("model/a2", second), ("a1", first)):
        assert there.resolve(name).key == artifact.key
    assert machine(tmp_path, "c", url).resolve("model").key in (first.key, second.key)  # the newest: one moment
    with pytest.raises(StoreError, match=r"'a' is ambiguous: model/a1\w+, model/a2"):
        there.resolve("a")
    there.set_alias("current", second)
    aliased = here.aliased("current")
    assert aliased is not None
    assert aliased.key == second.key
    there.remove_alias("current")
    assert here.aliased("current") is None
    with pytest.raises(StoreError, match="no alias is called 'current'; there are: none"):
        here.remove_alias("current")


def test_a_worker_on_another_machine_fetches_what_it_reads(tmp_path: Path, url: str) -> None:
    here, there = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    source = chain(here)[0]
    shard = source.shards()[2].path
    sent = _portable(here, (str(shard), ["a", source.path], 5))
    assert str(here.root) not in repr(sent)
    arguments = _here(there, sent)
    assert arguments[0] == str(there.artifacts / source.stage / source.key / shard.name)
    assert arguments[1:] == (["a", there.artifacts / source.stage / source.key], 5)
    manifest = {"stage": "squares.shard", "version": 1, "key": "d" * 32, "libraries": {}, "config": {}}
    build_part_there(square_shard, str(there.root), there.url, manifest, _portable(here, (str(shard),)))
    part = here.find("squares.shard", "d" * 32)
    assert part is not None
    assert json.loads(part.file("square.json").read_text()) == {"n": 4}


def test_without_a_store_in_common_a_worker_says_what_is_missing(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "a"), Store(tmp_path / "b")
    path = chain(here)[0].path / "00000.json"
    with pytest.raises(StoreError, match="machines of one cluster need a store in common"):
        _here(there, _portable(here, (str(path),)))


def test_secrets_reach_no_file_and_no_object(tmp_path: Path, bucket: str) -> None:
    here = machine(tmp_path, "a", bucket)
    chain(here)
    for path in (p for p in here.root.rglob("*") if p.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
    for name in here.remote.objects.listing(""):
        assert SECRET.encode() not in (here.remote.objects.read(name) or b""), name


def test_the_environment_names_the_shared_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    assert type(open_store()) is Store
    monkeypatch.setenv("TEXTMILL_STORE", "memory://one/")
    assert open_store().url == "memory://one"
    assert open_store("memory://two").url == "memory://two"  # the config's value
    assert type(store_at(tmp_path, None)) is Store


def test_a_run_tells_the_shared_store_what_it_uses(tmp_path: Path, memory: str, monkeypatch: Any) -> None:
    from tasks.running.run import pipeline_run

    monkeypatch.setattr(Run, "announce", lambda self, stage, key: None)  # no MLflow here
    store = machine(tmp_path, "a", memory)
    with pipeline_run("tiny", {}, Resources(workers=1), store=store, display=Display(quiet=True)) as run:
        name = f"runs/{run.token}.json"
        assert json.loads(store.remote.objects.read(name) or b"")["state"] == "running"
        source = numbers(NumbersConfig())
    record = json.loads(store.remote.objects.read(name) or b"")
    assert record["state"] == "finished"
    assert record["stages"] == [["numbers", source.key]]
