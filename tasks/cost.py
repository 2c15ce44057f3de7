"""What a pipeline run cost and what it was spared: from its record and the sidecars of its artifacts."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.files import read_json, write_json
from tasks.integrity import RUN_DIRECTORY
from tasks.store import Store

SIDECAR = f"{RUN_DIRECTORY}/sidecar.json"
SIZES = "sizes.json"
"""In the store: bytes of each artifact by stage and key, so that they are summed without a look at each. Artifacts do
not change; those that have gone since are left out when it is next written."""


def run_cost(store: Store, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up a run's stages.jsonl.

    Returns:
        built, reused: stages. seconds, cpu_seconds, energy_joules: of what was built (None where nothing is known).
        saved_seconds: what the reused ones took when they were built. bytes: what the built ones hold, with their
        parts.
    """
    states: dict[tuple[str, str], str] = {}
    for event in events:
        name = event["stage"], event["key"]
        if event["state"] == "built" or (event["state"] == "cached" and states.get(name) != "built"):
            states[name] = event["state"]  # what an attempt built that was killed later, the next one finds
    built = [name for name, state in states.items() if state == "built"]
    reused = [name for name, state in states.items() if state == "cached"]
    sidecars = [_read(store, *name, SIDECAR) for name in built]
    spared = [_read(store, *name, SIDECAR).get("seconds") for name in reused]
    return {
        "built": len(built),
        "reused": len(reused),
        **{name: _sum(each.get(name) for each in sidecars) for name in ("seconds", "cpu_seconds", "energy_joules")},
        "saved_seconds": _sum(spared),
        "bytes": _bytes(store, built),
    }


def store_size(store: Store) -> dict[str, int]:
    """Artifacts (shards' own included) and their bytes; only manifests that were not there last time are read."""
    path = store.root / SIZES
    known: dict[str, dict[str, int]] = {}
    with suppress(FileNotFoundError, ValueError):
        known = read_json(path)
    found: dict[str, dict[str, int]] = {}
    for directory in store.artifacts.iterdir():
        before, sizes = known.get(directory.name, {}), {}
        for entry in directory.iterdir():
            size = before.get(entry.name)
            size = _own_bytes(entry / "manifest.json") if size is None else size
            if size is not None:
                sizes[entry.name] = size
        found[directory.name] = sizes
    if found != known:
        with suppress(PermissionError):  # a store that is only to be read
            write_json(path, found)
    return {
        "artifacts": sum(map(len, found.values())),
        "bytes": sum(sum(sizes.values()) for sizes in found.values()),
    }


def _bytes(store: Store, built: Iterable[tuple[str, str]]) -> int:
    whole = set(built)
    for stage, key in list(whole):
        manifest = _read(store, stage, key, "manifest.json")
        whole |= {(part["stage"], part["key"]) for part in manifest.get("parts", [])}
    sizes = (_own_bytes(store.artifacts / stage / key / "manifest.json") for stage, key in sorted(whole))
    return sum(size for size in sizes if size is not None)


def _own_bytes(manifest: Path) -> int | None:
    try:
        return sum(int(entry["bytes"]) for entry in read_json(manifest)["files"])
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None  # collected since, or damaged: whoever needs it next says so


def _read(store: Store, stage: str, key: str, name: str) -> dict[str, Any]:
    path = store.artifacts / stage / key / name
    try:
        return dict(read_json(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _sum(values: Iterable[float | None]) -> float | None:
    """Of those that are known, in their order; None if none is."""
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None
