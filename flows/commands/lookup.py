"""Finding things in a filtered corpus: the artifacts that it was made from, and one document among millions."""

import json
from pathlib import Path
from typing import Any

from tasks.decide import INDEX, hash_of
from tasks.running.tables import rows, score_tables
from tasks.storage.remote_folder import MANIFEST
from tasks.storage.shared import open_store
from tasks.store import Artifact, StoreError

FILTERED = "filter_corpus"
MADE_BY = "textmill clean"  # says the manifest of a folder that it wrote


def filtered_corpus(name: str | None) -> Artifact:
    """A corpus with its decisions, by name or by the folder that `textmill clean` wrote of it; the newest for None.

    Raises:
        StoreError: there is none, the name is that of another kind of artifact, or the folder's corpus is not here.
    """
    store = open_store()
    if name and (manifest := cleaned(Path(name))):
        [key] = [artifact["key"] for artifact in manifest["artifacts"] if artifact["stage"] == FILTERED]
        kept = store.find(FILTERED, key)
        if kept is None:
            raise StoreError(f"{name} was written of {FILTERED}/{key[:12]}, which is not in the store at {store.root}")
        return kept
    kept = store.resolve(name) if name else store.newest(FILTERED)
    if kept is None:
        raise StoreError("there is no filtered corpus yet: `textmill run CONFIG` makes one")
    if kept.stage != FILTERED:
        raise StoreError(f"{kept.name} is no filtered corpus; `textmill ls {FILTERED}` lists them")
    return kept


def cleaned(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says that `textmill clean` wrote; empty where there is none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return dict(found) if found["made_by"] == MADE_BY else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def input_of(artifact: Artifact, name: str, stage: str | None = None) -> Artifact:
    """An artifact's input by the name that its stage gives it; where there are several, the first (of a stage). Its
    parts are not looked at: `tables_for` finds one, `with_parts` all.

    Raises:
        StoreError: it was collected.
    """
    inputs = artifact.manifest()["inputs"].get(name, [])
    item = next((item for item in inputs if stage in (None, item["stage"])), None)
    if item is None:
        raise StoreError(
            f"{artifact.name} was made without {stage or name}, perhaps by an earlier version: run its flow again"
        )
    found = open_store().find(item["stage"], item["key"], parts=False)
    if found is None:
        raise StoreError(
            f"{artifact.name} was made from {item['stage']}/{item['key'][:12]}, which was collected: run its flow again"
        )
    return found


def with_parts(artifact: Artifact) -> Artifact:
    """The artifact, whose parts are on this machine then, though it may have come from a shared store.

    Raises:
        StoreError: one of them is gone.
    """
    store = open_store()
    store.fetch_parts(artifact)
    if store.find(artifact.stage, artifact.key) is None:
        raise StoreError(f"a part of {artifact.name} is gone: run its flow again")
    return artifact


def scores_of(verdicts: Artifact) -> list[Artifact]:
    """The scores that verdicts were made from."""
    inputs = verdicts.manifest()["inputs"].get("scores", [])
    return [input_of(verdicts, "scores", item["stage"]) for item in inputs]


def shard_of(decisions: Artifact, document: str) -> int | None:
    """The number of the shard that holds a document; None: nothing was decided about one of that id.

    The index is sorted by the hash of the id (tasks/decide.py), so that one row group of it is read.
    """
    asked = [str(decisions.file(INDEX)), hash_of(document)]
    found = rows("SELECT DISTINCT shard FROM read_parquet(?) WHERE hash = ?::UBIGINT", asked)
    for row in found:  # more than one only where two ids have one hash
        [table] = map(str, tables_for(decisions, row["shard"]))
        if rows("SELECT 1 FROM read_parquet(?) WHERE id = ?", [table, document]):
            return int(row["shard"])
    return None


def tables_for(artifact: Artifact, shard: int) -> list[Path]:
    """The table of a per-shard artifact that belongs to a shard of its corpus; all, where that cannot be told.

    Raises:
        StoreError: it is gone.
    """
    manifest = artifact.manifest()
    if shard < len(manifest["shards"]):
        return [artifact.path / manifest["shards"][shard]["path"]]
    parts = manifest["parts"]
    if shard >= len(parts):
        return score_tables(artifact)
    part = open_store().find(parts[shard]["stage"], parts[shard]["key"])  # fetched, if it is only in a shared store
    if part is None:
        raise StoreError(f"a part of {artifact.name} is gone: run its flow again")
    return [table.path for table in part.shards()]


def tables_with(artifact: Artifact, shard: int, document: str) -> list[Path]:
    """The table of a per-shard artifact that has a document of a shard; all of them, where that one has it not: the
    same documents may have been cut otherwise where they were measured."""
    tables = tables_for(artifact, shard)
    if rows("SELECT 1 FROM read_parquet(?) WHERE id = ? LIMIT 1", [list(map(str, tables)), document]):
        return tables
    return score_tables(with_parts(artifact))
