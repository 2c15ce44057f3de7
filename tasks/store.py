"""The artifact store: directories named by their key, each complete or absent.

Layout below the store's root::

    artifacts/<stage>/<key>/   manifest.json, the stage's files, _run/ (journal and sidecar, not part of the digest)
    partial/<stage>-<key>/     the private directory of a build; survives a kill
    locks/<key>.lock           held by the builder; the kernel releases it when its holder dies
    aliases/<name>.json        names that people and flows give to artifacts: pins, and roots of garbage collection
    aside/                     artifacts found corrupt, moved here before they are rebuilt
    runs/<run>/                one directory per pipeline run: run.json and the journal of its MLflow run

The manifest is written last and the directory is then renamed into place, so a reader sees a whole artifact or none.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.storage.artifact import Artifact as Artifact
from tasks.storage.artifact import Shard as Shard
from tasks.storage.artifact import StoreError as StoreError
from tasks.storage.files import fsync_directory, read_json, write_json
from tasks.storage.integrity import (
    FORMAT,
    Seen,
    check_content,
    hash_file,
    look_at,
    manifest_problem,
    own_files,
    read_stamps,
    sealed,
    touched,
    write_stamps,
)
from tasks.storage.integrity import RUN_DIRECTORY as RUN_DIRECTORY
from tasks.storage.integrity import SCRATCH_DIRECTORY as SCRATCH_DIRECTORY
from tasks.storage.keys import artifact_key as artifact_key
from tasks.storage.keys import content_digest as content_digest
from tasks.storage.locks import locked, locked_if_free
from tasks.storage.manifest_form import AliasForm, form_problem

logger = logging.getLogger("textmill.store")

HASHING_THREADS = min(4, os.cpu_count() or 1)


class Store:
    """Artifacts below one root directory.

    Args:
        root: created when missing.
    """

    url: str | None = None  # of the store that it shares with other machines (tasks/storage/shared.py)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts = root / "artifacts"
        self.partial = root / "partial"
        self.locks = root / "locks"
        self.aside = root / "aside"
        self.runs = root / "runs"
        self.alias_directory = root / "aliases"
        for directory in (self.artifacts, self.partial, self.locks, self.runs, self.alias_directory):
            directory.mkdir(parents=True, exist_ok=True)
        self._verified: dict[str, Seen | None] = {}  # by key; None: hashed elsewhere, not looked at here

    # --- look-up -------------------------------------------------------------------------------------------------

    def find(self, stage: str, key: str, *, parts: bool = True) -> Artifact | None:
        """The finished artifact of a key, or None.

        File sizes and modification times are compared with those recorded at publication; where they differ, the
        content is hashed. An artifact that fails is moved to `aside/` and None is returned, so that it is rebuilt.

        Args:
            parts: whether its parts are looked at, too; who needs one of thousands finds that one by itself.
        """
        path = self.artifacts / stage / key
        seen, manifest = self._seen(path), None
        if seen is None:
            manifest = self._manifest_or_aside(path)
            if manifest is None:
                return None
            seen = Seen(manifest["digest"], manifest["parts"], ())
        if parts and not self._parts_exist(seen.parts):
            self.set_aside(path, "one of its parts is gone")
            return None
        artifact = Artifact(stage, key, seen.digest, path)
        if manifest is not None and touched(path, manifest) and not self.verify(artifact):
            return None
        with suppress(FileNotFoundError, PermissionError):  # collected at this moment, or a store only to be read
            os.utime(path)  # garbage collection's grace period counts from the last use
        return artifact

    def find_all(self, stage: str, keys: Iterable[str]) -> dict[str, Artifact]:
        """Finished artifacts among many keys of one stage, by one listing of the stage's directory."""
        try:
            present = {entry.name for entry in os.scandir(self.artifacts / stage)}
        except FileNotFoundError:
            return {}
        found = ((key, self.find(stage, key)) for key in keys if key in present)
        return {key: artifact for key, artifact in found if artifact is not None}

    def fetch_parts(self, artifact: Artifact) -> None:
        """Make sure that an artifact's parts are on this machine: here they are."""

    def verify(self, artifact: Artifact) -> bool:
        """Whether every file of an artifact and of its parts has the recorded hash; a corrupt one is set aside.

        A file is read once per process, and again when its size or modification time has changed since.
        """
        seen = self._seen(artifact.path)
        if seen is not None:
            return self._parts_sound(artifact, seen.parts)
        manifest = self._manifest_or_aside(artifact.path)
        if manifest is None or not self._parts_sound(artifact, manifest["parts"]):
            return False
        now = look_at(artifact.path, manifest)  # before its files are read: what changes from here on shows
        if artifact.key not in self._verified or touched(artifact.path, manifest):
            problem, stamps = check_content(artifact.path, manifest)
            if problem is not None:
                self.set_aside(artifact.path, problem)
                return False
            if stamps != read_stamps(artifact.path):
                with suppress(FileNotFoundError, PermissionError):  # collected meanwhile, or a store only to be read
                    write_stamps(artifact.path, stamps)
        self._verified[artifact.key] = now
        return True

    def _parts_sound(self, artifact: Artifact, made_of: Sequence[Mapping[str, str]]) -> bool:
        parts = [self.find(part["stage"], part["key"]) for part in made_of]
        for part, sound in zip(made_of, self.verify_all(parts), strict=True):
            if not sound:
                self.set_aside(artifact.path, f"its part {part['stage']}/{part['key'][:12]} is corrupt")
                return False
        return True

    def verify_all(self, artifacts: Sequence[Artifact | None]) -> list[bool]:
        """The same for several; what is not there is not sound. Those that were not hashed yet are so side by side."""
        new = [artifact for artifact in artifacts if artifact is not None and artifact.key not in self._verified]
        if len(new) > 1:  # a thread for each look at what is known would take longer than the look
            with ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="hash") as pool:
                list(pool.map(self.verify, new))
        return [artifact is not None and self.verify(artifact) for artifact in artifacts]

    def trust(self, artifact: Artifact) -> None:
        """Take an artifact that a worker of this process has just hashed and published as verified."""
        self._verified[artifact.key] = None

    def resolve(self, name: str) -> Artifact:
        """The artifact meant by an alias, `stage/key`, a key or an unambiguous prefix; a bare stage means its newest.

        Raises:
            StoreError: none or several match.
        """
        named = self.aliased(name)
        if named is not None:
            return named
        stage, _, prefix = name.rpartition("/")
        matches = [a for a in self.list(stage or None) if a.key.startswith(prefix or name)]
        if not matches:
            newest = self.newest(name)
            if newest is not None:
                return newest
            raise StoreError(f"no artifact is called {name!r}; `textmill ls` lists them")
        if len(matches) > 1:
            raise StoreError(f"{name!r} is ambiguous: {', '.join(sorted(a.name for a in matches)[:8])}")
        return matches[0]

    def aliases(self) -> dict[str, dict[str, str]]:
        """Every alias and the stage and key it stands for.

        Raises:
            StoreError: one is damaged. What it stands for is not known, so that nothing may be collected.
        """
        paths = sorted(self.alias_directory.glob("*.json"))
        return {path.stem: parse_alias(str(path), path.read_bytes()) for path in paths}

    def set_alias(self, name: str, artifact: Artifact) -> None:
        """Let `name` stand for an artifact from now on; garbage collection keeps it.

        Raises:
            StoreError: the name cannot be a file name.
        """
        if not name or "/" in name or name.startswith("."):
            raise StoreError(f"{name!r} cannot be an alias: use letters, digits, dashes, dots inside")
        write_json(self.alias_directory / f"{name}.json", {"stage": artifact.stage, "key": artifact.key})

    def remove_alias(self, name: str) -> None:
        """Take a name away from its artifact.

        Raises:
            StoreError: there is no such alias.
        """
        path = self.alias_directory / f"{name}.json"
        if not path.exists():
            raise StoreError(f"no alias is called {name!r}; there are: {', '.join(self.aliases()) or 'none'}")
        path.unlink()

    def aliased(self, name: str) -> Artifact | None:
        """The artifact an alias stands for, or None when there is no such alias or artifact."""
        alias = self.aliases().get(name)
        return self.find(alias["stage"], alias["key"]) if alias else None

    def checked(self, name: str) -> Artifact:
        """The artifact that `resolve` finds, once its files have been hashed.

        Raises:
            StoreError: none or several are meant, or it is corrupt (it is then set aside).
        """
        artifact = self.resolve(name)
        if not self.verify(artifact):
            raise StoreError(f"{artifact.name} is corrupt and was set aside: run the flow that made it again")
        return artifact

    def newest(self, stage: str) -> Artifact | None:
        """The artifact of a stage that was published last, or None."""
        return max(self.list(stage), key=lambda a: (a.path / "manifest.json").stat().st_mtime_ns, default=None)

    def list(self, stage: str | None = None) -> list[Artifact]:
        """Every finished artifact, or those of one stage, by stage and key."""
        found = []
        stages = [path for path in self.artifacts.iterdir() if stage in (None, path.name)]
        for manifest_path in sorted(path for directory in stages for path in directory.glob("*/manifest.json")):
            path = manifest_path.parent
            try:
                digest = read_json(manifest_path)["digest"]
            except FileNotFoundError:
                continue  # collected or set aside since the listing
            except (ValueError, TypeError, KeyError, RecursionError):
                logger.warning("%s has an unreadable manifest; it is rebuilt when next needed", path)
                continue
            found.append(Artifact(path.parent.name, path.name, digest, path))
        return found

    # --- building ------------------------------------------------------------------------------------------------

    def lock(self, key: str, waiting: str = "") -> AbstractContextManager[None]:
        """Hold the exclusive right to build a key; waits for another process that holds it."""
        return locked(self.locks / f"{key}.lock", waiting or key[:12])

    def lock_if_free(self, key: str) -> AbstractContextManager[bool]:
        """The same without waiting; gives whether it is held inside the block."""
        return locked_if_free(self.locks / f"{key}.lock")

    @contextmanager
    def build_lock(self, key: str, waiting: str = "") -> Iterator[None]:
        """The lock under which an artifact is built."""
        with self.lock(key, waiting):
            yield

    def partial_directory(self, stage: str, key: str) -> Path:
        """The private directory in which a key is built."""
        path = self.partial / f"{stage}-{key}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def need(self, partial: Path, name: str, artifacts: Iterable[tuple[str, str]]) -> None:
        """Note the (stage, key) of what a build reads or is made of, so that garbage collection keeps it meanwhile."""
        write_json(partial / SCRATCH_DIRECTORY / f"needs-{name}.json", sorted(artifacts))

    def needed(self, partial: Path) -> Iterator[tuple[str, str]]:
        """What a build has noted so."""
        for path in (partial / SCRATCH_DIRECTORY).glob("needs-*.json"):
            try:
                yield from ((stage, key) for stage, key in read_json(path))
            except FileNotFoundError:
                return  # published since the listing
            except (ValueError, TypeError):
                logger.warning("%s is damaged; the build that wrote it makes it anew", path)

    def publish(self, partial: Path, manifest: dict[str, Any]) -> Artifact:
        """Hash and fsync the files of a finished build, write its manifest, rename it into place.

        Args:
            partial: the build's directory; `_scratch/` is removed once the manifest is durable (a kill while gigabytes
                are hashed must not cost the checkpoints), `_run/` travels but is not part of the digest.
            manifest: stage, key and everything known before the files are hashed; `digest` may be given by the
                stage (an order-free digest of documents), else it is that of the file names and hashes.
        """
        files, stamps = [], {}
        for path in sorted(own_files(partial)):
            name = str(path.relative_to(partial))
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
            sha256, stamps[name] = hash_file(path)
            files.append({"path": name, "bytes": path.stat().st_size, "sha256": sha256})
        write_stamps(partial, stamps)
        for directory, inside, _ in os.walk(partial):
            inside[:] = [name for name in inside if name != SCRATCH_DIRECTORY]
            fsync_directory(Path(directory))  # a synced file can still be lost with its entry
        digest = manifest.get("digest") or content_digest(files, manifest["parts"])
        # as it will be read back: JSON turns tuples into lists and every key into a string
        whole = sealed({"format": FORMAT, **manifest, "digest": digest, "files": files})
        write_json(partial / "manifest.json", whole)
        fsync_directory(partial)
        return self.adopt(partial, whole)

    def adopt(self, partial: Path, manifest: Mapping[str, Any]) -> Artifact:
        """Rename a directory with a finished manifest into place, without its scratch."""
        stage, key = manifest["stage"], manifest["key"]
        target = self.artifacts / stage / key
        first = not target.parent.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(partial / SCRATCH_DIRECTORY)
        os.rename(partial, target)
        fsync_directory(target.parent)
        if first:
            fsync_directory(self.artifacts)
        self._verified[key] = None
        return Artifact(stage, key, manifest["digest"], target)

    def finished_partial(self, partial: Path) -> dict[str, Any] | None:
        """The manifest of a build that was killed between its manifest and its rename, if its files agree."""
        try:
            manifest = read_json(partial / "manifest.json")
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if manifest_problem(manifest) or check_content(partial, manifest)[0] is not None:
            return None
        if not self._parts_exist(manifest["parts"]):
            return None
        return dict(manifest)

    def set_aside(self, path: Path, reason: str) -> None:
        """Move a corrupt artifact out of the way; nothing is deleted."""
        target = self.move_aside(path)
        if target is not None:
            logger.warning("%s/%s is corrupt (%s): set aside at %s", path.parent.name, path.name[:12], reason, target)

    def move_aside(self, path: Path) -> Path | None:
        """The same without a word. Returns where it is, or None if another process was faster."""
        self._verified.pop(path.name, None)
        self.aside.mkdir(exist_ok=True)
        target = self.aside / f"{path.parent.name}-{path.name}-{time.time_ns()}"
        try:
            os.rename(path, target)
        except FileNotFoundError:
            return None  # or it was collected
        return target

    def _seen(self, path: Path) -> Seen | None:
        """What is known of an artifact that was hashed in this process, if its files are as they were then."""
        seen = self._verified.get(path.name)
        return seen if seen is not None and seen.stands(path) else None

    def _manifest_or_aside(self, path: Path) -> dict[str, Any] | None:
        """The manifest of an artifact's directory; None when there is none, and when it had to be set aside."""
        manifest_path = path / "manifest.json"
        try:
            manifest = read_json(manifest_path)
        except FileNotFoundError:
            # Published between the two looks, an artifact has its manifest: a directory without one is broken.
            if path.exists() and not manifest_path.exists():
                self.set_aside(path, "its manifest is missing")
                return None
            return self._manifest_or_aside(path) if manifest_path.exists() else None
        except (ValueError, RecursionError):
            self.set_aside(path, "its manifest is not JSON")
            return None
        problem = manifest_problem(manifest)
        if problem is None and (manifest["stage"], manifest["key"]) != (path.parent.name, path.name):
            problem = "its manifest is that of another artifact"
        if problem is not None:
            self.set_aside(path, problem)
            return None
        return dict(manifest)

    def _parts_exist(self, made_of: Sequence[Mapping[str, str]]) -> bool:
        parts: dict[str, list[str]] = {}
        for part in made_of:
            parts.setdefault(part["stage"], []).append(part["key"])
        return all(len(self.find_all(stage, keys)) == len(set(keys)) for stage, keys in parts.items())


def parse_alias(where: str, content: bytes) -> dict[str, str]:
    """The stage and key that an alias stands for. Raises StoreError naming `where` it is damaged."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if problem := form_problem(AliasForm, found):
        raise StoreError(f"{where} is damaged ({problem}): remove it, and run again the flow that gave this name")
    return dict(found)
