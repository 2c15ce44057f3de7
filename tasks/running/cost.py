"""What a pipeline run cost and what it was spared: from its record and the sidecars of its artifacts."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.storage.files import read_json, write_json
from tasks.storage.integrity import read_sealed
from tasks.storage.sidecar import SIDECAR
from tasks.store import Store

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
    sidecars = [_sidecar(store, *name) for name in built]
    spared = [_sidecar(store, *name).get("seconds") for name in reused]
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
    with suppress(FileNotFoundError, ValueError, TypeError, RecursionError):  # a damaged one is summed up anew
        known = {stage: dict(sizes) for stage, sizes in dict(read_json(path)).items()}
    found: dict[str, dict[str, int]] = {}
    for directory in store.artifacts.iterdir():
        before, sizes = known.get(directory.name, {}), {}
        for entry in directory.iterdir():
            if entry.name in before:
                sizes[entry.name] = before[entry.name]
            elif measured := _size_and_parts(entry):
                sizes[entry.name] = measured[0]
        found[directory.name] = sizes
    if found != known:
        with suppress(PermissionError):  # a store that is only to be read
            write_json(path, found)
    return {
        "artifacts": sum(map(len, found.values())),
        "bytes": sum(sum(sizes.values()) for sizes in found.values()),
    }


def _bytes(store: Store, built: Iterable[tuple[str, str]]) -> int:
    sizes: dict[tuple[str, str], int] = {}
    waiting = list(built)
    while waiting:
        stage, key = waiting.pop()
        if (stage, key) not in sizes:
            size, parts = _size_and_parts(store.artifacts / stage / key) or (0, [])
            sizes[stage, key] = size
            waiting += parts
    return sum(sizes.values())


def _size_and_parts(directory: Path) -> tuple[int, list[tuple[str, str]]] | None:
    """Bytes of an artifact's own files, and its parts; None: collected since, or damaged, and whoever needs it next
    says so."""
    try:
        manifest = read_json(directory / "manifest.json")
        size = sum(int(entry["bytes"]) for entry in manifest["files"])
        return size, [(part["stage"], part["key"]) for part in manifest["parts"]]
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _sidecar(store: Store, stage: str, key: str) -> dict[str, Any]:
    """Empty if there is none (a part, or collected since), or it is damaged: what it said is then not known."""
    try:
        return read_sealed(store.artifacts / stage / key / SIDECAR)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _sum(values: Iterable[float | None]) -> float | None:
    """Of those that are known, in their order; None if none is."""
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None
