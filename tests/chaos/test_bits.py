"""One bit flipped in every kind of file: found by its hash, rebuilt or refused by name, and never used."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.lineage.gc import find_garbage
from tasks.running.heartbeat import read_run
from tasks.running.journal import Journal, history, noted_stages
from tasks.running.run_records import dead_runs, run_records, untold_runs
from tasks.stage import sidecar
from tasks.storage.integrity import RUN_DIRECTORY
from tasks.storage.lease import parse_lease
from tasks.store import Artifact, Store, StoreError
from tests.asked import Answer, Ask
from tests.chaos.bits import flip, flip_in_every_artifact, kind_of, mended, one_of_each_kind
from tests.chaos.checks import problems


@pytest.fixture
def copied(undisturbed: Callable[[str], Answer], tmp_path: Path) -> Path:
    """The home of a finished run, to be damaged."""
    return shutil.copytree(undisturbed("all")["home"], tmp_path / "home", symlinks=True)


def test_a_flipped_bit_in_any_file_of_an_artifact_is_found(copied: Path) -> None:
    draw, root = random.Random(5), copied / "store"
    kinds = one_of_each_kind(root)
    assert len(kinds) > 50
    for file in kinds.values():
        directory = root / "artifacts" / Path(*file.relative_to(root / "artifacts").parts[:2])
        artifact = Artifact(directory.parent.name, directory.name, "", directory)
        back = flip(file, draw)
        store = Store(root)  # a process of its own: nothing is known to be good yet
        assert not store.verify(artifact), file
        (aside,) = [path for path in store.aside.iterdir() if artifact.key in path.name]
        os.rename(aside, directory)
        back()
        assert Store(root).verify(artifact), file


def test_bits_flipped_in_every_artifact_at_once_are_mended(
    mill: Ask, undisturbed: Callable[[str], Answer], copied: Path
) -> None:
    """The long form, benchmarks/chaos.py, has the other scopes, too."""
    flip_in_every_artifact(copied / "store", random.Random(6))
    for again in mended(mill, copied, scope="all")[0]:
        assert again["exit"] == 0, again.get("traceback")
        assert again["digests"] == undisturbed("all")["digests"]
    assert problems(copied / "store") == []


def test_a_damaged_part_is_not_taken_into_a_new_artifact(
    mill: Ask, undisturbed: Callable[[str], Answer], tmp_path: Path
) -> None:
    """A stage reads its parts while it is built: those that are reused are hashed before."""
    mill(tmp_path, scope="corpus")
    artifacts = tmp_path / "store" / "artifacts"
    for part in sorted((artifacts / "ingest.piece").iterdir()):
        flip(part / "skipped.parquet", random.Random(1))
    shutil.rmtree(artifacts / "ingest")
    again = mill(tmp_path, scope="corpus")
    assert again["exit"] == 0, again.get("traceback")
    assert again["digests"] == undisturbed("corpus")["digests"]
    assert problems(tmp_path / "store") == []


def refusal(read: Callable[[], object]) -> str | None:
    """What the store says where it does not read something; any other error fails the test."""
    try:
        read()
    except StoreError as error:
        return str(error)
    return None


def test_damaged_records_are_passed_over_or_refused_by_name(copied: Path) -> None:
    """What is not part of any digest: run records, journals, sidecars, stamps, aliases, notes of what is needed."""
    draw, root = random.Random(7), copied / "store"
    store = Store(root)
    artifact = store.list("normalize")[0]
    store.set_alias("best", artifact)
    partial = store.partial_directory("numbers", "k" * 32)
    (partial / "_scratch").mkdir()
    store.need(partial, "inputs", [(artifact.stage, artifact.key)])
    (run,) = store.runs.iterdir()
    ask: dict[Path, Callable[[], object]] = {
        run / "run.json": lambda: [read_run(run), dead_runs(run_records(store)), untold_runs(run_records(store))],
        run / "stages.jsonl": lambda: list(noted_stages(run)),
        run / "journal.jsonl": lambda: [history(run / "journal.jsonl"), Journal(run).close()],
        root / "aliases" / "best.json": store.aliases,
        artifact.path / RUN_DIRECTORY / "sidecar.json": lambda: sidecar(artifact),
        artifact.path / RUN_DIRECTORY / "stamps.json": lambda: store.find(artifact.stage, artifact.key),
        artifact.path / "manifest.json": lambda: store.list("normalize"),
        partial / "_scratch" / "needs-inputs.json": lambda: list(store.needed(partial)),
    }
    for path, read in ask.items():
        for _ in range(60):
            back = flip(path, draw)
            said = refusal(lambda: [read(), find_garbage(store, keep_runs=1, grace_seconds=0.0)])  # noqa: B023
            assert said is None or (str(path) in said and re.search("remove|run .* again", said)), said
            back()


def test_a_sidecar_with_another_figure_is_refused(copied: Path) -> None:
    store = Store(copied / "store")
    artifact = store.list("normalize")[0]
    path = artifact.path / RUN_DIRECTORY / "sidecar.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "seconds": record["seconds"] + 1}))
    with pytest.raises(StoreError, match=r"sidecar\.json is damaged: remove .* run it again"):
        sidecar(artifact)
    del record["checksum"]
    path.write_text(json.dumps(record))  # of a version before there was one
    assert sidecar(artifact) == record


def test_no_damaged_lease_stops_a_builder() -> None:
    draw = random.Random(8)
    whole = b'{"holder": "ab", "host": "elsewhere", "pid": 17, "created": "boot/12", "expires": 1e9}'
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        lease = parse_lease(bytes(damaged))
        assert lease is None or isinstance(lease["expires"], int | float)


def test_kinds_are_told_by_stage_and_name() -> None:
    root = Path("/s/artifacts")
    assert kind_of(root / "tokens.shard" / ("a" * 32) / "00003.parquet", root) == "tokens.shard/N.parquet"
