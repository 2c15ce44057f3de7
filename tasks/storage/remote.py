"""Artifacts on a store that several machines share; each machine's own store is the cache of it.

Layout below the store's URL::

    manifests/<stage>/<key>.json               published last, by a conditional put: the first one wins
    files/<stage>/<key>/<attempt>/...          what one builder uploaded; the manifest names the attempt
    aliases/<name>.json
    leases/<key>.json                          who builds a key (tasks/storage/lease.py)
    runs/<token>.json                          what a run used, and when it was last alive
    aside/<stage>-<key>-<time>.json            manifests whose files were found missing or changed

An object store has no rename. Files therefore go up under a name that nobody knows, and the manifest makes all of
them visible at once: a reader sees a whole artifact or none. What a killed upload left is garbage
(tasks/lineage/gc_remote.py).
"""

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.machine.host import process_mark
from tasks.storage.files import canonical_json, write_json
from tasks.storage.integrity import RUN_DIRECTORY, STAMPS
from tasks.storage.manifest_form import RecordForm, form_problem
from tasks.storage.objects import Objects
from tasks.store import parse_alias

logger = logging.getLogger("textmill.remote")

MANIFESTS = "manifests"
FILES = "files"
ALIASES = "aliases"
RUNS = "runs"
ASIDE = "aside"
TRANSFERS = 8  # files of one artifact under way at once
FORMAT = 1
DOWNLOADS = 3  # of a file whose hash is wrong, before it is held to be corrupt
NOT_SHARED = (STAMPS, "shared.json", "shipped.json")  # of _run/: what is true on one machine only


class RemoteCorrupt(Exception):
    """An artifact's objects are not what its manifest says."""


@dataclass(frozen=True)
class Record:
    """What is published under a key: the artifact's manifest, where its files are, and the files of its `_run/`."""

    attempt: str
    manifest: dict[str, Any]
    run_files: list[dict[str, Any]]

    @property
    def prefix(self) -> str:
        """The objects of the attempt that won."""
        return f"{FILES}/{self.manifest['stage']}/{self.manifest['key']}/{self.attempt}"


