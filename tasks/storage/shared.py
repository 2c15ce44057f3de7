"""A store that several machines share: the local one as a cache of a remote one.

What is found or built here is looked for there, downloaded when it is first found, and uploaded when it is published.
A local artifact that the remote store does not have yet (a network that was away, a store that was shared later) goes
up when it is next found.
"""

import errno
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.machine.home import store_path, store_url
from tasks.machine.host import process_mark
from tasks.storage.files import fsync_directory, read_json, write_json
from tasks.storage.integrity import RUN_DIRECTORY
from tasks.storage.lease import leased
from tasks.storage.remote import Record, Remote, RemoteCorrupt
from tasks.store import Artifact, Store, StoreError

logger = logging.getLogger("textmill.shared")

SHARED = "shared.json"  # in _run/: the store that has this artifact
PARALLEL = 8  # artifacts looked up at once


def open_store(url: str | None = None) -> Store:
    """The store of this installation, shared when `url` or else `TEXTMILL_STORE` names a remote one."""
    return store_at(store_path(), url or store_url())


def store_at(root: Path, url: str | None) -> Store:
    """The store in a directory; with a URL, as the cache of the one there."""
    return SharedStore(root, url) if url else Store(root)


class SharedStore(Store):
    """A local store and the remote one that it is a cache of.

    Args:
        root: the local directory.
        url: any fsspec URL, such as `s3://bucket/prefix`.
    """

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self.remote = Remote(url)
        self.url = self.remote.url

    # --- look-up -------------------------------------------------------------------------------------------------

    def find(self, stage: str, key: str, *, parts: bool = True) -> Artifact | None:
        """As `Store.find`; one that only the remote store has is downloaded (its parts when they are found). One that
        only this machine has is shared with its parts, if these are looked at."""
        found = super().find(stage, key, parts=parts)
        if found is None:
            return self._download(stage, key)
        return found if not parts or self._is_shared(found.path) else self._share(found)

    def find_all(self, stage: str, keys: Iterable[str]) -> dict[str, Artifact]:
        """As `Store.find_all`, by one listing of each store; several are downloaded at once."""
        keys = list(dict.fromkeys(keys))
        here = self._here(stage)
        there = self.remote.keys(stage) if not here.issuperset(keys) else set()
        wanted = [key for key in keys if key in here or key in there]
        if not wanted:
            return {}
        with ThreadPoolExecutor(min(PARALLEL, len(wanted)), thread_name_prefix="find") as pool:
            found = zip(wanted, pool.map(lambda key: self.find(stage, key), wanted), strict=True)
            return {key: artifact for key, artifact in found if artifact is not None}

    def fetch_parts(self, artifact: Artifact) -> None:
        """Download the parts that are not here yet."""
        seen = self._seen(artifact.path)
        if seen is not None:
            made_of = seen.parts
        else:
            manifest = self._manifest_or_aside(artifact.path)
            made_of = manifest["parts"] if manifest else ()
        for stage, keys in _by_stage(made_of).items():
            self.find_all(stage, keys)

    def verify(self, artifact: Artifact) -> bool:
        """As `Store.verify`; parts that are not here yet are downloaded."""
        self.fetch_parts(artifact)
        return super().verify(artifact)

    def newest(self, stage: str) -> Artifact | None:
        """The artifact of a stage that was published last: of those here, or else of those there."""
        newest = super().newest(stage)
        if newest is not None:
            return newest
        written = {key: when for name, key, when in self.remote.published() if name == stage}
        return self.find(stage, max(written, key=written.__getitem__)) if written else None

    def resolve(self, name: str) -> Artifact:
        """As `Store.resolve`, with what only the remote store has."""
        stage, _, prefix = name.rpartition("/")
        published = self.remote.published()
        there = [(s, key) for s, key, _ in published if stage in ("", s) and key.startswith(prefix)]
        if len(there) == 1:
            self.find(*there[0])
        elif len(there) > 1 and self.aliased(name) is None:
            shown = ", ".join(sorted(f"{s}/{key[:12]}" for s, key in there)[:8])
            raise StoreError(f"{name!r} is ambiguous: {shown}")
        return super().resolve(name)

    def aliases(self) -> dict[str, dict[str, str]]:
        """Every alias of the remote store: the local ones are copies."""
        return self.remote.aliases()

    def set_alias(self, name: str, artifact: Artifact) -> None:
        """As `Store.set_alias`, in both stores."""
        super().set_alias(name, artifact)
        self.remote.set_alias(name, {"stage": artifact.stage, "key": artifact.key})

    def remove_alias(self, name: str) -> None:
        """As `Store.remove_alias`, in both stores."""
        names = self.remote.alias_names()
        if name not in names:
            raise StoreError(f"no alias is called {name!r}; there are: {', '.join(names) or 'none'}")
        self.remote.remove_alias(name)
        (self.alias_directory / f"{name}.json").unlink(missing_ok=True)

    # --- building ------------------------------------------------------------------------------------------------

    @contextmanager
    def build_lock(self, key: str, waiting: str = "") -> Iterator[None]:
        """The lock among this machine's processes, and then the lease among machines."""
        with self.lock(key, waiting), leased(self.remote.objects, key, waiting or key[:12]):
            yield

    def adopt(self, partial: Path, manifest: Mapping[str, Any]) -> Artifact:
        """As `Store.adopt`, and upload it. Whoever published the key first wins, and its artifact is the result."""
        return self._share(super().adopt(partial, manifest))

    def _here(self, stage: str) -> set[str]:
        try:
            return {entry.name for entry in os.scandir(self.artifacts / stage)}
        except FileNotFoundError:
            return set()

    def _parts_exist(self, made_of: Sequence[Mapping[str, str]]) -> bool:
        for stage, keys in _by_stage(made_of).items():
            missing = set(keys) - self._here(stage)
            if missing and missing - self.remote.keys(stage):
                return False
        return True

    def _download(self, stage: str, key: str) -> Artifact | None:
        record = self.remote.record(stage, key)
        if record is None or not self._parts_exist(record.manifest["parts"]):
            return None
        return self._received(record)

    def _received(self, record: Record) -> Artifact | None:
        """Download what a record names, check it and put it into place; None if it is damaged, and so set aside."""
        stage, key = record.manifest["stage"], record.manifest["key"]
        partial = self.partial / f"{stage}-{key}-{process_mark()}"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / RUN_DIRECTORY).mkdir(parents=True)
        try:
            self.remote.download(record, partial)
        except RemoteCorrupt as error:
            shutil.rmtree(partial)
            self.remote.set_aside(stage, key, str(error), record.attempt)
            return None
        write_json(partial / RUN_DIRECTORY / SHARED, {"store": self.url})
        target = self.artifacts / stage / key
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(partial, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(partial)  # another process downloaded it meanwhile
            return super().find(stage, key)
        fsync_directory(target.parent)
        return Artifact(stage, key, record.manifest["digest"], target)

    def _share(self, artifact: Artifact) -> Artifact:
        """Upload an artifact unless the remote store has its key. Returns the one that stands there."""
        manifest = artifact.manifest()
        for stage, keys in _by_stage(manifest["parts"]).items():
            for key in sorted(set(keys) - self.remote.keys(stage)):  # collected there, or never uploaded
                part = self.artifacts / stage / key
                self.remote.upload(part, read_json(part / "manifest.json"))
        record = self.remote.upload(artifact.path, manifest)
        if record.manifest["digest"] != artifact.digest:
            aside = self.move_aside(artifact.path)
            logger.warning(
                "%s was published first by another machine, with other content, which is used from here on (ours is "
                "at %s); is its stage deterministic?",
                artifact.name,
                aside,
            )
            received = self._received(record)
            if received is None:
                raise StoreError(f"{artifact.name} is damaged in {self.url}: run it again, and it is built anew")
            return received
        with suppress(FileNotFoundError, PermissionError):  # collected at this moment, or only to be read
            write_json(artifact.path / RUN_DIRECTORY / SHARED, {"store": self.url})
        return artifact

    def _is_shared(self, path: Path) -> bool:
        try:
            return bool(read_json(path / RUN_DIRECTORY / SHARED)["store"] == self.url)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False  # shared.json is only a note: the store is asked


def _by_stage(parts: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in parts:
        found.setdefault(part["stage"], []).append(part["key"])
    return found
