"""Where artifacts were written to outside of the store: what nobody else could find again."""

import time
import uuid
from pathlib import Path

from tasks.machine.host import HOST
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact, Store

FOLDER = "exports"


def note_export(store: Store, artifact: Artifact, what: str, place: Path | str) -> None:
    """Remember that an artifact was written to a folder, or to one at a URL, as `what` ("hf", "clean", ...)."""
    folder = store.root / FOLDER
    folder.mkdir(exist_ok=True)
    where = str(place.resolve()) if isinstance(place, Path) else place
    record = {"stage": artifact.stage, "key": artifact.key, "what": what, "place": where, "host": HOST}
    write_json(folder / f"{uuid.uuid4().hex}.json", {**record, "time": time.time()})


def exports_of(store: Store, artifact: Artifact) -> list[str]:
    """The folders that an artifact was written to and that, on this machine, are still there, and URLs; sorted."""
    found = set()
    for path in (store.root / FOLDER).glob("[!.]*.json"):
        record = read_json(path)
        if (record["stage"], record["key"]) == (artifact.stage, artifact.key):
            elsewhere = record["host"] != HOST and "://" not in record["place"]
            if elsewhere or "://" in record["place"] or Path(record["place"]).exists():
                found.add(f"{record['place']} on {record['host']}" if elsewhere else record["place"])
    return sorted(found)


def stored(folder: Path) -> tuple[Store, Artifact] | None:
    """The store and the artifact whose folder this is; None for a folder outside of any store, which makes none."""
    path = folder.resolve()
    if len(path.parents) < 3 or path.parents[1].name != "artifacts" or not (path / "manifest.json").exists():
        return None
    store = Store(path.parents[2])
    artifact = store.find(path.parent.name, path.name)
    return None if artifact is None else (store, artifact)
