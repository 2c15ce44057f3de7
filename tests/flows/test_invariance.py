"""The same content whatever the number of workers, the order in which inputs are given, and the store."""

import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from data_quality.config.sources import ShardConfig
from flows.config.pipeline import PipelineConfig
from flows.corpus import build_corpus
from flows.pipeline import build_all
from tasks.filter import dropped_tables, kept_tables
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.shared import store_at
from tests.tasks.tiny_corpus import configuration, write_documents

pytestmark = pytest.mark.heavy

MACHINE_INDEPENDENT = ("report",)  # tells of seconds


def digests(config: PipelineConfig, store: Path, workers: int, url: str | None = None) -> dict[str, str]:
    """The digest of every stage of a whole pipeline in a store of its own."""
    with use_run(Run(store_at(store, url), Resources(workers=workers, threads=1), Display(quiet=True))) as run:
        build_all(config)
    return {record.label: record.artifact.digest for record in run.records if record.stage not in MACHINE_INDEPENDENT}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("documents")
    write_documents(root)
    return root


@pytest.fixture(scope="module")
def expected(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return digests(configuration(documents), tmp_path_factory.mktemp("one") / "store", workers=1)


def test_other_shards_and_pieces_keep_drop_and_split_the_same(documents: Path, tmp_path: Path) -> None:
    config = configuration(documents)
    cut = {"shards": ShardConfig(max_rows=15, max_bytes=20_000), "piece_bytes": 12_000}
    small = config.model_copy(update={"ingest": config.ingest.model_copy(update=cut)})
    (whole, few), (pieces, many) = content(config, tmp_path / "a"), content(small, tmp_path / "b")
    assert many > 3 * few
    assert pieces == whole


def content(config: PipelineConfig, store: Path) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """What was kept, what was dropped and why, which part of the split each is in; and the number of kept shards."""
    with use_run(Run(store_at(store, None), Resources(workers=1, threads=1), Display(quiet=True))) as run:
        build_corpus(config)
    found = {record.stage: record.artifact for record in run.records}
    tables = {
        "kept": kept_tables(found["filter_corpus"]),
        "dropped": dropped_tables(found["filter_corpus"]),
        "split": [found["split"].file("split.parquet")],
    }
    rows = {
        name: sorted((row for path in paths for row in pq.read_table(path).to_pylist()), key=lambda row: row["id"])
        for name, paths in tables.items()
    }
    return rows, len(tables["kept"])


def test_two_workers_give_what_one_gives(documents: Path, expected: dict[str, str], tmp_path: Path) -> None:
    try:
        assert digests(configuration(documents), tmp_path / "store", workers=2) == expected
    finally:
        pool.shut_down()


def test_another_order_of_sources_and_files_changes_nothing(
    documents: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    files = sorted((path for path in documents.rglob("*") if path.is_file()), reverse=True)
    for number, path in enumerate(files):  # written in another order, with other times, in another place
        target = moved / path.relative_to(documents)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        os.utime(target, (1_000_000 + number, 1_000_000 + number))
    config = configuration(moved)
    reordered = config.model_copy(
        update={"ingest": config.ingest.model_copy(update={"sources": tuple(reversed(config.ingest.sources))})}
    )
    assert digests(reordered, tmp_path / "store", workers=1) == expected


def test_sources_and_store_on_s3_change_nothing(
    documents: Path, expected: dict[str, str], tmp_path: Path, bucket: str
) -> None:
    fsspec.filesystem("s3").put(str(documents), f"{bucket}/documents", recursive=True)
    config = configuration(documents)
    sources = [
        source.model_copy(update={"paths": (f"{bucket}/documents/{source.name}",)}) for source in config.ingest.sources
    ]
    config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"sources": tuple(sources)})})
    assert digests(config, tmp_path / "one", workers=1, url=f"{bucket}/store") == expected

    with use_run(Run(store_at(tmp_path / "two", f"{bucket}/store"), Resources(workers=1), Display(quiet=True))) as run:
        build_all(config)  # as on another machine
    assert {record.label: record.artifact.digest for record in run.records}.items() >= expected.items()
    assert {record.state for record in run.records} == {"cached"}
