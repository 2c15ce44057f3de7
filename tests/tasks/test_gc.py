"""What garbage collection keeps, and what it shows before it deletes."""

import os
import time
from pathlib import Path

import pytest

from tasks.lineage.gc import collect, find_garbage
from tasks.machine.host import HOST, process_mark
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, pipeline_run
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact, Store
from tests.tasks.stages import NumbersConfig, numbers, squares, total

DAY = 86_400.0


def age(path: Path, seconds: float) -> None:
    """Make everything in a directory look as old as that."""
    then = time.time() - seconds
    for root, directories, names in os.walk(path):
        for name in [*directories, *names]:
            os.utime(Path(root) / name, (then, then))
    os.utime(path, (then, then))


def age_all(store: Store, seconds: float = 2 * DAY) -> None:
    for path in store.root.iterdir():
        age(path, seconds)


def chain(count: int = 2) -> list[Artifact]:
    config = NumbersConfig(count=count)
    source = numbers(config)
    squared = squares(config, source=source)
    return [source, squared, total(config, source=squared)]


def names(store: Store, **options: float) -> set[str]:
    """Stages (and kinds) of the garbage; lock files have tests of their own."""
    options = {"keep_runs": 0, **options}
    garbage = find_garbage(store, **options)  # type: ignore[arg-type]
    kinds = {item.path.parent.name if item.kind == "artifact" else item.kind for item in garbage}
    return kinds - {"lock"}


def test_without_roots_all_goes_and_the_preview_deletes_nothing(run: Run) -> None:
    chain()
    age_all(run.store)
    garbage = find_garbage(run.store, keep_runs=0)
    assert {item.path.parent.name for item in garbage} == {"locks", "numbers", "squares", "squares.shard", "total"}
    assert all(item.path.exists() for item in garbage)
    assert [item.bytes for item in garbage] == sorted((item.bytes for item in garbage), reverse=True)

    freed = collect(run.store, garbage, keep_runs=0, grace_seconds=DAY)
    assert freed == sum(item.bytes for item in garbage) > 0
    assert run.store.list() == []
    assert list(run.store.partial.iterdir()) == []


def test_an_alias_keeps_inputs_and_parts_all_the_way_back(run: Run) -> None:
    artifacts = chain()
    other = numbers(NumbersConfig(count=9))
    run.store.set_alias("current", artifacts[2])
    age_all(run.store)
    garbage = find_garbage(run.store, keep_runs=0)
    assert [item.path for item in garbage if item.kind != "lock"] == [other.path]


def test_an_alias_of_an_early_stage_does_not_keep_what_came_of_it(run: Run) -> None:
    run.store.set_alias("raw", chain()[0])
    age_all(run.store)
    assert names(run.store) == {"squares", "squares.shard", "total"}


def test_the_grace_period_counts_from_the_last_use(run: Run) -> None:
    chain()
    assert names(run.store) == set()
    age_all(run.store)
    numbers(NumbersConfig(count=2))  # a hit
    assert names(run.store) == {"squares", "squares.shard", "total"}


def recorded_run(store: Store, name: str, *artifacts: Artifact, age_seconds: float, **record: object) -> Path:
    directory = store.runs / name
    directory.mkdir()
    write_json(directory / "run.json", {"state": "finished", **record})
    lines = [f'{{"stage": "{a.stage}", "key": "{a.key}", "state": "built"}}\n' for a in artifacts]
    (directory / "stages.jsonl").write_text("".join(lines))
    age(directory, age_seconds)
    return directory


def test_the_newest_runs_are_roots(run: Run) -> None:
    artifacts = [numbers(NumbersConfig(count=n)) for n in (1, 2, 3)]
    age_all(run.store)
    directories = [
        recorded_run(run.store, str(n), artifact, age_seconds=(10 - n) * DAY) for n, artifact in enumerate(artifacts)
    ]
    found = {item.path for item in find_garbage(run.store, keep_runs=1) if item.kind != "lock"}
    assert found == {*(a.path for a in artifacts[:2]), *directories[:2]}
    assert names(run.store, keep_runs=3) == set()


def test_a_run_taken_over_is_as_new_as_its_last_attempt(run: Run) -> None:
    old, new = (numbers(NumbersConfig(count=n)) for n in (1, 2))
    age_all(run.store)
    recorded_run(run.store, "20200101", old, age_seconds=2 * DAY)
    recorded_run(run.store, "20210101", new, age_seconds=3 * DAY)
    assert new.path in {item.path for item in find_garbage(run.store, keep_runs=1)}


def test_a_live_run_is_a_root_however_old(store: Store) -> None:
    with pipeline_run("pipeline", {}, Resources(workers=1), store=store, display=Display(quiet=True)) as run:
        run.announce = lambda stage, key: None  # type: ignore[method-assign]  # no MLflow here
        chain()
        age_all(store)
        assert names(store) == set()
    age_all(store)
    assert names(store) == {"numbers", "squares", "squares.shard", "total", "run"}


