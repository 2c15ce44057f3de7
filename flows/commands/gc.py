"""Garbage collection of a store, and of the one that it shares with other machines: shown, or removed."""

from dataclasses import dataclass, field
from typing import Any

from tasks.lineage.gc import collect, find_garbage
from tasks.lineage.gc_remote import collect_remote, find_remote_garbage
from tasks.storage.shared import SharedStore
from tasks.store import Store


@dataclass
class Swept:
    """What was found, each with its kind, bytes, seconds since its last use and name; `bytes` is what is freed."""

    found: list[tuple[str, int, float, str]] = field(default_factory=list)
    bytes: int = 0


def sweep(store: Store, keep_runs: int, grace_hours: float, delete: bool) -> Swept:
    """Find what no alias, recent run or live lock reaches, and with `delete` remove it.

    Without it `bytes` is what removing would free.
    """
    kept: dict[str, Any] = {"keep_runs": keep_runs, "grace_seconds": 3600 * grace_hours}
    swept = Swept()
    garbage = find_garbage(store, **kept)
    swept.found += [(item.kind, item.bytes, item.age_seconds, str(item.path)) for item in garbage]
    swept.bytes += collect(store, garbage, **kept) if delete else sum(item.bytes for item in garbage)
    if isinstance(store, SharedStore):
        remote = find_remote_garbage(store.remote, **kept)
        swept.found += [(item.kind, item.bytes, item.age_seconds, f"{store.url}/{item.name}") for item in remote]
        swept.bytes += collect_remote(store.remote, remote, **kept) if delete else sum(item.bytes for item in remote)
    return swept
