"""Looking things up, aliases, publication."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import store as store_module
from tasks.running.run import Run
from tasks.storage import integrity, locks
from tasks.store import RUN_DIRECTORY, Artifact, Store, StoreError, artifact_key, content_digest
from tests.tasks.stages import NumbersConfig, numbers, squares, total


def published(store: Store, stage: str, key: str, text: str = "x", created: str = "file.txt") -> Artifact:
    partial = store.partial_directory(stage, key)
    (partial / created).write_text(text)
    manifest = {"stage": stage, "key": key, "inputs": {}, "parts": [], "shards": [], "counts": {}}
    return store.publish(partial, manifest)


def test_names_resolve_by_alias_prefix_and_stage(store: Store) -> None:
    first = published(store, "tokenizer", "aa11" + "0" * 28)
    second = published(store, "tokenizer", "aa22" + "0" * 28)
    store.set_alias("current", first)
    assert store.resolve("current") == first
    assert store.resolve("tokenizer/aa2") == second
    assert store.resolve("aa11") == first
    assert store.resolve(first.key) == first
    assert store.resolve("tokenizer") == second  # the newest
    with pytest.raises(StoreError, match=r"'aa' is ambiguous: tokenizer/aa1100000000, tokenizer/aa2200000000"):
        store.resolve("aa")
    with pytest.raises(StoreError, match="no artifact is called 'nothing'; `textmill ls` lists them"):
        store.resolve("nothing")


def test_an_alias_moves_and_may_hold_dots(store: Store) -> None:
    first, second = published(store, "model", "a" * 32), published(store, "model", "b" * 32)
    store.set_alias("gpt.v1", first)
    store.set_alias("gpt.v1", second)
    assert store.aliases() == {"gpt.v1": {"stage": "model", "key": "b" * 32}}
    assert store.aliased("gpt.v1") == second
    assert store.aliased("gpt") is None


@pytest.mark.parametrize("name", ["", "a/b", ".hidden"])
def test_an_alias_that_is_no_file_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="cannot be an alias"):
        store.set_alias(name, published(store, "model", "a" * 32))


def test_a_missing_file_lists_what_there_is(run: Run) -> None:
    with pytest.raises(StoreError, match=r"has no file 'nothing\.txt'; it has: total\.json"):
        total(NumbersConfig(), source=squares(NumbersConfig(), source=numbers(NumbersConfig()))).file("nothing.txt")


def test_what_a_kill_left_is_not_published(store: Store) -> None:
    partial = store.partial_directory("model", "a" * 32)
    (partial / "weights.tmp").write_text("half")
    (partial / "_scratch").mkdir()
    (partial / "_scratch" / "checkpoint").write_text("x")
    artifact = published(store, "model", "a" * 32)
    assert [entry["path"] for entry in artifact.manifest()["files"]] == ["file.txt"]
    assert not (artifact.path / "_scratch").exists()
    assert not (artifact.path / "weights.tmp").exists()


def test_the_digest_is_that_of_names_and_contents(store: Store) -> None:
    same = published(store, "a", "a" * 32), published(store, "b", "b" * 32)
    assert same[0].digest == same[1].digest
    assert published(store, "c", "c" * 32, text="y").digest != same[0].digest
    assert published(store, "d", "d" * 32, created="other.txt").digest != same[0].digest


def test_the_digest_does_not_depend_on_the_order_of_parts() -> None:
    parts = [{"digest": "1"}, {"digest": "2"}]
    assert content_digest([], parts) == content_digest([], parts[::-1])


def test_an_artifact_of_a_newer_format_is_not_read_as_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    published(store, "a", "a" * 32)
    monkeypatch.setattr("tasks.storage.integrity.FORMAT", 2)
    assert store.find("a", "a" * 32) is None
    assert "its manifest has format 1, this version reads 2" in caplog.text


def test_touching_a_file_is_no_damage(store: Store) -> None:
    artifact = published(store, "a", "a" * 32)
    artifact.file("file.txt").touch()
    assert Store(store.root).find("a", "a" * 32) == artifact


def test_a_second_process_may_set_aside_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = published(store, "a", "a" * 32)
    artifact.file("file.txt").unlink()
    Store(store.root).set_aside(artifact.path, "somebody else was faster")
    store.set_aside(artifact.path, "gone")
    assert len(list(store.aside.iterdir())) == 1


def test_the_listing_leaves_out_what_it_cannot_read(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    whole, broken = published(store, "a", "a" * 32), published(store, "a", "b" * 32)
    (broken.path / "manifest.json").write_text("{")
    assert store.list() == [whole]
    assert "rebuilt when next needed" in caplog.text


def test_a_lock_whose_file_was_removed_is_taken_anew(store: Store) -> None:
    with store.lock("k"):
        (store.locks / "k.lock").unlink()
        with Store(store.root).lock("k"):  # nobody holds the new file
            assert (store.locks / "k.lock").exists()


def test_keys_are_independent_of_the_order_of_config_keys() -> None:
    assert artifact_key("s", 1, {"a": 1, "b": 2}, {}, {}) == artifact_key("s", 1, {"b": 2, "a": 1}, {}, {})
    assert len(artifact_key("s", 1, {}, {}, {})) == 32


def test_a_store_that_may_only_be_read_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = published(store, "a", "a" * 32)

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("os.utime", refuse)
    assert Store(store.root).find("a", "a" * 32) == artifact


def test_a_kill_while_files_are_hashed_costs_no_checkpoint(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(handle: object, algorithm: str) -> None:
        raise KeyboardInterrupt

    partial = store.partial_directory("model", "a" * 32)
    (partial / "_scratch").mkdir()
    (partial / "_scratch" / "checkpoint").write_text("x")
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", killed)
        with pytest.raises(KeyboardInterrupt):
            published(store, "model", "a" * 32)
    assert (partial / "_scratch" / "checkpoint").exists()
    assert not (published(store, "model", "a" * 32).path / "_scratch").exists()


def test_who_does_not_wait_is_told_what_is_held_and_what_was_removed_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.locks / "k.lock"
    with store.lock_if_free("k") as free, store.lock_if_free("k") as again:
        assert (free, again, locks.is_locked(path)) == (True, False, True)
    assert not locks.is_locked(path)
    taken = locks._taken

    def taken_late(descriptor: int) -> bool:  # garbage collection removed the file, and somebody builds by the new one
        path.unlink()
        path.touch()
        return taken(descriptor)

    monkeypatch.setattr(locks, "_taken", taken_late)
    with store.lock_if_free("k") as free:
        assert not free


def test_a_run_hashes_what_it_reads_once_and_writes_nothing_where_nothing_has_changed(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    squared = squares(NumbersConfig(), source=numbers(NumbersConfig()))
    folders = [squared.path, *squared.part_directories()]
    assert len(folders) > 1
    hashed: list[Path] = []
    hashing = store_module.check_content
    monkeypatch.setattr(store_module, "check_content", lambda path, m: hashed.append(path) or hashing(path, m))
    monkeypatch.setattr(store_module, "write_stamps", lambda path, m: pytest.fail(f"{path}: written again"))
    later = Store(store.root)
    for _ in range(2):
        assert later.find(squared.stage, squared.key) == squared
        assert later.verify(squared)
    assert sorted(hashed) == sorted(folders)


def test_damage_shows_whether_or_not_the_time_of_the_file_tells(run: Run, store: Store) -> None:
    artifact = numbers(NumbersConfig())
    file = artifact.path / artifact.manifest()["files"][0]["path"]
    stat, whole = file.stat(), file.read_bytes()
    file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as when the disk loses a bit
    assert Store(store.root).find(artifact.stage, artifact.key) == artifact  # which only looks at sizes and times
    assert not Store(store.root).verify(artifact)
    assert Store(store.root).find(artifact.stage, artifact.key) is None


def test_a_file_with_the_checksum_of_its_note_is_not_hashed_again(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = numbers(NumbersConfig())
    hashed: list[Path] = []
    hashing = integrity.hash_file
    monkeypatch.setattr(integrity, "hash_file", lambda path: hashed.append(path) or hashing(path))
    assert Store(store.root).verify(artifact)
    assert not hashed
    stamps = artifact.path / RUN_DIRECTORY / "stamps.json"
    noted = json.loads(stamps.read_text())
    other = {name: [*stamp[:2], "0" * 32] for name, stamp in noted.items()}
    earlier = {name: stamp[:2] for name, stamp in noted.items()}  # as a version wrote it that noted no XXH3
    for broken in (earlier, other, {}, [], dict.fromkeys(noted)):
        stamps.write_text(json.dumps(broken))
        hashed.clear()
        assert Store(store.root).verify(artifact)
        assert hashed
        assert json.loads(stamps.read_text()) == noted


def test_a_file_touched_in_one_process_is_looked_at_again(run: Run, store: Store) -> None:
    squared = squares(NumbersConfig(), source=numbers(NumbersConfig()))
    part = squared.part_directories()[0]
    entry = json.loads((part / "manifest.json").read_text())["files"][0]
    assert store.verify(squared)
    (part / entry["path"]).write_bytes(b"?" * entry["bytes"])
    assert store.find(squared.stage, squared.key) is None


def test_what_changes_after_it_was_hashed_is_not_noted_as_sound(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = numbers(NumbersConfig())
    entry = artifact.manifest()["files"][0]
    stamps = artifact.path / RUN_DIRECTORY / "stamps.json"
    stamps.unlink()
    hashing = store_module.check_content

    def spoilt_after(path: Path, manifest: Mapping[str, Any]) -> Any:
        found = hashing(path, manifest)
        (path / entry["path"]).write_bytes(b"?" * entry["bytes"])
        return found

    monkeypatch.setattr(store_module, "check_content", spoilt_after)
    assert Store(store.root).verify(artifact)  # as it was when it was read
    monkeypatch.setattr(store_module, "check_content", hashing)
    assert stamps.exists()
    assert not Store(store.root).verify(artifact)


def test_a_store_that_cannot_be_written_is_read(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = numbers(NumbersConfig())
    (artifact.path / RUN_DIRECTORY / "stamps.json").write_text("{}")

    def refused(*_: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(store_module, "write_stamps", refused)
    assert Store(store.root).find(artifact.stage, artifact.key) == artifact