class Remote:
    """The shared store at a URL."""

    def __init__(self, url: str) -> None:
        self.objects = Objects(url)
        self.url = self.objects.url

    def keys(self, stage: str) -> set[str]:
        """The keys of every artifact of a stage, by one listing."""
        listed = self.objects.listing(f"{MANIFESTS}/{stage}")
        return {name.rpartition("/")[2].removesuffix(".json") for name in listed if name.endswith(".json")}

    def published(self) -> list[tuple[str, str, float]]:
        """Stage and key of every artifact, and when it was published (seconds since the epoch)."""
        found = []
        for name, (_, written) in self.objects.listing(MANIFESTS).items():
            _, stage, *rest = name.split("/")
            if len(rest) == 1 and rest[0].endswith(".json"):  # what lies elsewhere was not written by us
                found.append((stage, rest[0].removesuffix(".json"), written))
        return found

    def record(self, stage: str, key: str) -> Record | None:
        """What is published under a key; a record that is damaged is set aside."""
        content = self.objects.read(_manifest_name(stage, key))
        if content is None:
            return None
        try:
            return _parsed(content, stage, key)
        except ValueError as error:
            self.set_aside(stage, key, str(error))
            return None

    def download(self, record: Record, directory: Path) -> None:
        """Copy an artifact's files, its manifest last, into an empty directory, and check every hash.

        Raises:
            RemoteCorrupt: a file is missing or has other content.
            ObjectError: the store does not answer.
        """

        def fetch(entry: Mapping[str, Any], target: Path, name: str) -> None:
            for _ in range(DOWNLOADS):
                try:
                    if self.objects.download(name, target) == entry["sha256"]:
                        return
                except FileNotFoundError:
                    raise RemoteCorrupt(f"{self.url}/{name} is missing") from None
            raise RemoteCorrupt(f"{self.url}/{name} has another SHA-256")

        wanted = [(entry, directory / entry["path"], entry["path"]) for entry in record.manifest["files"]]
        wanted += [(e, directory / RUN_DIRECTORY / e["path"], f"{RUN_DIRECTORY}/{e['path']}") for e in record.run_files]
        in_parallel(lambda item: fetch(item[0], item[1], f"{record.prefix}/{item[2]}"), wanted)
        write_json(directory / "manifest.json", record.manifest)

    def upload(self, directory: Path, manifest: Mapping[str, Any]) -> Record:
        """Publish a finished artifact. Returns what is published under its key: this one, or that of who was first."""
        stage, key = manifest["stage"], manifest["key"]
        found = self.record(stage, key)
        if found is not None:
            return found
        attempt = f"{time.time_ns()}-{process_mark()}-{uuid.uuid4().hex[:8]}"
        run_files = _run_files(directory / RUN_DIRECTORY)
        record = Record(attempt, dict(manifest), run_files)
        names = [entry["path"] for entry in manifest["files"]]
        names += [f"{RUN_DIRECTORY}/{entry['path']}" for entry in run_files]
        in_parallel(lambda name: self.objects.upload(directory / name, f"{record.prefix}/{name}"), names)
        if self.objects.create(_manifest_name(stage, key), _content(record)):
            return record
        winner = self.record(stage, key)
        if winner is None:  # collected or set aside at this moment
            return self.upload(directory, manifest)
        for name in names:
            self.objects.remove(f"{record.prefix}/{name}")
        return winner

    def set_aside(self, stage: str, key: str, reason: str, attempt: str = "") -> None:
        """Take a corrupt artifact's manifest out of the way, so that it is built again; nothing is deleted.

        Args:
            attempt: only if the manifest still names this one; another machine may have built it anew.
        """
        name = _manifest_name(stage, key)
        content = self.objects.read(name)
        if content is not None and attempt.encode() in content:
            target = f"{ASIDE}/{stage}-{key}-{time.time_ns()}.json"
            self.objects.write(target, content)
            self.objects.remove(name)
            logger.warning("%s/%s is corrupt (%s): its manifest is now %s", self.url, name, reason, target)

    # --- aliases and runs ----------------------------------------------------------------------------------------

    def aliases(self) -> dict[str, dict[str, str]]:
        """Every alias and the stage and key it stands for.

        Raises:
            StoreError: one is damaged. What it stands for is not known, so that nothing may be collected.
        """
        found = {name: self.objects.read(f"{ALIASES}/{name}.json") for name in self.alias_names()}
        where = f"{self.url}/{ALIASES}"
        return {
            name: parse_alias(f"{where}/{name}.json", content) for name, content in found.items() if content is not None
        }

    def alias_names(self) -> list[str]:
        """The same without what they stand for: of a damaged one nothing else is known."""
        names = (name for name in self.objects.listing(ALIASES) if name.endswith(".json"))
        return sorted(name.rpartition("/")[2].removesuffix(".json") for name in names)

    def set_alias(self, name: str, target: Mapping[str, str]) -> None:
        """Let a name stand for an artifact."""
        self.objects.write(f"{ALIASES}/{name}.json", json.dumps(dict(target)).encode())

    def remove_alias(self, name: str) -> None:
        """Take a name away."""
        self.objects.remove(f"{ALIASES}/{name}.json")

    def write_run(self, token: str, record: Mapping[str, Any]) -> None:
        """Note what a run has used so far, and that it is alive: for garbage collection on any machine."""
        self.objects.write(f"{RUNS}/{token}.json", json.dumps(dict(record)).encode())


def _manifest_name(stage: str, key: str) -> str:
    return f"{MANIFESTS}/{stage}/{key}.json"


def _content(record: Record) -> bytes:
    body = {
        "format": FORMAT,
        "attempt": record.attempt,
        "manifest": record.manifest,
        "run_files": record.run_files,
    }
    return json.dumps({**body, "checksum": hashlib.sha256(canonical_json(body)).hexdigest()}).encode()


def _parsed(content: bytes, stage: str, key: str) -> Record:
    """A record as it was published.

    Raises:
        ValueError: it is damaged, or of another format.
    """
    try:
        body = json.loads(content)
        checksum = body.pop("checksum")
        record = Record(body["attempt"], body["manifest"], body["run_files"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("its manifest is not one") from None
    if body.get("format") != FORMAT:
        raise ValueError(f"its manifest has format {body.get('format')}, this version reads {FORMAT}")
    if checksum != hashlib.sha256(canonical_json(body)).hexdigest():
        raise ValueError("its manifest was changed")
    if problem := form_problem(RecordForm, body):
        raise ValueError(problem)
    if (record.manifest["stage"], record.manifest["key"]) != (stage, key):
        raise ValueError("its manifest is that of another artifact")
    return record


def _run_files(directory: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(directory.glob("*")):
        if path.is_file() and path.name not in NOT_SHARED and not path.name.endswith(".tmp"):
            with path.open("rb") as handle:
                sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
            found.append({"path": path.name, "bytes": path.stat().st_size, "sha256": sha256})
    return found


def in_parallel(do: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Do each by one of a few threads: what waits for a network. Raises what the first that failed raised."""
    items = list(items)
    with ThreadPoolExecutor(max(1, min(TRANSFERS, len(items))), thread_name_prefix="transfer") as pool:
        list(pool.map(do, items))
