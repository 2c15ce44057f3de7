"""Whether an artifact's directory is what its manifest says: by sizes and times, or by the files' hashes."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from tasks.storage.files import read_json, write_json
from tasks.storage.manifest_form import ManifestForm, form_problem

FORMAT = 1
STAMPS = "stamps.json"  # below `_run/`
RUN_DIRECTORY = "_run"  # what may differ between two equal builds: journal, seconds, host
SCRATCH_DIRECTORY = "_scratch"  # what a build needs to go on after a kill, dropped when it is published


def checksum_of(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest or another record, so that a flipped byte does not pass for another value."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-able record as it will be read back, with its checksum."""
    whole = dict(json.loads(json.dumps(record)))
    return {**whole, "checksum": checksum_of(whole)}


def read_sealed(path: Path) -> dict[str, Any]:
    """A sealed record without its checksum; one of a version that sealed none is taken as it is.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    try:
        record = dict(read_json(path))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no record") from error
    if record.pop("checksum", checksum_of(record)) != checksum_of(record):
        raise ValueError(f"{path} was changed")
    return record


def manifest_problem(manifest: Any) -> str | None:
    """What is wrong with a manifest as it was read, or None."""
    if not isinstance(manifest, dict) or "checksum" not in manifest:
        return "its manifest is not one"
    if manifest.get("format") != FORMAT:
        return f"its manifest has format {manifest.get('format')}, this version reads {FORMAT}"
    if manifest["checksum"] != checksum_of(manifest):
        return "its manifest was changed"
    return form_problem(ManifestForm, manifest)


def own_files(directory: Path) -> Iterator[Path]:
    """The files that make up an artifact; what a kill left of a write is removed on the way."""
    for root, directories, names in os.walk(directory):
        if Path(root) == directory:
            directories[:] = [d for d in directories if d not in (RUN_DIRECTORY, SCRATCH_DIRECTORY)]
            names = [name for name in names if name != "manifest.json"]
        for name in names:
            if not name.endswith(".tmp"):
                yield Path(root) / name
            else:
                (Path(root) / name).unlink()  # left by a kill in the middle of a write


Stamps = dict[str, list[Any]]
"""Of each file of an artifact the size, the modification time and the XXH3, as they were when its SHA-256 was taken."""


class _Hashes:
    """SHA-256 and XXH3 (128 bits) of what is read once."""

    def __init__(self) -> None:
        self.sha256, self.xxh3 = hashlib.sha256(), xxhash.xxh3_128()

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        self.xxh3.update(data)


def hash_file(path: Path) -> tuple[str, list[Any]]:
    """The SHA-256 of a file, and what is to be noted of it (`Stamps`)."""
    now = _now(path)  # before it is read: a change from here on shows
    hashes = _Hashes()
    with path.open("rb") as handle:
        hashlib.file_digest(handle, lambda: hashes)  # type: ignore[arg-type,return-value]
    return hashes.sha256.hexdigest(), [*now, hashes.xxh3.hexdigest()]


def write_stamps(path: Path, stamps: Stamps) -> None:
    """Note what an artifact's files looked like when they were hashed."""
    (path / RUN_DIRECTORY).mkdir(exist_ok=True)
    write_json(path / RUN_DIRECTORY / STAMPS, stamps, durable=False)  # a broken one has the files hashed again


def read_stamps(path: Path) -> Stamps:
    """What is noted so; nothing, if that is damaged."""
    try:
        noted = dict(read_json(path / RUN_DIRECTORY / STAMPS))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return {}
    # an earlier version noted no XXH3
    return {name: stamp for name, stamp in noted.items() if isinstance(stamp, list) and len(stamp) == 3}


def file_hashes(path: Path) -> dict[str, str]:
    """The SHA-256 of each file of an artifact, as its manifest has it."""
    return {entry["path"]: entry["sha256"] for entry in read_json(path / "manifest.json")["files"]}


def touched(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a file's size or modification time differs from when it was last hashed, or is not noted."""
    stamps = read_stamps(path)
    try:
        return any(stamps[entry["path"]][:2] != _now(path / entry["path"]) for entry in manifest["files"])
    except (FileNotFoundError, KeyError):
        return True


def _now(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True, slots=True)
class Seen:
    """What an artifact that was found sound looked like.

    Attributes:
        parts: of its manifest.
        files: each of its files, and the manifest, with its size and modification time.
    """

    digest: str
    parts: Sequence[Mapping[str, str]]
    files: tuple[tuple[str, int, int], ...]

    def stands(self, path: Path) -> bool:
        """Whether nothing in its directory has been touched since."""
        try:
            return all(_now(path / name) == [size, time] for name, size, time in self.files)
        except FileNotFoundError:
            return False


def look_at(path: Path, manifest: Mapping[str, Any]) -> Seen | None:
    """How an artifact looks now, for one who is about to hash it; None if a file is missing."""
    names = ("manifest.json", *(entry["path"] for entry in manifest["files"]))
    try:
        files = tuple((name, *_now(path / name)) for name in names)
    except FileNotFoundError:
        return None
    return Seen(manifest["digest"], manifest["parts"], files)


def check_content(path: Path, manifest: Mapping[str, Any]) -> tuple[str | None, Stamps]:
    """What is wrong with an artifact's files by size and hash, or None; and what is then to be noted of them.

    A file that has the size, the time and the XXH3 that were noted with its SHA-256 is not hashed by that again, which
    takes ten times as long. Damage shows all the same. Somebody who forges a file and its note passes; but whoever may
    write both may write the manifest, too.
    """
    noted, stamps = read_stamps(path), {}
    for entry in manifest["files"]:
        name, file = entry["path"], path / entry["path"]
        if file.is_symlink():
            return f"{name} is a link", {}
        if not file.is_file():
            return f"{name} is missing", {}
        if file.stat().st_size != entry["bytes"]:
            return f"{name} has {file.stat().st_size:,} bytes instead of {entry['bytes']:,}", {}
        if name in noted and noted[name][:2] == _now(file) and noted[name][2] == _xxh3(file):
            stamps[name] = noted[name]
            continue
        sha256, stamps[name] = hash_file(file)
        if sha256 != entry["sha256"]:
            return f"{name} has another SHA-256", {}
    return None, stamps


def _xxh3(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, xxhash.xxh3_128).hexdigest()
