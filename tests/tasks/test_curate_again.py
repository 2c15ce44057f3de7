"""A corpus night by night: what comes out is what a run over everything gives, and only what changed is made again."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_quality.views import write_views
from flows.corpus import curate
from tasks.filter import dropped_tables, kept_tables
from tasks.lineage.curated import Curated
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import configuration, prose, write_documents

pytestmark = pytest.mark.heavy

POLICY = "Read our privacy policy and our terms of use before you plant anything here."
SHARD_BYTES = 12_000


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[Path]:
    """Four documents share a line; it takes six to make it boilerplate."""
    write_documents(tmp_path / "documents")
    for path in sorted((tmp_path / "documents" / "gardens").glob("0[0-3].txt")):
        path.write_text(f"{path.read_text()}\n{POLICY}\n")
    yield tmp_path / "documents"
    pool.shut_down()


def night(documents: Path, store: Path) -> tuple[Curated, Store]:
    sources = configuration(documents).ingest.model_dump(mode="json")["sources"]
    config = configuration(
        documents,
        ingest={"sources": sources, "shards": {"max_bytes": SHARD_BYTES}},
        lines={"enabled": True, "min_documents": 6, "min_share": None},
        rules={"rulesets": ["gopher_quality"], "drop": {"ids": ["harbours:no-such-document"]}},
        substring={"enabled": True},
    )
    run = Run(Store(store), Resources(workers=1, threads=1), Display(quiet=True))
    with use_run(run):
        return curate(config), run.store


def digests(made: Curated) -> list[tuple[str, str]]:
    values = [value if isinstance(value, list) else [value] for value in vars(made).values()]
    return [(artifact.stage, artifact.digest) for artifacts in values for artifact in artifacts]


def texts(made: Curated) -> dict[str, str]:
    tables = [str(path) for path in kept_tables(made.kept)]
    return {row["id"]: row["text"] for row in rows("SELECT id, text FROM read_parquet(?)", [tables])}


def parts(store: Store, stage: str) -> set[str]:
    return {artifact.key for artifact in store.list(f"{stage}.shard")}


def shards(made: Artifact) -> int:
    return len(made.shards())


def test_nights_end_where_a_run_over_everything_does(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reused: list[bool] = []

    def watched(*given: Any, **named: Any) -> Any:
        reused.append(given[-1] is not None)
        return write_views(*given, **named)

    monkeypatch.setattr("data_quality.views.write_views", watched)
    draw = random.Random(7)
    before, store = night(documents, tmp_path / "store")
    assert POLICY in texts(before)["gardens:00.txt"]
    built = {stage: parts(store, stage) for stage in ("judge", "boilerplate", "decide", "profile", "filter")}
    assert shards(before.decisions) > 5

    harbour = (documents / "harbours" / "20.txt").read_text()
    (documents / "harbours" / "longer.txt").write_text(f"{harbour} And the tide turns once more.")
    for number in range(2):
        (documents / "gardens" / f"new-{number}.txt").write_text(f"{prose(draw, 'gardens')}\n{POLICY}\n")
    (documents / "gardens" / "24.txt").unlink()
    reused.clear()
    after, _ = night(documents, tmp_path / "store")
    assert any(reused)  # a part takes what it can from the views of the night before
    whole, _ = night(documents, tmp_path / "whole")

    assert digests(after) == digests(whole)
    assert texts(after) == texts(whole)
    for tables in (kept_tables, dropped_tables):
        assert [path.read_bytes() for path in tables(after.kept)] == [path.read_bytes() for path in tables(whole.kept)]
    now = texts(after)
    assert POLICY not in now["gardens:01.txt"]  # it is boilerplate since two more have it
    assert "harbours:20.txt" not in now  # a longer one has come
    for stage, known in built.items():
        anew = parts(store, stage) - known
        assert 1 < len(anew) < shards(after.decisions), stage


def test_what_changes_a_twin_alone_is_decided_in_its_shard_alone(documents: Path, tmp_path: Path) -> None:
    _, store = night(documents, tmp_path / "store")
    built = {stage: parts(store, stage) for stage in ("judge", "decide", "filter")}
    original = (documents / "gardens" / "original.txt").read_text()
    (documents / "harbours" / "longest.txt").write_text(f"{original} And that is all there is to say.")
    after, _ = night(documents, tmp_path / "store")
    reasons = rows(
        "SELECT id, twin FROM read_parquet(?) WHERE twin = 'harbours:longest.txt' ORDER BY id",
        [[str(shard.path) for shard in after.decisions.shards()]],
    )
    assert {row["id"] for row in reasons} == {f"gardens:{n}.txt" for n in ("copy", "nearly", "original")} | {
        "harbours:copy.txt"
    }
    anew = {stage: len(parts(store, stage) - known) for stage, known in built.items()}
    assert anew["judge"] < anew["decide"] == anew["filter"] < shards(after.decisions)
