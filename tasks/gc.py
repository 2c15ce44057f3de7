"""Garbage collection: what no root can reach, and is older than the grace period, may go.

Roots are aliases (`aliases/*.json`), the last N pipeline runs, and keys whose lock is held. Whatever a root was
made from (its inputs and parts, all the way back) is kept with it.
"""

import fcntl
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tasks.files import read_json
from tasks.journal import read_events
from tasks.store import Store


@dataclass(frozen=True)
class Garbage:
    """One directory that may be removed."""

    path: Path
    kind: str  # "artifact" | "partial" | "aside" | "run"
    bytes: int
    age_seconds: float


def find_garbage(store: Store, *, keep_runs: int = 5, grace_seconds: float = 86_400.0) -> list[Garbage]:
    """What `collect` would remove, largest first.

    Args:
        keep_runs: the newest pipeline runs whose artifacts stay, whatever their state.
        grace_seconds: anything touched more recently stays.
    """
    reachable = _reachable(store, _roots(store, keep_runs))
    candidates = [(a.path, "artifact") for a in store.list() if (a.stage, a.key) not in reachable]
    candidates += [(path, "partial") for path in store.partial.iterdir() if not _is_locked(store, path)]
    if store.aside.exists():
        candidates += [(path, "aside") for path in store.aside.iterdir()]
    candidates += [(path, "run") for path in _run_directories(store)[keep_runs:]]
    now = time.time()
    found = []
    for path, kind in candidates:
        size, newest = _size_and_age(path)
        if now - newest >= grace_seconds:
            found.append(Garbage(path, kind, size, now - newest))
    return sorted(found, key=lambda g: (-g.bytes, str(g.path)))


def collect(store: Store, garbage: list[Garbage]) -> int:
    """Remove directories found by `find_garbage`. Returns the bytes freed.

    An artifact is renamed away first, so that no reader ever sees half of one.
    """
    freed = 0
    for item in garbage:
        doomed = store.partial / f"doomed-{os.getpid()}-{item.path.name}"
        os.rename(item.path, doomed)
        shutil.rmtree(doomed)
        freed += item.bytes
    return freed


def _run_directories(store: Store) -> list[Path]:
    return sorted((p for p in store.runs.iterdir() if p.is_dir()), reverse=True)


def _roots(store: Store, keep_runs: int) -> set[tuple[str, str]]:
    roots = {(alias["stage"], alias["key"]) for alias in store.aliases().values()}
    for directory in _run_directories(store)[:keep_runs]:
        roots |= {(event["stage"], event["key"]) for _, event in read_events(directory / "stages.jsonl")}
    return roots


def _reachable(store: Store, roots: set[tuple[str, str]]) -> set[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        stage, key = waiting.pop()
        if (stage, key) in seen:
            continue
        seen.add((stage, key))
        try:
            manifest = read_json(store.artifacts / stage / key / "manifest.json")
        except FileNotFoundError:
            continue  # started, never finished
        waiting += [(part["stage"], part["key"]) for part in manifest["parts"]]
        waiting += [(i["stage"], i["key"]) for inputs in manifest["inputs"].values() for i in inputs]
    return seen


def _is_locked(store: Store, partial: Path) -> bool:
    """Whether some process builds in this directory now."""
    key = partial.name.rpartition("-")[2]
    lock = store.locks / f"{key}.lock"
    if not lock.exists():
        return False
    with lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _size_and_age(path: Path) -> tuple[int, float]:
    size, newest = 0, path.stat().st_mtime
    for root, _, names in os.walk(path):
        for name in names:
            stat = (Path(root) / name).stat()
            size += stat.st_size
            newest = max(newest, stat.st_mtime)
    return size, newest