def test_a_held_lock_keeps_a_build_and_what_it_needs(run: Run) -> None:
    store = run.store
    source, squared, _ = chain()
    partial = store.partial_directory("total", "f" * 32)
    (partial / "_scratch").mkdir()
    store.need(partial, "inputs", [(squared.stage, squared.key)])
    with store.lock("f" * 32):
        age_all(store)
        assert names(store) == {"total"}
        assert names(store, grace_seconds=0) == {"total"}
    assert names(store) == {"numbers", "squares", "squares.shard", "total", "partial"}
    assert source.path.exists()


def test_a_checkpoint_of_a_kept_run_stays(run: Run) -> None:
    store = run.store
    partial = store.partial_directory("pretrain", "f" * 32)
    (partial / "_scratch").mkdir()
    (partial / "_scratch" / "checkpoint").write_text("x")
    age_all(store)
    recorded_run(store, "1", Artifact("pretrain", "f" * 32, "", partial), age_seconds=DAY * 2)
    assert names(store, keep_runs=1) == set()
    assert names(store, keep_runs=0) == {"partial", "run"}


def test_a_build_whose_artifact_came_from_another_machine_goes(run: Run) -> None:
    """One that was killed; a run of this machine has found the artifact on the shared store since."""
    store, artifact = run.store, chain()[-1]
    (store.partial_directory(artifact.stage, artifact.key) / "_scratch").mkdir()
    age_all(store)
    recorded_run(store, "1", artifact, age_seconds=DAY * 2)
    assert names(store, keep_runs=1) == {"partial"}


def test_a_live_worker_keeps_its_shard(store: Store) -> None:
    mine = store.partial / f"squares.shard-{'f' * 32}-{process_mark()}"
    dead = store.partial / f"squares.shard-{'f' * 32}-{HOST}.{2**22 + 1}.1"
    elsewhere = store.partial / f"squares.shard-{'e' * 32}-some-other.host.1.1"
    for path in (mine, dead, elsewhere):
        path.mkdir()
    assert find_garbage(store) == []  # the grace period is all that is known of another machine
    assert {item.path for item in find_garbage(store, grace_seconds=0)} == {dead, elsewhere}


def test_lock_files_that_nobody_holds_go(store: Store) -> None:
    for key in ("held", "old", "young"):
        with store.lock(key):
            pass
    age(store.locks / "held.lock", 2 * DAY)
    age(store.locks / "old.lock", 2 * DAY)
    assert {item.path.name for item in find_garbage(store)} == {"held.lock", "old.lock"}
    with store.lock("held"):
        age(store.locks / "held.lock", 2 * DAY)  # taking it made it young
        garbage = find_garbage(store, keep_runs=0)
        assert [item.path.name for item in garbage] == ["old.lock"]
        collect(store, garbage, keep_runs=0, grace_seconds=DAY)
        assert {path.name for path in store.locks.iterdir()} == {"held.lock", "young.lock"}


def test_a_lock_taken_since_the_preview_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.lock("k"):
        pass
    garbage = find_garbage(store, keep_runs=0, grace_seconds=0)
    # taken between the second look and the removal
    monkeypatch.setattr("tasks.lineage.gc.find_garbage", lambda *_, **__: garbage)
    with store.lock("k"):
        collect(store, garbage, keep_runs=0, grace_seconds=0)
        assert (store.locks / "k.lock").exists()
    collect(store, garbage, keep_runs=0, grace_seconds=0)
    assert not (store.locks / "k.lock").exists()


def test_what_found_a_user_since_the_preview_stays(run: Run) -> None:
    artifacts = chain()
    age_all(run.store)
    garbage = find_garbage(run.store, keep_runs=0)
    run.store.set_alias("current", artifacts[0])
    collect(run.store, garbage, keep_runs=0, grace_seconds=DAY)
    assert run.store.list() == [artifacts[0]]


def test_broken_manifests_and_what_was_set_aside_go(run: Run) -> None:
    store = run.store
    artifact = numbers(NumbersConfig())
    store.set_aside(artifact.path, "a test")
    broken = numbers(NumbersConfig(count=1))
    (broken.path / "manifest.json").write_text("{")
    store.set_alias("broken", broken)
    assert names(store, grace_seconds=0) == {"aside"}  # an alias keeps even a broken one
    (store.alias_directory / "broken.json").unlink()
    assert names(store, grace_seconds=0) == {"aside", "numbers"}


def test_collect_after_a_kill_leaves_no_half_artifact(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = chain()
    garbage = [item for item in find_garbage(run.store, keep_runs=0, grace_seconds=0) if item.kind == "artifact"]

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        collect(run.store, garbage, keep_runs=0, grace_seconds=0)
    monkeypatch.undo()
    assert all(read_json(a.path / "manifest.json") for a in artifacts if a.path.exists())
    assert names(run.store, grace_seconds=0) >= {"partial"}  # what was renamed away is garbage of the next time
