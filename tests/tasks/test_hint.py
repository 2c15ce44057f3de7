"""Which earlier result is a hint: of the same making, sound, of the most alike corpus, the last; none ends a run."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.machine.resources import Resources
from tasks.running.hint import earlier_result
from tasks.running.journal import Journal
from tasks.running.progress import Display
from tasks.running.work import Work
from tasks.store import RUN_DIRECTORY, SCRATCH_DIRECTORY, Artifact, Store

CONFIG = {"tokens": 5}
NOTHING = Artifact("windows", "0" * 64, "0" * 64, Path("nowhere"))


def built(store: Store, stage: str, key: str, **manifest: Any) -> Artifact:
    partial = store.partial_directory(stage, key)
    (partial / "spans.parquet").write_text(key)
    made = {"stage": stage, "version": 1, "key": key, "config": CONFIG, "libraries": {}}
    empty: dict[str, Any] = {"inputs": {}, "parts": [], "shards": [], "counts": {}, "environment": {}}
    return store.publish(partial, {**made, **empty, **manifest})


def corpus(store: Store, shards: str) -> Artifact:
    """Windows with one part for each letter."""
    keys = [64 * name for name in shards]
    parts = [store.find("windows.shard", key) or built(store, "windows.shard", key, digest=key) for key in keys]
    made_of = [{"stage": part.stage, "key": part.key, "digest": part.digest} for part in parts]
    return built(store, "windows", f"{shards:0<64}", parts=made_of)


def published(
    store: Store, key: str, version: int = 1, config: dict[str, Any] = CONFIG, of: Artifact | None = None
) -> Artifact:
    """An artifact of the stage "pieces" with one file, made of some windows."""
    inputs = {"windows": [{"stage": of.stage, "key": of.key, "digest": of.digest}]} if of else {}
    artifact = built(store, "pieces", key, version=version, config=config, inputs=inputs)
    when = 1_000_000_000 + len(store.list("pieces"))
    os.utime(artifact.path / "manifest.json", (when, when))
    return artifact


@pytest.fixture
def work(tmp_path: Path) -> Work:
    store = Store(tmp_path / "store")
    directory = store.partial_directory("pieces", "f" * 64)
    scratch = directory / SCRATCH_DIRECTORY
    scratch.mkdir()
    with Display(quiet=True).stage("pieces") as progress:
        return Work(directory, scratch, store, Resources(), progress, Journal(directory / RUN_DIRECTORY))


def test_the_last_of_the_same_version_and_config_is_taken_and_kept_from_collection(work: Work) -> None:
    published(work.store, "a" * 64)
    wanted = published(work.store, "b" * 64)
    published(work.store, "c" * 64, version=2)
    published(work.store, "d" * 64, config={"tokens": 6})
    assert earlier_result(work, "pieces", 1, CONFIG, like=NOTHING) == wanted
    assert list(work.store.needed(work.directory)) == [("pieces", wanted.key)]
    assert earlier_result(work, "pieces", 3, CONFIG, like=NOTHING) is None


def test_it_is_noted_as_needed_before_it_is_hashed(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = published(work.store, "a" * 64)
    noted: list[tuple[str, str]] = []

    def verify(artifact: Artifact) -> bool:
        noted.extend(work.store.needed(work.directory))
        return True

    monkeypatch.setattr(work.store, "verify", verify)
    earlier_result(work, "pieces", 1, CONFIG, like=NOTHING)
    assert noted == [("pieces", wanted.key)]


def test_a_damaged_one_is_set_aside_and_the_one_before_is_taken(work: Work) -> None:
    sound = published(work.store, "a" * 64)
    changed = published(work.store, "b" * 64)
    (changed.path / "spans.parquet").write_text("c" * 64)
    broken = published(work.store, "c" * 64)
    manifest = broken.manifest()
    manifest["versio"] = manifest.pop("version")
    (broken.path / "manifest.json").write_text(json.dumps(manifest))
    assert earlier_result(work, "pieces", 1, CONFIG, like=NOTHING) == sound
    assert not changed.path.exists()
    assert not broken.path.exists()


def test_one_that_is_collected_meanwhile_is_passed_by(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = published(work.store, "a" * 64)
    gone = Artifact("pieces", "b" * 64, "0" * 64, work.store.artifacts / "pieces" / ("b" * 64))
    monkeypatch.setattr(work.store, "list", lambda stage: [gone, sound])
    assert earlier_result(work, "pieces", 1, CONFIG, like=NOTHING) == sound


def test_of_corpora_in_turn_each_has_its_own(work: Work) -> None:
    english, chinese = corpus(work.store, "abc"), corpus(work.store, "89")
    published(work.store, "1" * 64, of=english)
    ours = published(work.store, "2" * 64, of=english)
    other = published(work.store, "3" * 64, of=chinese)
    assert earlier_result(work, "pieces", 1, CONFIG, like=corpus(work.store, "bce")) == ours
    assert earlier_result(work, "pieces", 1, CONFIG, like=corpus(work.store, "012")) == other
    shutil.rmtree(english.path)  # collected: nothing is known of its shards
    assert earlier_result(work, "pieces", 1, CONFIG, like=corpus(work.store, "bcf")) == other
