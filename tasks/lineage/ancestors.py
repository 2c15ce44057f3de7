"""The ways back through manifests, from an artifact to what it was made from."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from tasks.storage.files import read_json
from tasks.storage.shared import SharedStore
from tasks.store import Artifact, Store

K = TypeVar("K", bound=Hashable)

GOES_ON_FROM = ("init_from", "model")
"""Inputs by which a stage names the model that it goes on from."""


def manifest_of(store: Store, stage: str, key: str) -> dict[str, Any] | None:
    """An artifact's manifest, without its files: of a shared store also where only other machines have them.

    None if there is none, or a broken one: its stage is run again when it is next needed.
    """
    try:
        found = dict(read_json(store.artifacts / stage / key / "manifest.json"))
        return found if (found["stage"], found["key"]) == (stage, key) else None
    except FileNotFoundError:
        record = store.remote.record(stage, key) if isinstance(store, SharedStore) else None
        return None if record is None else dict(record.manifest)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def same_content(store: Store, stage: str, key: str, digest: str) -> Artifact | None:
    """The artifact of a key, or the newest with the same content."""
    return store.find(stage, key) or max(
        (other for other in store.list(stage) if other.digest == digest),
        key=lambda other: (other.path / "manifest.json").stat().st_mtime_ns,
        default=None,
    )


def ancestors(store: Store, artifact: Artifact, names: Collection[str] | None = None) -> Iterator[Artifact]:
    """The artifact and what it was made from, as far as that is there, the nearest first.

    Args:
        names: only inputs of these names are followed.
    """
    waiting, seen = [artifact], set()
    while waiting:
        one = waiting.pop(0)
        if one.key in seen:
            continue
        seen.add(one.key)
        yield one
        for name, items in one.manifest()["inputs"].items():
            if names is None or name in names:
                found = (same_content(store, item["stage"], item["key"], item["digest"]) for item in items)
                waiting += [before for before in found if before is not None]


def inputs_first(last: Iterable[K], inputs: Callable[[K], Iterable[K]]) -> Iterator[K]:
    """Everything on the way to `last`, each once, inputs before what was made of them.

    No recursion: a model that goes on from yesterday's every night has a long line of ancestors. What content stands
    for may be made of itself; such a circle is cut where it closes.
    """
    begun: set[K] = set()
    for each in last:
        if each in begun:
            continue
        begun.add(each)
        open_ = [(each, iter(inputs(each)))]
        while open_:
            one, before = open_[-1]
            following = next((key for key in before if key not in begun), None)
            if following is None:
                yield one
                open_.pop()
            else:
                begun.add(following)
                open_.append((following, iter(inputs(following))))
