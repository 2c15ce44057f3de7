"""Where artifacts were written to outside of the store: what nobody else could find again."""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from tasks.machine.host import HOST
from tasks.storage.files import read_json, write_json
from tasks.storage.objects import is_url
from tasks.store import Artifact, Store

FOLDER = "exports"


@dataclass(frozen=True, slots=True)
class Export:
    """Where an artifact was written to.

    Attributes:
        place: a path, a URL, or, of another machine, `path on host`.
        folder: the folder, if it is one of this machine.
    """

    place: str
    folder: Path | None


def note_export(store: Store, artifact: Artifact, what: str, place: str) -> None:
    """Remember that an artifact was written to an absolute path or a URL, as `what` ("hf", "clean", ...)."""
    folder = store.root / FOLDER
    folder.mkdir(exist_ok=True)
    record = {"stage": artifact.stage, "key": artifact.key, "what": what, "place": place, "host": HOST}
    write_json(folder / f"{uuid.uuid4().hex}.json", {**record, "time": time.time()})


def exports_of(store: Store, artifact: Artifact) -> list[Export]:
    """Where an artifact was written to, by name; of this machine only what is still there."""
    found: dict[str, Export] = {}
    for path in (store.root / FOLDER).glob("[!.]*.json"):
        record = read_json(path)
        if (record["stage"], record["key"]) != (artifact.stage, artifact.key):
            continue
        place, host = record["place"], record["host"]
        if is_url(place):
            found[place] = Export(place, None)
        elif host != HOST:
            found[f"{place} on {host}"] = Export(f"{place} on {host}", None)
        elif Path(place).exists():
            found[place] = Export(place, Path(place))
    return [found[place] for place in sorted(found)]


def stored(folder: Path) -> tuple[Store, Artifact] | None:
    """The store and the artifact whose folder this is; None for a folder outside of any store, which makes none."""
    path = folder.resolve()
    if len(path.parents) < 3 or path.parents[1].name != "artifacts" or not (path / "manifest.json").exists():
        return None
    store = Store(path.parents[2])
    artifact = store.find(path.parent.name, path.name)
    return None if artifact is None else (store, artifact)
