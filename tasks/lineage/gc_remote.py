"""Garbage collection on a store that several machines share: manifests nobody needs, and uploads that never ended.

Roots are the aliases there and the runs there (each machine's runs say what they use, with a heartbeat). Nothing that
is published is removed while a run is alive on any machine: what a build under way has found is known to that machine
only. What a killed upload left is never read by anyone, and goes after the grace period in any case.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.lineage.forgotten import retired_there
from tasks.lineage.gc import GRACE_SECONDS, KEEP_RUNS
from tasks.running.heartbeat import is_alive
from tasks.storage.lease import LEASES, expired, parse_lease
from tasks.storage.remote import ASIDE, FILES, MANIFESTS, RUNS, Remote

Listing = dict[str, tuple[int, float]]


@dataclass(frozen=True)
class RemoteGarbage:
    """Objects that may be removed together, the one that makes the others visible first."""

    name: str
    kind: str  # "artifact" | "upload" | "lease" | "aside" | "run"
    objects: tuple[str, ...]
    bytes: int
    age_seconds: float


def find_remote_garbage(
    remote: Remote, *, keep_runs: int = KEEP_RUNS, grace_seconds: float = GRACE_SECONDS
) -> list[RemoteGarbage]:
    """What `collect_remote` would remove, largest first.

    Args:
        keep_runs: the newest runs of all machines whose artifacts stay.
        grace_seconds: what was written more recently stays. (An object store does not know when a thing was read.)
    """
    now = time.time()
    everything = remote.objects.listing("")
    found: list[RemoteGarbage] = []

    def add(name: str, kind: str, objects: Iterable[str]) -> None:
        objects = tuple(objects)
        age = now - max(everything[o][1] for o in objects)
        if age >= grace_seconds:
            found.append(RemoteGarbage(name, kind, objects, sum(everything[o][0] for o in objects), age))

    attempts = _attempts(everything)
    manifests = {name for name in everything if name.startswith(f"{MANIFESTS}/") and name.endswith(".json")}
    runs = _runs(remote, everything)
    kept = set(list(runs)[:keep_runs])
    alive = any(is_alive(record) for record in runs.values())
    reachable = None if alive else _reachable(remote, [runs[name] for name in kept])
    for (stage, key), uploads in attempts.items():
        manifest = f"{MANIFESTS}/{stage}/{key}.json"
        named = _named_attempt(remote, stage, key, uploads) if manifest in manifests else None
        for upload, objects in uploads.items():
            if upload != named:
                add(f"{FILES}/{stage}/{key}/{upload}", "upload", objects)
    for manifest in manifests:
        _, stage, file = manifest.split("/")
        key = file.removesuffix(".json")
        if reachable is not None and (stage, key) not in reachable:
            uploads = attempts.get((stage, key), {})
            attempt = _named_attempt(remote, stage, key, uploads)
            add(manifest, "artifact", [manifest, *uploads.get(attempt or "", [])])
    for name in everything:
        kind = name.partition("/")[0]
        if kind == LEASES and _is_over(remote, name, now):
            add(name, "lease", [name])
        elif kind == ASIDE:
            add(name, "aside", [name])
        elif kind == RUNS and name not in kept and not is_alive(runs.get(name, {})):
            add(name, "run", [name])
    return sorted(found, key=lambda item: (-item.bytes, item.name))


def collect_remote(remote: Remote, garbage: list[RemoteGarbage], *, keep_runs: int, grace_seconds: float) -> int:
    """Remove what `find_remote_garbage` found, if it still is garbage. Returns the bytes freed."""
    still = {item.name for item in find_remote_garbage(remote, keep_runs=keep_runs, grace_seconds=grace_seconds)}
    freed = 0
    for item in garbage:
        if item.name in still:
            for name in item.objects:
                remote.objects.remove(name)
            freed += item.bytes
    return freed


def _attempts(everything: Listing) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Uploaded files by (stage, key) and attempt."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name in everything:
        if name.startswith(f"{FILES}/"):
            _, stage, key, attempt, _ = name.split("/", 4)
            found.setdefault((stage, key), {}).setdefault(attempt, []).append(name)
    return found


def _named_attempt(remote: Remote, stage: str, key: str, uploads: dict[str, list[str]]) -> str | None:
    """The attempt that the manifest names; it is read only where there is a choice."""
    if len(uploads) == 1:
        return next(iter(uploads))
    record = remote.record(stage, key)
    return record.attempt if record else None


def _runs(remote: Remote, everything: Listing) -> dict[str, dict[str, Any]]:
    """Records of runs by the name of their object, the one last heard of first."""
    found = {}
    for name in everything:
        if name.startswith(f"{RUNS}/"):
            content = remote.objects.read(name)
            if content is not None:
                found[name] = dict(json.loads(content))
    return dict(sorted(found.items(), key=lambda item: (-item[1]["heartbeat"], item[0])))


def _reachable(remote: Remote, runs: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """What aliases and runs use, with all inputs and parts, as far as the manifests are there."""
    waiting = [(alias["stage"], alias["key"]) for alias in remote.aliases().values()]
    named = set(waiting)
    waiting += [(stage, key) for record in runs for stage, key in record["stages"]]
    seen: set[tuple[str, str]] = set()
    retired = retired_there(remote.objects) - named
    while waiting:
        stage, key = waiting.pop()
        if (stage, key) in seen or (stage, key) in retired:
            continue
        seen.add((stage, key))
        record = remote.record(stage, key)
        if record is not None:
            waiting += [(part["stage"], part["key"]) for part in record.manifest["parts"]]
            waiting += [(i["stage"], i["key"]) for inputs in record.manifest["inputs"].values() for i in inputs]
    return seen


def _is_over(remote: Remote, name: str, now: float) -> bool:
    content = remote.objects.read(name)
    lease = parse_lease(content) if content is not None else None
    return content is not None and (lease is None or expired(lease, now))
