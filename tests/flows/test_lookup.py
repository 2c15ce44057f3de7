"""One table among many: that of a shard, all where documents were cut otherwise, and a sentence where one is gone."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.commands.lookup import tables_for, tables_with, with_parts
from tasks.store import Artifact, Store, StoreError, artifact_key

MANIFEST = {"inputs": {}, "parts": [], "shards": [], "counts": {}, "config": {}, "version": 1, "libraries": {}}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """An artifact of two parts, with documents a and b, and c."""
    store = Store(tmp_path / "store")
    monkeypatch.setattr("flows.commands.lookup.open_store", lambda: store)
    parts = []
    for name, ids in (("first", ["a", "b"]), ("second", ["c"])):
        key = artifact_key("signals.shard", 1, name, {}, {})
        directory = store.partial_directory("signals.shard", key)
        pq.write_table(pa.table({"id": ids}), directory / "signals.parquet")
        shards = [{"path": "signals.parquet", "digest": name, "counts": {}}]
        store.publish(directory, {**MANIFEST, "stage": "signals.shard", "key": key, "shards": shards})
        parts.append({"stage": "signals.shard", "key": key, "digest": name})
    key = artifact_key("signals", 1, "all", {}, {})
    whole = {**MANIFEST, "stage": "signals", "key": key, "parts": parts}
    return store.publish(store.partial_directory("signals", key), whole)


def test_the_table_of_the_shard_has_it(measured: Artifact) -> None:
    first, second = (shard.path for shard in measured.shards())
    assert tables_with(measured, 0, "b") == tables_for(measured, 0) == [first]
    assert tables_with(measured, 1, "c") == [second]


def test_documents_that_were_cut_otherwise_are_looked_for_in_all(measured: Artifact) -> None:
    every = [shard.path for shard in measured.shards()]
    assert tables_with(measured, 0, "c") == every
    assert tables_for(measured, 2) == every


def test_a_part_that_is_gone_is_a_sentence(measured: Artifact) -> None:
    shutil.rmtree(measured.shards()[1].path.parent)
    with pytest.raises(StoreError, match=f"a part of {measured.name} is gone: run its flow again"):
        tables_for(measured, 1)
    assert len(tables_for(measured, 0)) == 1
    with pytest.raises(StoreError, match=f"a part of {measured.name} is gone: run its flow again"):
        with_parts(measured)
    assert not measured.path.exists()  # set aside, so that its flow makes it anew
