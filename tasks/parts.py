"""Per-shard work: one key per shard, only missing shards become work, and each is an artifact of its own.

A shard that turns up again in another corpus is found under its key, so that a refresh computes only what is new.
The worker builds and publishes; this process only looks up, hands out and collects.
"""

import errno
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.pool import map_in_processes
from tasks.stage import Keyed, Work
from tasks.store import SCRATCH_DIRECTORY, Artifact, Store, artifact_key

PartFunction = Callable[..., dict[str, Any]]


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
) -> list[Artifact]:
    """Find or build every part in a process pool, and record them, in order, as the parts of the artifact in work.

    Args:
        stage: the name under which parts are kept, such as `normalize.shard`.
        function: module-level; called as `function(directory, *arguments)`, writes files, returns
            `{"counts": {...}, "shards": [{"path", "digest", "counts"}], "digest": str | None}`.
        unit: what the weights count.

    Returns:
        The parts' artifacts in the order of `parts`.
    """
    versions = {name: importlib.metadata.version(name) for name in libraries}
    keys = [artifact_key(stage, version, part.material, versions, {}) for part in parts]
    work.store.need(work.directory, stage, ((stage, key) for key in keys))
    found = work.store.find_all(stage, keys)
    advance = work.progress.start(sum(part.weight for part in parts), unit)
    missing = {key: part for key, part in zip(keys, parts, strict=True) if key not in found}
    advance(sum(part.weight for key, part in zip(keys, parts, strict=True) if key in found))
    items = []
    for key, part in missing.items():
        manifest = {
            "stage": stage,
            "version": version,
            "key": key,
            "libraries": versions,
            "config": part.material,
        }
        items.append((function, str(work.store.root), manifest, part.arguments))

    def collect(index: int, artifact: Artifact) -> None:
        work.store.trust(artifact)
        found[artifact.key] = artifact
        advance(missing[artifact.key].weight)

    map_in_processes(build_part, items, work.resources.workers, collect)
    artifacts = [found[key] for key in keys]
    work.parts.extend({"stage": a.stage, "key": a.key, "digest": a.digest} for a in artifacts)
    for artifact in artifacts:
        for name, value in artifact.counts().items():
            work.counts[name] = work.counts.get(name, 0) + value
    return artifacts


def build_part(function: PartFunction, root: str, manifest: dict[str, Any], arguments: tuple[Any, ...]) -> Artifact:
    """Build one part and publish it; runs in a worker process."""
    store = Store(Path(root))
    partial = store.partial / f"{manifest['stage']}-{manifest['key']}-{os.getpid()}"
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


def shard_parts(corpus: Artifact, config: BaseModel, material: Any = None) -> list[Part]:
    """One part for every shard of a corpus, determined by the shard's content and the config.

    Args:
        material: what of the config shapes a part, JSON-able; None means all of it, or what it says itself (`Keyed`).
    """
    if material is None:
        material = config.key_material() if isinstance(config, Keyed) else config.model_dump(mode="json")
    return [Part({"config": material, "shard": shard.digest}, (str(shard.path), config)) for shard in corpus.shards()]
