"""A folder of results at an fsspec URL, for readers who know nothing of the store: written whole, its manifest last.

An object store has no rename, and readers name files by patterns (`kept/*.parquet`), so that files keep their names
from one writing to the next. While a folder is written it therefore has no manifest: whoever sees one sees the files
that it names. In its stead there is `uploading.json`, which says whose the folder is, which files are as they will be,
and which others may be there: a writer that comes after a killed one goes on from it.
"""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.storage.lease import LEASES, leased
from tasks.storage.objects import Objects
from tasks.storage.remote import in_parallel

MANIFEST = "manifest.json"
UPLOADING = "uploading.json"
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
        """Whether there is nothing yet, or what its owner wrote; and a trial that it can be written.

        Raises:
            ObjectError: it cannot be read, or not be written.
        """
        trial = f"{UPLOADING}.trial"
        if not self._note(MANIFEST) and not self._note(UPLOADING):
            mine = {trial, f"{LEASES}/{LEASE}.json"}  # of a writer that was killed before it had written more
            if self.objects.listing("").keys() - mine:
                return False
        self.objects.write(trial, b"")
        self.objects.remove(trial)
        return True

    def publish(self, directory: Path, progress: Callable[[int], None] = lambda bytes_: None) -> int:
        """Make the folder equal to a local one, whose manifest.json names all of its files (path, bytes, sha256).

        What is there as the manifest says stays. What an earlier manifest named and this one does not is removed;
        nothing else is. One writer at a time, on whatever machine.

        Args:
            progress: told of bytes that are there, whether they went up or stayed.

        Returns:
            How many files went up, the manifest not counted.

        Raises:
            ObjectError: the store does not answer. There may then be no manifest; calling again goes on.
        """
        content = (directory / MANIFEST).read_bytes()
        files = json.loads(content)["files"]
        with leased(self.objects, LEASE, self.url):
            finished, unfinished = self._note(MANIFEST), self._note(UPLOADING)
            known = _entries(finished or unfinished)
            present = {name: size for name, (size, _) in self.objects.listing("").items()}
            stays = [e for e in files if known.get(e["path"]) == e and present.get(e["path"]) == e["bytes"]]
            progress(sum(entry["bytes"] for entry in stays))
            wanted, there = ({entry["path"]: entry["bytes"] for entry in of} for of in (files, stays))
            names = {*known, *(_names(unfinished) & present.keys()), *wanted}
            if not unfinished and names == there.keys() and self.objects.read(MANIFEST) == content:
                return 0
            note = {"made_by": self._made_by, "files": stays, "names": sorted(names)}
            self.objects.write(UPLOADING, json.dumps(note).encode())
            self.objects.remove(MANIFEST)

            telling = threading.Lock()

            def upload(name: str) -> None:
                self.objects.upload(directory / name, name)
                with telling:
                    progress(wanted[name])

            new = sorted(wanted.keys() - there.keys())
            in_parallel(upload, new)
            in_parallel(self.objects.remove, sorted(names - wanted.keys() & present.keys()))
            self.objects.write(MANIFEST, content)
            self.objects.remove(UPLOADING)
        return len(new)

    def _note(self, name: str) -> dict[str, Any]:
        """What the JSON object of this name says if it is of the folder's owner; else nothing."""
        content = self.objects.read(name)
        try:
            found = {} if content is None else json.loads(content)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and found.get("made_by") == self._made_by else {}


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
