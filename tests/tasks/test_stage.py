"""Keys, reuse, and what happens to a corrupt artifact."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.running.run import Plan, Resources, Run
from tasks.stage import Call, Stage, sound_file
from tasks.store import Artifact, StoreError
from tests.tasks.stages import NumbersConfig, numbers, squares, total

CONFIG = NumbersConfig(count=3)
Calls = Callable[[], list[str]]


def chain() -> list[Artifact]:
    source = numbers(CONFIG)
    squared = squares(CONFIG, source=source)
    return [source, squared, total(CONFIG, source=squared)]


def key_of(stage: Stage, run: Run, config: NumbersConfig = CONFIG, **inputs: Artifact) -> str:
    return Call(stage, config, inputs, stage.name, run).key()


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# --- the key ---------------------------------------------------------------------------------------------------------


def test_the_key_has_everything_that_shapes_the_result(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Artifact("numbers", "k", "digest", Path("somewhere"))
    with_library = replace(squares, libraries=("pydantic",))
    keys = [
        key_of(squares, run, source=source),
        key_of(squares, run, NumbersConfig(count=4), source=source),
        key_of(replace(squares, name="cubes"), run, source=source),
        key_of(replace(squares, version=2), run, source=source),
        key_of(squares, run, source=replace(source, digest="another")),
        key_of(squares, run, other=source),
        key_of(with_library, run, source=source),
    ]
    monkeypatch.setattr("importlib.metadata.version", lambda name: "999")
    keys.append(key_of(with_library, run, source=source))
    assert len(set(keys)) == len(keys)


def test_what_is_known_is_told_and_nothing_is_built(run: Run, calls: Calls) -> None:
    assert numbers.known(CONFIG) is None
    assert calls() == []
    source = numbers(CONFIG)
    assert numbers.known(CONFIG) == source
    assert squares.known(CONFIG, source=source) is None
    assert calls() == ["numbers"]


def test_the_key_has_nothing_else(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Artifact("numbers", "k", "digest", Path("somewhere"))
    key = key_of(squares, run, source=source)
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("platform.node", lambda: "another-host")
    monkeypatch.chdir(tmp_path)
    run.resources = Resources(workers=7, threads=3)
    assert key_of(squares, run, source=replace(source, path=Path("/else"), key="other", stage="other")) == key


def test_a_library_that_is_not_installed_is_named(run: Run) -> None:
    with pytest.raises(ModuleNotFoundError, match="no-such-thing"):
        key_of(replace(squares, libraries=("no-such-thing",)), run)


# --- reuse -----------------------------------------------------------------------------------------------------------


def test_a_second_run_builds_nothing(run: Run, calls: Calls) -> None:
    first = chain()
    before = calls()
    assert chain() == first
    assert calls() == before == ["numbers", *["squares"], *["square_shard"] * 3, "total"]
    assert [record.state for record in run.records] == ["built"] * 3 + ["cached"] * 3


def test_inputs_with_equal_content_that_came_another_way_are_the_same_input(run: Run, calls: Calls) -> None:
    squares(CONFIG, source=numbers(CONFIG))
    again = replace(numbers, version=2)(CONFIG)  # new code, same content
    assert [record.state for record in run.records] == ["built", "built", "built"]
    squares(CONFIG, source=again)
    assert run.records[-1].state == "cached"
    assert calls().count("squares") == 1


def test_equal_shards_of_another_corpus_are_reused(run: Run, calls: Calls) -> None:
    squares(CONFIG, source=numbers(CONFIG))
    larger = NumbersConfig(count=5)
    squares(larger, source=numbers(larger))
    assert calls().count("square_shard") == 5  # 3 and the 2 new ones


def test_shard_counts_add_up(run: Run) -> None:
    result = squares(CONFIG, source=numbers(CONFIG))
    assert result.counts() == {"squares": 3}
    assert [json.loads(s.path.read_text())["n"] for s in result.shards()] == [0, 1, 4]


def test_a_deleted_artifact_is_rebuilt(run: Run, calls: Calls) -> None:
    first = chain()
    shutil.rmtree(first[2].path)
    assert chain() == first
    assert calls().count("total") == 2
    assert calls().count("squares") == 1


def test_a_failed_stage_leaves_no_artifact_and_says_so_in_its_journal(run: Run) -> None:
    def build(work: object, config: object) -> None:
        raise ValueError("bad line 7")

    with pytest.raises(ValueError, match="bad line 7"):
        Stage("failing", 1, (), build)(CONFIG)
    assert run.store.list() == []
    (journal,) = run.store.partial.glob("failing-*/_run/journal.jsonl")
    assert json.loads(journal.read_text().splitlines()[-1]) == {"event": "end", "status": "FAILED"}


# --- corruption ------------------------------------------------------------------------------------------------------


def truncate_file(artifact: Artifact) -> None:
    os.truncate(artifact.file("total.json"), 3)


def remove_file(artifact: Artifact) -> None:
    artifact.file("total.json").unlink()


def flip_in_file(artifact: Artifact) -> None:
    flip_a_byte(artifact.file("total.json"))


def break_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").write_text('{"stage": ')


def flip_in_manifest(artifact: Artifact) -> None:
    path = artifact.path / "manifest.json"
    path.write_text(path.read_text().replace(artifact.digest, "0" * 64))


def empty_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").write_text("[]")


def remove_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").unlink()


def unreadable_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate_file, r"total.json has 3 bytes instead of"),
        (remove_file, r"total.json is missing"),
        (flip_in_file, r"total.json has another SHA-256"),
        (break_manifest, r"its manifest is not JSON"),
        (unreadable_manifest, r"its manifest is not JSON"),
        (flip_in_manifest, r"its manifest was changed"),
        (empty_manifest, r"its manifest is not one"),
        (remove_manifest, r"its manifest is missing"),
    ],
)
def test_a_corrupt_artifact_is_set_aside_and_rebuilt(
    run: Run, caplog: pytest.LogCaptureFixture, damage: Callable[[Artifact], None], reason: str
) -> None:
    first = chain()
    damage(first[2])
    assert chain() == first
    assert run.records[-1].state == "built"
    assert reason in caplog.text
    assert [path.name.split("-")[0] for path in run.store.aside.iterdir()] == ["total"]
    assert run.store.verify(first[2])


def test_a_corrupt_part_is_found_and_only_it_is_rebuilt(run: Run, calls: Calls) -> None:
    first = chain()
    flip_a_byte(first[1].shards()[1].path)
    assert chain() == first
    assert calls().count("squares") == 2
    assert calls().count("square_shard") == 4
    assert calls().count("total") == 1
    assert sorted(path.name.split("-")[0] for path in run.store.aside.iterdir()) == ["squares", "squares.shard"]


def test_a_missing_part_is_rebuilt(run: Run, calls: Calls) -> None:
    first = chain()
    shutil.rmtree(first[1].shards()[0].path.parent)
    assert chain() == first
    assert calls().count("square_shard") == 4


@pytest.mark.parametrize("silent", [False, True], ids=["touched", "same-time-and-size"])
def test_a_corrupt_input_is_rebuilt_before_a_stage_reads_it(run: Run, calls: Calls, silent: bool) -> None:
    source = numbers(CONFIG)
    squared = squares(CONFIG, source=source)
    broken = squared.shards()[2].path
    stat = broken.stat()
    flip_a_byte(broken)
    if silent:
        os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        run.store._verified.clear()  # as in a new process
    result = total(CONFIG, source=squared)
    assert json.loads(result.file("total.json").read_text()) == {"total": 0 + 1 + 4}
    assert calls().count("square_shard") == 4


def test_a_corrupt_input_of_unknown_origin_says_what_to_do(run: Run) -> None:
    source = numbers(CONFIG)
    flip_a_byte(source.shards()[0].path)
    run.calls.clear()
    with pytest.raises(StoreError, match=r"numbers/\w+ is corrupt and was set aside: run the flow that made it again"):
        squares(CONFIG, source=source)


def test_a_file_by_which_a_flow_decides_is_rebuilt_before_it_is_read(run: Run, calls: Calls) -> None:
    made = total(CONFIG, source=numbers(CONFIG))
    whole = made.file("total.json").read_bytes()
    assert sound_file(made, "total.json").read_bytes() == whole
    flip_a_byte(made.file("total.json"))
    assert sound_file(made, "total.json").read_bytes() == whole
    assert calls() == ["numbers", "total", "total"]
    (made.path / "manifest.json").write_text("{")
    assert sound_file(made, "total.json").read_bytes() == whole
    assert calls() == ["numbers", "total", "total", "total"]
    with pytest.raises(StoreError, match=r"total/\w+ has no file 'other.json'"):
        sound_file(made, "other.json")
    flip_a_byte(made.file("total.json"))
    run.calls.clear()
    with pytest.raises(StoreError, match=r"total/\w+ is corrupt and was set aside: run the flow that made it again"):
        sound_file(made, "total.json")


def test_an_input_that_is_rebuilt_differently_gives_another_key(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    drawn = iter(("a", "b"))

    def build(work: object, config: object) -> None:
        (work.directory / "draw").write_text(next(drawn))  # type: ignore[attr-defined]

    def read(work: object, config: object, *, source: Artifact) -> None:
        (work.directory / "copy").write_text(source.file("draw").read_text())  # type: ignore[attr-defined]

    source = Stage("random", 1, (), build)(CONFIG)
    flip_a_byte(source.file("draw"))
    result = Stage("read", 1, (), read)(CONFIG, source=source)
    assert "is its stage deterministic?" in caplog.text
    (recorded,) = result.manifest()["inputs"]["source"]
    assert recorded["digest"] != source.digest
    assert result.key == key_of(Stage("read", 1, (), read), run, source=replace(source, digest=recorded["digest"]))


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_the_manifest_leads_back_to_the_inputs(run: Run) -> None:
    source, squared, _ = chain()
    manifest = squared.manifest()
    assert manifest["inputs"] == {"source": [{"stage": "numbers", "key": source.key, "digest": source.digest}]}
    assert manifest["config"] == {"count": 3, "factor": 1}
    assert len(manifest["parts"]) == 3
    assert "seconds" not in manifest
    assert json.loads((squared.path / "_run" / "sidecar.json").read_text())["seconds"] > 0


def test_a_dry_run_says_what_would_be_built(run: Run, calls: Calls) -> None:
    numbers(CONFIG)
    run.plan = Plan()
    chain()
    assert [(step["stage"], step["state"]) for step in run.plan.steps] == [
        ("numbers", "reuse"),
        ("squares", "build"),
        ("total", "build"),
    ]
    assert run.plan.steps[2]["note"] == "unless its inputs come out as before"
    assert calls() == ["numbers"]


def test_a_dry_run_estimates_from_the_last_build_if_it_is_known(run: Run) -> None:
    before, _, _ = chain()
    run.plan = Plan()
    numbers(NumbersConfig(count=7))
    (before.path / "_run" / "sidecar.json").write_text("{")
    numbers(NumbersConfig(count=8))
    known, unknown = run.plan.steps
    assert known["estimated_from"] == before.name
    assert known["disk"] > 0
    assert known["seconds"] > 0
    assert unknown == {"stage": "numbers", "label": "numbers", "state": "build"}
