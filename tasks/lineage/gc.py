"""Garbage collection: what no root can reach, and is older than the grace period, may go.

This is about one directory; the objects of a store shared with other machines are in tasks/lineage/gc_remote.py.

Roots are aliases (`aliases/*.json`), the last N pipeline runs and every live one, and keys whose lock is held.
Whatever a root was made from (its inputs and parts, all the way back) is kept with it, and so is what a build that
stays under `partial/` reads or has already made: its shards are finished before it is. Lock files that nobody holds go
too. What was retired since it holds documents that are to be forgotten, or learned from them, is no root and reached
through none.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lineage.forgotten import noted
from tasks.machine.host import marked_process_runs
from tasks.running.heartbeat import is_alive, read_run
from tasks.running.journal import noted_stages
from tasks.storage.files import read_json
from tasks.storage.integrity import manifest_problem
from tasks.storage.locks import is_locked, remove_if_free
from tasks.store import Store

KEEP_RUNS = 5
GRACE_SECONDS = 86_400.0


@dataclass(frozen=True)
class Garbage:
    """One directory, or the file of a lock, that may be removed."""

    path: Path
    kind: str  # "artifact" | "partial" | "aside" | "run" | "lock"
    bytes: int
    age_seconds: float


def find_garbage(store: Store, *, keep_runs: int = KEEP_RUNS, grace_seconds: float = GRACE_SECONDS) -> list[Garbage]:
    """What `collect` would remove, largest first.

    Args:
        keep_runs: the newest pipeline runs whose artifacts stay, whatever their state.
        grace_seconds: anything written or used more recently stays.
    """
    now = time.time()
    kept_runs = _kept_runs(store, keep_runs)
    named = {(alias["stage"], alias["key"]) for alias in store.aliases().values()}
    rooted = named | _noted_by(kept_runs)
    kept_partials = [p for p in store.partial.iterdir() if _partial_stays(store, p, rooted, now - grace_seconds)]
    needed: set[tuple[str, str]] = set()
    for partial in kept_partials:
        needed |= set(store.needed(partial)) | set(_made_of(partial))
    reachable = _reachable(store, rooted, _retired(store, kept_runs, named)) | _reachable(store, needed, set())

    artifacts = (path for stage in store.artifacts.iterdir() for path in stage.iterdir())
    candidates = [(path, "artifact") for path in artifacts if (path.parent.name, path.name) not in reachable]
    candidates += [(path, "partial") for path in store.partial.iterdir() if path not in kept_partials]
    if store.aside.exists():
        candidates += [(path, "aside") for path in store.aside.iterdir()]
    candidates += [(path, "run") for path in _run_directories(store) if path not in kept_runs]
    candidates += [(path, "lock") for path in store.locks.glob("*.lock") if not is_locked(path)]
    found = []
    for path, kind in candidates:
        size, newest = _size_and_last_use(path)
        if now - newest >= grace_seconds:
            found.append(Garbage(path, kind, size, now - newest))
    return sorted(found, key=lambda g: (-g.bytes, str(g.path)))


def collect(store: Store, garbage: list[Garbage], *, keep_runs: int, grace_seconds: float) -> int:
    """Remove directories found by `find_garbage` with the same arguments. Returns the bytes freed.

    What has found a user since the preview stays. An artifact is renamed away first, so that no reader ever sees
    half of one.
    """
    still = {item.path for item in find_garbage(store, keep_runs=keep_runs, grace_seconds=grace_seconds)}
    freed = 0
    for item in garbage:
        if item.path not in still:
            continue
        if item.kind == "lock":
            remove_if_free(item.path)
            continue
        doomed = store.partial / f"doomed-{item.path.name}-{os.getpid()}"
        os.rename(item.path, doomed)
        shutil.rmtree(doomed)
        freed += item.bytes
    return freed


def _run_directories(store: Store) -> list[Path]:
    """Newest first; one that was taken over after a kill is as new as its last attempt."""

    def last_used(path: Path) -> tuple[float, str]:
        with suppress(FileNotFoundError):
            return (path / "run.json").stat().st_mtime, path.name
        return path.stat().st_mtime, path.name

    return sorted((p for p in store.runs.iterdir() if p.is_dir()), key=last_used, reverse=True)


def _kept_runs(store: Store, keep_runs: int) -> list[Path]:
    directories = _run_directories(store)
    return directories[:keep_runs] + [path for path in directories[keep_runs:] if _is_live(path)]


def _is_live(run_directory: Path) -> bool:
    return is_alive(read_run(run_directory))


def _noted_by(runs: Iterable[Path]) -> set[tuple[str, str]]:
    return {place for directory in runs for place in noted_stages(directory)}


def _partial_stays(store: Store, partial: Path, rooted: set[tuple[str, str]], oldest: float) -> bool:
    """A build under way, one that a kept run has begun (it holds checkpoints), or one within the grace period.

    One whose artifact is there is no beginning any more: another machine was faster and shared it.
    """
    if partial.name.startswith("doomed-"):
        return False
    stage, _, key = partial.name.partition("-")
    begun = (stage, key) in rooted and not (store.artifacts / stage / key).exists()
    return is_being_built(store, partial) or begun or _size_and_last_use(partial)[1] > oldest


def _retired(store: Store, kept_runs: list[Path], named: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What learned from forgotten documents or holds them, and was taken out of use: it goes though a recent run used
    it, and though something that stays was made from it. What has a name again, or a live run uses, is not meant."""
    used = _noted_by(path for path in kept_runs if _is_live(path))
    return set(noted(store, "retired")) - used - named


def _reachable(store: Store, roots: set[tuple[str, str]], retired: set[tuple[str, str]]) -> set[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        stage, key = waiting.pop()
        if (stage, key) not in seen and (stage, key) not in retired:
            seen.add((stage, key))
            waiting += _made_of(store.artifacts / stage / key)
    return seen


def _made_of(directory: Path) -> Iterator[tuple[str, str]]:
    """Parts and inputs by the manifest; none when it is missing or broken (it is rebuilt when next needed)."""
    try:
        manifest: dict[str, Any] = read_json(directory / "manifest.json")
    except (FileNotFoundError, ValueError, RecursionError):
        return
    if manifest_problem(manifest) is not None:
        return
    yield from ((part["stage"], part["key"]) for part in manifest["parts"])
    yield from ((i["stage"], i["key"]) for inputs in manifest["inputs"].values() for i in inputs)


def is_being_built(store: Store, partial: Path) -> bool:
    """Whether some process builds in this directory now.

    The directory of a stage ends in its key, which is locked; that of a part in the mark of the process that writes it.
    Of a process on another machine nothing is known: the grace period keeps its directory.
    """
    key, _, mark = partial.name.partition("-")[2].partition("-")
    return marked_process_runs(mark) if mark else is_locked(store.locks / f"{key}.lock")


def _size_and_last_use(path: Path) -> tuple[int, float]:
    """Bytes, and when anything in it was last written or, for an artifact, found by a run."""
    try:
        size, newest = 0, path.stat().st_mtime
        for root, _, names in os.walk(path):
            for name in names:
                stat = (Path(root) / name).stat()
                size += stat.st_size
                newest = max(newest, stat.st_mtime)
    except FileNotFoundError:
        return 0, time.time()  # it changes while we look: in use
    return size, newest
