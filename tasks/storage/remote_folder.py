"""A folder of results at an fsspec URL, for readers who know nothing of the store: written whole, its manifest last.

An object store has no rename, and readers name files by patterns (`kept/*.parquet`), so that files keep their names
from one writing to the next. While a folder is written it therefore has no manifest: whoever sees one sees the files
that it names. In its stead there is `uploading.json`, which says whose the folder is, which files are as they will be,
and which others may be there: a writer that comes after a killed one goes on from it.

One writer at a time holds the lease, and asks before each change whether it still does. What it had begun to send when
its machine was stopped may arrive after another writer is done, for an object store knows no condition on two names:
one change of each of its threads at most. What is younger than the manifest is therefore not taken for what that names.
"""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.storage.lease import LEASES, leased
from tasks.storage.objects import ObjectError, Objects
from tasks.storage.remote import in_parallel

MANIFEST = "manifest.json"
UPLOADING = "uploading.json"
TRIAL = f"{UPLOADING}.trial"
LEASE = "folder"


class RemoteFolder:
    """The folder at a URL.

    Args:
        url: any fsspec URL, such as `s3://bucket/folder`.
        made_by: what the manifests of the folder's owner say under this name.

    Raises:
        ObjectError: as `Objects`.
    """

    def __init__(self, url: str, made_by: str) -> None:
        self.objects = Objects(url)
        self.url = self.objects.url
        self._made_by = made_by

    def is_ours(self) -> bool:
        """Whether there is nothing yet, or what its owner wrote. Raises ObjectError: it cannot be read."""
        # notes are looked for once more behind the listing: a writer may have put one into the other's place meanwhile
        return self._noted() or not self._strangers() or self._noted()

    def manifest(self) -> dict[str, Any]:
        """What the owner's manifest says, without its files, or said until a writer began that has not ended.

        Empty where there is none. Raises ObjectError: it cannot be read.
        """
        return _described(self._note(MANIFEST), self._note(UPLOADING))

    def try_writing(self) -> None:
        """Write an object and remove it. Raises ObjectError where that cannot be done."""
        self.objects.write(TRIAL, b"")
        self.objects.remove(TRIAL)

    def publish(self, directory: Path, progress: Callable[[int], None] = lambda bytes_: None) -> int:
        """Make the folder equal to a local one, whose manifest.json names all of its files (path, bytes, sha256).

        What is there as the manifest says, and was not written after it, stays. What an earlier manifest named and
        this one does not is removed; nothing else is. One writer at a time, on whatever machine.

        Args:
            progress: told of bytes that are there, whether they went up or stayed.

        Returns:
            How many files went up, the manifest not counted.

        Raises:
            ObjectError: the store does not answer, or another writer has taken over from this one. There may then be
                no manifest; calling again goes on.
        """
        content = (directory / MANIFEST).read_bytes()
        files = json.loads(content)["files"]
        with leased(self.objects, LEASE, self.url) as still_held:

            def change(do: Callable[..., Any], *given: Any) -> Any:
                if not still_held():
                    raise ObjectError(f"another machine has taken over {self.url} from this one: run it again")
                return do(*given)

            finished, unfinished = self._note(MANIFEST), self._note(UPLOADING)
            known = _entries(finished or unfinished)
            present = self.objects.listing("")
            _, noted = present.get(MANIFEST if finished else UPLOADING, (0, 0.0))

            def as_noted(entry: dict[str, Any]) -> bool:
                size, written = present.get(entry["path"], (None, 0.0))
                return known.get(entry["path"]) == entry and size == entry["bytes"] and written <= noted

            stays = [entry for entry in files if as_noted(entry)]
            progress(sum(entry["bytes"] for entry in stays))
            wanted, there = ({entry["path"]: entry["bytes"] for entry in of} for of in (files, stays))
            names = {*known, *(_names(unfinished) & present.keys()), *wanted}
            if not unfinished and names == there.keys() and self.objects.read(MANIFEST) == content:
                return 0
            former = _described(finished, unfinished)
            note = {"made_by": self._made_by, "files": stays, "names": sorted(names), "former": former}
            change(self.objects.write, UPLOADING, json.dumps(note).encode())
            change(self.objects.remove, MANIFEST)

            telling = threading.Lock()

            def upload(name: str) -> None:
                change(self.objects.upload, directory / name, name)
                with telling:
                    progress(wanted[name])

            new = sorted(wanted.keys() - there.keys())
            in_parallel(upload, new)
            gone = sorted(names - wanted.keys() & present.keys())
            in_parallel(lambda name: change(self.objects.remove, name), gone)
            if not change(self.objects.create, MANIFEST, content):  # one that had lost its lease was late with its own
                change(self.objects.write, MANIFEST, content)
            change(self.objects.remove, UPLOADING)
        return len(new)

    def _noted(self) -> bool:
        return bool(self._note(MANIFEST) or self._note(UPLOADING))

    def _strangers(self) -> bool:
        """Whether anything is there but what a writer leaves that was killed at once, and the empty objects that
        consoles make for folders."""
        mine = (TRIAL, f"{LEASES}/{LEASE}.json")
        there = self.objects.listing("").items()
        return any(name not in mine and (size or not _is_folder(name)) for name, (size, _) in there)

    def _note(self, name: str) -> dict[str, Any]:
        """What the JSON object of this name says if it is of the folder's owner; else nothing."""
        content = self.objects.read(name)
        try:
            found = {} if content is None else json.loads(content)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and found.get("made_by") == self._made_by else {}


def _is_folder(name: str) -> bool:
    return not name or name.endswith("/")


def _described(finished: Mapping[str, Any], unfinished: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says but for the list of files: the one that is there, or the one that an upload took away."""
    former = finished or unfinished.get("former")
    return {name: value for name, value in former.items() if name != "files"} if isinstance(former, dict) else {}


def _names(note: Mapping[str, Any]) -> set[str]:
    """The names that a note of a writer says may be there."""
    names = note.get("names")
    return {name for name in (names if isinstance(names, list) else []) if isinstance(name, str)}


def _entries(note: Mapping[str, Any]) -> dict[str, Any]:
    """The files that a manifest names, by their paths; of one that is damaged those that can be made out."""
    files = note.get("files")
    return {
        entry["path"]: entry
        for entry in (files if isinstance(files, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("path"), str)
    }
