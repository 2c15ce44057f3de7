"""The list of what is to be forgotten: one file for each request, written once and never changed.

`forgotten/<request>.json` in the store says who asked when, why, and for what. A request is withdrawn by another file
that names it, so that the folder tells the whole story. What became of a request (`<request>.derived.json`,
`<request>.retired.json`) lies beside it. With a store that several machines share, all of them see the same files.
"""

import getpass
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from data_quality.forgotten import Forgotten
from tasks.machine.host import HOST
from tasks.storage.files import read_json, write_json
from tasks.storage.objects import Objects
from tasks.storage.shared import SharedStore
from tasks.store import Store, StoreError

FOLDER = "forgotten"


@dataclass(frozen=True)
class Request:
    """One request: its name, when (seconds since 1970), by whom, why, and what it names."""

    name: str
    time: float
    by: str
    why: str
    ids: tuple[str, ...]
    sources: tuple[str, ...]
    withdraws: str | None = None

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"request {self.name} of {when} by {self.by}" + (f": {self.why}" if self.why else "")


def requests(store: Store) -> list[Request]:
    """Every request, the oldest first, those included that were withdrawn or withdraw another."""
    found = []
    for name, record in _records(store):
        if "." not in name:
            ids, sources = tuple(record["ids"]), tuple(record["sources"])
            found.append(
                Request(name, record["time"], record["by"], record["why"], ids, sources, record.get("withdraws"))
            )
    return sorted(found, key=lambda request: (request.time, request.name))


def standing(store: Store) -> list[Request]:
    """The requests that were not withdrawn."""
    every = requests(store)
    gone = {request.withdraws for request in every if request.withdraws}
    return [request for request in every if not request.withdraws and request.name not in gone]


def forgotten(store: Store) -> Forgotten:
    """All that standing requests name."""
    asked = standing(store)
    return Forgotten(
        ids=tuple(sorted({id for request in asked for id in request.ids})),
        sources=tuple(sorted({source for request in asked for source in request.sources})),
    )


def request_for(
    asked: Iterable[Request], id: str, source: str = "", named: Callable[[str], str] = str
) -> Request | None:
    """The first request that names a document, all of its file, or its source.

    Args:
        named: how names are written where the document is: it and the requests may say either form.
    """
    ids, sources = {named(id), named(id.rpartition("#")[0])}, {named(source), named(id.partition(":")[0])}
    return next((r for r in asked if ids & set(map(named, r.ids)) or sources & set(map(named, r.sources))), None)


def as_written(reading: Mapping[str, Any]) -> Callable[[str], str]:
    """How ids and names are written in what was read from sources, by the manifest of that `ingest`.

    The key of hashed names is needed only for a name that holds personal data.

    Raises:
        UsageError: (what is returned) the key in the environment is not the one that the names were hashed with.
    """
    from data_quality.pii_names import Pseudonyms
    from tasks.pii import PiiRequest, namer

    if (written := reading["config"].get("names")) is None:
        return str
    names = PiiRequest.model_validate(written)
    if names.key_fingerprint is None:
        return namer(names)
    without_key = Pseudonyms(names.find.model_copy(update={"style": "tag"}))
    hashed = cache(lambda: namer(names))  # late: only a name with personal data asks for the key
    return lambda name: name if without_key(name) == name else hashed()(name)


def ask(store: Store, ids: Iterable[str], sources: Iterable[str], why: str) -> Request:
    """Write down a request; it stands from now on, whatever becomes of this process."""
    return _written(store, {"ids": sorted(set(ids)), "sources": sorted(set(sources)), "why": why})


def withdraw(store: Store, name: str, why: str) -> Request:
    """Write down that a request no longer stands.

    Raises:
        StoreError: there is no such request, or it was withdrawn before.
    """
    names = [request.name for request in standing(store)]
    if name not in names:
        raise StoreError(f"no request {name!r} stands; there are: {', '.join(names) or 'none'}")
    return _written(store, {"ids": [], "sources": [], "why": why, "withdraws": name})


def note(store: Store, request: Request, what: str, value: Any) -> None:
    """Write down what became of a request: `derived` or `retired`."""
    _write(store, f"{request.name}.{what}", value)


def noted(store: Store, what: str) -> dict[tuple[str, str], str]:
    """(stage, key) of every artifact that was noted so for a standing request, and the request's name."""
    return _noted(list(_records(store)), what)


def noted_for(store: Store, what: str) -> dict[str, set[tuple[str, str]]]:
    """For each request, one that was withdrawn too, the (stage, key) of what was noted so; several may share some."""
    return _noted_for(list(_records(store)), what)


def retired_there(objects: Objects) -> set[tuple[str, str]]:
    """(stage, key) of what was retired, by the list of a store that machines share."""
    return set(_noted(list(_shared_records(objects)), "retired"))


def _noted(records: list[tuple[str, dict[str, Any]]], what: str) -> dict[tuple[str, str], str]:
    gone = {record["withdraws"] for name, record in records if "." not in name and record.get("withdraws")}
    found = _noted_for(records, what)
    return {artifact: request for request, noted in found.items() if request not in gone for artifact in noted}


def _noted_for(records: list[tuple[str, dict[str, Any]]], what: str) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for name, record in records:
        request, _, kind = name.partition(".")
        if kind == what:
            found.setdefault(request, set()).update((each["stage"], each["key"]) for each in record["artifacts"])
    return found


def _written(store: Store, record: dict[str, Any]) -> Request:
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    _write(store, name, {"time": time.time(), "by": f"{_user()}@{HOST}", **record})
    return next(request for request in requests(store) if request.name == name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container may have no name for its user


def _write(store: Store, name: str, record: dict[str, Any]) -> None:
    folder = store.root / FOLDER
    folder.mkdir(exist_ok=True)
    if isinstance(store, SharedStore):  # first: what only this machine knew of would not be forgotten elsewhere
        store.remote.objects.write(f"{FOLDER}/{name}.json", json.dumps(record).encode())
    write_json(folder / f"{name}.json", record)


def _records(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(store, SharedStore):
        yield from _shared_records(store.remote.objects)
        return
    for path in sorted((store.root / FOLDER).glob("[!.]*.json")):
        yield path.name.removesuffix(".json"), read_json(path)


def _shared_records(objects: Objects) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in sorted(objects.listing(f"{FOLDER}/")):
        content = objects.read(name)
        if content is not None and name.endswith(".json"):
            yield name.rpartition("/")[2].removesuffix(".json"), json.loads(content)
