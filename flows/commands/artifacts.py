"""What the store holds: the list of artifacts, and one artifact with its lineage."""

from typing import Any

from tasks.lineage.ancestors import manifest_of
from tasks.machine import home
from tasks.stage import sidecar
from tasks.storage.files import read_json
from tasks.storage.shared import open_store
from tasks.store import Artifact, Store, StoreError


def list_artifacts(stage: str | None, parts: bool) -> list[dict[str, Any]]:
    """Artifacts on this machine, newest last.

    A shard's own artifact (stage `x.shard`, kind `part`) is listed only with `parts`.

    Raises:
        StoreError: there is none of that stage, and there are others.
    """
    found = []
    everything = list(Store(home.store_path()).list())
    stages = sorted({artifact.stage for artifact in everything})
    if stage is not None and stages and stage not in stages:
        raise StoreError(f"no artifact is of the stage {stage!r}; there are: {', '.join(stages)}")
    for artifact in everything:
        kind = "part" if "." in artifact.stage else "artifact"
        if (stage is None or artifact.stage == stage) and (parts or kind == "artifact" or artifact.stage == stage):
            found.append(_row(artifact, kind))
    return sorted(found, key=lambda row: row["created"])


def show(name: str) -> dict[str, Any]:
    """One artifact: manifest, counts, cost of its build, lineage back to the sources.

    Raises:
        StoreError: no artifact, or several, are meant by the name.
    """
    store = open_store()
    artifact = store.resolve(name)
    manifest = artifact.manifest()
    return {
        **_row(artifact, "part" if "." in artifact.stage else "artifact"),
        "report": str(report) if (report := artifact.path / "report.html").exists() else None,
        "counts": manifest["counts"],
        "seconds": _cost(artifact).get("seconds"),
        "peak_memory": _cost(artifact).get("peak_process_bytes"),
        "manifest": manifest,
        "lineage": lineage(store, artifact),
    }


def lineage(store: Store, artifact: Artifact) -> list[dict[str, Any]]:
    """Everything an artifact was made from, depth first; what was shown before is not followed again."""
    steps: list[dict[str, Any]] = []
    seen: set[str] = set()
    waiting = [(artifact.stage, artifact.key, "", 0)]  # no recursion: every night may add to a line of ancestors
    while waiting:
        stage, key, role, depth = waiting.pop()
        note = f"({role})" if role else ""
        step: dict[str, Any] = {"stage": stage, "key": key, "depth": depth, "role": role, "note": note}
        steps.append(step)
        if key in seen:
            step["note"] += " see above"
            continue
        seen.add(key)
        manifest = manifest_of(store, stage, key)
        if manifest is None:
            step["note"] += " collected"
            continue
        if stage == "ingest":
            files = manifest["counts"].get("files", 0)
            step["note"] += f" {files:,} source files in {len(manifest['parts'])} pieces"
        before = [(i["stage"], i["key"], name, depth + 1) for name, of in manifest["inputs"].items() for i in of]
        waiting += reversed(before)
    return steps


def _row(artifact: Artifact, kind: str) -> dict[str, Any]:
    return {
        "key": artifact.key,
        "kind": kind,
        "stage": artifact.stage,
        "content_digest": artifact.digest,
        "path": str(artifact.path),
        "bytes": _bytes(artifact),
        "created": _cost(artifact).get("created", (artifact.path / "manifest.json").stat().st_mtime),
    }


def _bytes(artifact: Artifact) -> int:
    """The size of an artifact's files, those of its parts (which other artifacts may share) included."""
    manifests = [directory / "manifest.json" for directory in (artifact.path, *artifact.part_directories())]
    there = [read_json(manifest) for manifest in manifests if manifest.exists()]  # a part may have been collected
    return sum(int(entry["bytes"]) for manifest in there for entry in manifest["files"])


def _cost(artifact: Artifact) -> dict[str, Any]:
    try:
        return sidecar(artifact)
    except FileNotFoundError:
        return {}  # a shard's own artifact has none
