"""Per-shard work: one key per shard, only missing shards become work, and each is an artifact of its own.

A shard that turns up again in another corpus is found under its key, so that a refresh computes only what is new.
The worker builds and publishes; this process only looks up, hands out and collects.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.machine.host import HOST, process_mark
from tasks.running.call import Keyed
from tasks.running.cluster import map_in_batches
from tasks.running.pool import map_locally
from tasks.running.tables import score_tables
from tasks.running.versions import library_versions
from tasks.running.work import Work
from tasks.storage.files import file_sha256, read_json
from tasks.storage.shared import store_at
from tasks.store import SCRATCH_DIRECTORY, Artifact, Store, StoreError, artifact_key

FEW_FOR_TASKS = 12  # light parts that are not worth a task of a cluster
PartFunction = Callable[..., dict[str, Any]]

NOT_SHARED = (
    "machines of one cluster need a store in common: a directory that all of them see at this path, or an object store "
    "(resources.store, TEXTMILL_STORE)"
)


@dataclass(frozen=True)
class Part:
    """One item of per-shard work.

    Attributes:
        material: what, beside stage, version and libraries, determines the result (config, the input's digest).
        arguments: handed to the function after the directory it writes to.
        weight: bytes or documents, for the progress bar.
    """

    material: Any
    arguments: tuple[Any, ...]
    weight: int = 1


def build_parts(
    work: Work,
    stage: str,
    version: int,
    function: PartFunction,
    parts: Sequence[Part],
    *,
    libraries: tuple[str, ...] = (),
    unit: str = "shards",
    light: bool = False,
) -> list[Artifact]:
    """Find or build every part, and record them, in order, as the parts of the artifact in work.

    Where they are built is `resources.runner`'s choice: processes or threads of this machine, or a Dask cluster, whose
    tasks cost more than a few light parts.

    Args:
        stage: the name under which parts are kept, such as `normalize.shard`.
        function: module-level; called as `function(directory, *arguments)`, writes files, returns
            `{"counts": {...}, "shards": [{"path", "digest", "counts"}], "digest": str | None}`.
        unit: what the weights count.
        light: whether a part takes a tenth of a second or so (`map_in_processes`).

    Returns:
        The parts' artifacts in the order of `parts`.
    """
    versions = library_versions(libraries)
    keys = [artifact_key(stage, version, part.material, versions, {}) for part in parts]
    work.store.need(work.directory, stage, ((stage, key) for key in keys))
    # hashed, for a stage may read them while it is built; a corrupt one is set aside and made anew
    there = work.store.find_all(stage, keys)
    sound = zip(there.items(), work.store.verify_all(list(there.values())), strict=True)
    found = {key: part for (key, part), is_sound in sound if is_sound}
    advance = work.progress.start(sum(part.weight for part in parts), unit)
    missing = {key: part for key, part in zip(keys, parts, strict=True) if key not in found}
    advance(sum(part.weight for key, part in zip(keys, parts, strict=True) if key in found))
    manifests = [
        {"stage": stage, "version": version, "key": key, "libraries": versions, "config": part.material}
        for key, part in missing.items()
    ]
    where = (str(work.store.root), work.store.url)

    def collect(artifact: Artifact) -> None:
        work.store.trust(artifact)
        found[artifact.key] = artifact
        advance(missing[artifact.key].weight)

    todo = list(zip(manifests, missing.values(), strict=True))
    started = time.perf_counter()
    if work.resources.runner == "dask" and not (light and len(todo) <= FEW_FOR_TASKS):
        items = [(function, *where, manifest, _portable(work.store, part.arguments)) for manifest, part in todo]
        weights = [part.weight for part in missing.values()]
        keys_by_index = list(missing)

        def fetch(index: int, host: str) -> None:
            key = keys_by_index[index]
            collect(_fetched(work.store, stage, key, host))

        label = stage.replace("_", " ").replace(".", " ")
        work.workers |= map_in_batches(
            build_part_there, items, weights, work.resources, label, fetch, work.flow_context
        )
    else:
        items = [(function, *where, manifest, part.arguments) for manifest, part in todo]
        map_locally(work.resources.runner)(
            build_part, items, work.resources.workers, lambda index, artifact: collect(artifact), light
        )
    work.parts_seconds += time.perf_counter() - started
    artifacts = [found[key] for key in keys]
    work.parts.extend({"stage": a.stage, "key": a.key, "digest": a.digest} for a in artifacts)
    for artifact in artifacts:
        for name, value in artifact.counts().items():
            work.counts[name] = work.counts.get(name, 0) + value
    return artifacts


def build_part(
    function: PartFunction, root: str, url: str | None, manifest: dict[str, Any], arguments: tuple[Any, ...]
) -> Artifact:
    """Build one part and publish it; runs in a worker process or thread."""
    store = store_at(Path(root), url)
    partial = store.partial / f"{manifest['stage']}-{manifest['key']}-{process_mark()}"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / SCRATCH_DIRECTORY).mkdir(parents=True)
    result = function(partial, *arguments)
    whole = {
        **manifest,
        "digest": result.get("digest"),
        "inputs": {},
        "parts": [],
        "shards": result["shards"],
        "counts": result["counts"],
    }
    while True:
        try:
            return store.publish(partial, whole)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        other = store.find(manifest["stage"], manifest["key"])  # another run built the same part meanwhile
        if other is not None:
            shutil.rmtree(partial)
            return other


def build_part_there(
    function: PartFunction, root: str, url: str | None, manifest: dict[str, Any], arguments: tuple[Any, ...]
) -> str:
    """The same in a worker of a cluster, maybe on another machine. Returns the name of its host.

    The store's directory is the same path there: on a file system that the machines share, or, with a URL, that
    machine's own cache. A part that is there already, as after the death of another worker, is not built again.
    """
    store = store_at(Path(root), url)
    if store.find(manifest["stage"], manifest["key"]) is None:
        build_part(function, root, url, manifest, _here(store, arguments))
    return HOST


@dataclass(frozen=True)
class InStore:
    """A path inside an artifact, as an argument for a machine that may have to fetch the artifact first."""

    stage: str
    key: str
    inside: str
    kind: type


def _portable(store: Store, value: Any) -> Any:
    """Arguments with every path inside the store's artifacts replaced by an `InStore`."""
    if isinstance(value, tuple | list):
        return type(value)(_portable(store, item) for item in value)
    if not isinstance(value, str | Path) or not str(value).startswith(f"{store.artifacts}{os.sep}"):
        return value
    stage, key, *inside = Path(value).relative_to(store.artifacts).parts
    return InStore(stage, key, str(Path(*inside)), str if isinstance(value, str) else Path)


def _here(store: Store, value: Any) -> Any:
    """Arguments with every `InStore` replaced by the path on this machine.

    Raises:
        StoreError: the artifact is neither here nor in the shared store.
    """
    if isinstance(value, tuple | list):
        return type(value)(_here(store, item) for item in value)
    if not isinstance(value, InStore):
        return value
    artifact = store.find(value.stage, value.key)
    if artifact is None:
        raise StoreError(f"{HOST} cannot read {value.stage}/{value.key[:12]} at {store.root}: {NOT_SHARED}")
    return value.kind(artifact.path / value.inside)


def _fetched(store: Store, stage: str, key: str, host: str) -> Artifact:
    artifact = store.find(stage, key)
    if artifact is None:
        raise StoreError(f"{stage}/{key[:12]} was built on {host} and is not seen here at {store.root}: {NOT_SHARED}")
    return artifact


def shard_parts(corpus: Artifact, config: BaseModel, material: Any = None) -> list[Part]:
    """One part for every shard of a corpus, determined by the shard's content and the config.

    Args:
        material: what of the config shapes a part, JSON-able; None means all of it, or what it says itself (`Keyed`).
    """
    if material is None:
        material = config.key_material() if isinstance(config, Keyed) else config.model_dump(mode="json")
    return [Part({"config": material, "shard": shard.digest}, (str(shard.path), config)) for shard in corpus.shards()]


def made_of(measured: Artifact) -> list[Any]:
    """The digest of the shard of documents that each table of an artifact was made of."""
    own = [entry.get("of") for entry in measured.manifest()["shards"]]
    return own + [read_json(part / "manifest.json")["config"].get("shard") for part in measured.part_directories()]


def tables_beside(shards: Sequence[Any], measured: Artifact) -> list[tuple[str, list[str]]]:
    """For every shard of documents, by its digest, the tables that have its documents: their digest and their paths.

    As a rule what measured a corpus is cut as the corpus is. The same documents may also be cut into other shards
    there, or stand in one table: then each shard looks its documents up in all of it.
    """
    if made_of(measured) == list(shards):
        return [(table.digest, [str(table.path)]) for table in measured.shards()]
    return [(measured.digest, [str(path) for path in score_tables(measured)])] * len(shards)


def digests(corpus: Artifact) -> list[str]:
    """Those of its shards."""
    return [shard.digest for shard in corpus.shards()]


def one_table(path: Path, counts: dict[str, Any]) -> dict[str, Any]:
    """The result of a part that wrote one table."""
    return {"counts": counts, "shards": [{"path": path.name, "digest": file_sha256(path), "counts": counts}]}
